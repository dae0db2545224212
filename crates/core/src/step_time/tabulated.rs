//! A pass as the sum of tables: what its tokens cost, its rows, and its attention.
//!
//! Everything is whole numbers, and everything rounds down: `reference/step_time.py` does the same.

use super::{Affine, FRACTION_BITS, Features, Piece, narrow};
use serde::Deserialize;

/// `host` + the greater of the floor of its launches and
/// tokens(padded) + sequences + attention; and `draft`, if any drafts are verified; and what the
/// longest context takes beyond the mean one.
///
/// Attention is `decode` of the rows that decode, plus `prompt` of the others; or `mixed`, where it was
/// measured with both in a pass.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tabulated {
    pub host: Affine,
    #[serde(default)]
    pub draft: Affine,
    pub graphs: Graphs,
    pub tokens: Line,
    pub sequences: Line,
    pub decode: DecodeGrid,
    pub prompt: PromptGrid,
    pub mixed: Option<MixedGrid>,
    /// By rows that decode, for 2^20 tokens by which the longest context goes beyond their mean. None where
    /// all contexts cost alike.
    #[serde(default)]
    pub longest: Option<Line>,
    /// None if it stands on no measurements.
    pub measured: Option<Measured>,
}

/// How far what the tables stand on was measured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    pub tokens: i64,
    /// Batches that decode, ascending,
    pub rows: Vec<i64>,
    /// and for each the largest mean context.
    pub contexts: Vec<i64>,
    /// Prompt tokens of a pass, ascending,
    pub prompts: Vec<i64>,
    /// and for each the farthest reach.
    pub reach: Vec<i64>,
}

impl Measured {
    pub(super) fn is_whole(&self) -> bool {
        self.rows.len() == self.contexts.len() && self.prompts.len() == self.reach.len()
    }

    /// How many of `passes` passes lie within, the context growing by a token a row and pass.
    pub(super) fn passes_within(&self, features: &Features, passes: i64) -> i64 {
        let limit =
            |knots: &[i64], limits: &[i64], x: i64| limits.get(knots.partition_point(|&knot| knot < x)).copied();
        if features.tokens() > self.tokens {
            return 0;
        }
        if features.prefill_tokens > 0 {
            let reach = features.prefill_work / features.prefill_tokens;
            if limit(&self.prompts, &self.reach, features.prefill_tokens).is_none_or(|most| reach > most) {
                return 0;
            }
        }
        let (rows, context) = (features.decode_rows, features.context - features.prefill_context);
        if rows == 0 {
            return passes;
        }
        match limit(&self.rows, &self.contexts, rows) {
            Some(most) if context <= most * rows => ((most * rows - context) / rows + 1).min(passes),
            _ => 0,
        }
    }
}

/// CUDA graphs: which numbers of tokens were captured. A pass is padded to the next of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graphs {
    /// Of passes that only decode: whole passes.
    pub decode_sizes: Sizes,
    /// Of any pass: all but the attention.
    pub piecewise_sizes: Sizes,
    /// Otherwise a graph serves passes of just its size.
    pub padded: bool,
    /// The host's launches take so long where only pieces were captured,
    pub piecewise_ps: i64,
    /// and so long where nothing was.
    pub eager_ps: i64,
}

/// Ascending, with the next size for every number of tokens up to the largest.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Vec<i64>")]
pub struct Sizes {
    sizes: Vec<i64>,
    next: Vec<u32>,
}

/// A larger graph than any engine's default; beyond, sizes are searched for.
const LISTED: i64 = 1 << 16;

impl From<Vec<i64>> for Sizes {
    fn from(sizes: Vec<i64>) -> Self {
        let mut next = Vec::new();
        for &size in sizes.iter().filter(|&&size| (0..LISTED).contains(&size)) {
            next.resize(next.len().max(size as usize + 1), size as u32);
        }
        Sizes { sizes, next }
    }
}

impl Sizes {
    fn next(&self, tokens: i64) -> Option<i64> {
        match usize::try_from(tokens).ok().and_then(|tokens| self.next.get(tokens)) {
            Some(&size) => Some(i64::from(size)),
            None => self.sizes.get(self.sizes.partition_point(|&size| size < tokens)).copied(),
        }
    }
}

impl Graphs {
    /// The number of tokens that is computed, and the least time of the pass.
    fn pad(&self, tokens: i64, only_decodes: bool) -> (i64, i64) {
        let fits = |&size: &i64| self.padded || size == tokens;
        let next = |sizes: &Sizes| sizes.next(tokens).filter(fits);
        if only_decodes && let Some(size) = next(&self.decode_sizes) {
            return (size, 0);
        }
        next(&self.piecewise_sizes).map_or((tokens, self.eager_ps), |size| (size, self.piecewise_ps))
    }
}

/// Piecewise linear: from `at[i]` on, `start_ps[i]` and `slope_fps[i]` a unit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub at: Vec<i64>,
    pub start_ps: Vec<i64>,
    pub slope_fps: Vec<i64>,
}

impl Line {
    fn value(&self, x: i64) -> i64 {
        let i = last_at_most(&self.at, |knot| knot <= x);
        let grown = i128::from(self.slope_fps[i]) * i128::from(x - self.at[i]);
        self.start_ps[i].saturating_add(narrow(grown >> FRACTION_BITS))
    }
}

/// Values at batches of `rows` whose mean context is one of `contexts`.
///
/// For a whole number of rows the knots are whole contexts, and slopes whole picoseconds a token.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeGrid {
    pub rows: Vec<i64>,
    pub contexts: Vec<i64>,
    /// By rows, then by context.
    pub ps: Vec<Vec<i64>>,
}

impl DecodeGrid {
    /// The piece that `rows` and `context`, of all rows together, are in.
    fn piece(&self, rows: i64, context: i64) -> Piece {
        let ray = self.ray(rows, context);
        Piece {
            first: ray.at(context),
            step: ray.slope.saturating_mul(rows),
            limit: if ray.end < i64::MAX { (ray.end - 1 - context) / rows + 1 } else { i64::MAX },
        }
    }

    fn ray(&self, rows: i64, context: i64) -> Ray {
        let cell = Cell::of(&self.rows, rows);
        let at = |k: usize| cell.between(|i| self.ps[i][k]);
        let last = self.contexts.len() - 1;
        if last == 0 {
            return Ray { start: 0, end: i64::MAX, value: at(0), slope: 0 };
        }
        let k = last_at_most(&self.contexts, |knot| knot * rows <= context);
        let value = at(k);
        // Beyond the last knot the last slope goes on.
        let (from, to) = if k < last { (k, k + 1) } else { (last - 1, last) };
        let width = (self.contexts[to] - self.contexts[from]) * rows;
        let grown = if k < last { at(to) - value } else { value - at(from) };
        let end = if k < last { self.contexts[to] * rows } else { i64::MAX };
        Ray { start: self.contexts[k] * rows, end, value, slope: grown.div_euclid(width).max(0) }
    }
}

/// Between two knots of a [`DecodeGrid`]: from context `start`, of all rows together, to before `end`.
#[derive(Clone, Copy)]
struct Ray {
    start: i64,
    end: i64,
    value: i64,
    /// A token.
    slope: i64,
}

impl Ray {
    fn at(self, context: i64) -> i64 {
        narrow(i128::from(self.value) + i128::from(self.slope) * i128::from(context - self.start))
    }
}

/// Values at passes of `tokens` prompt tokens, by their reach: 2 · past + new of each token's
/// request, on average; of one prompt without a past, its length.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptGrid {
    pub tokens: Vec<i64>,
    /// Knots for each number of tokens.
    pub reach: Vec<Vec<i64>>,
    pub ps: Vec<Vec<i64>>,
}

impl PromptGrid {
    fn value(&self, features: &Features) -> i64 {
        let reach = features.prefill_work / features.prefill_tokens;
        let tokens = Cell::of(&self.tokens, features.prefill_tokens);
        let value = tokens.between(|i| {
            let row = &self.ps[i];
            Cell::of(&self.reach[i], reach).between(|j| row[j])
        });
        value.max(0)
    }
}

/// Values at passes with both: as in [`PromptGrid`], then as in [`DecodeGrid`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixedGrid {
    pub tokens: Vec<i64>,
    pub reach: Vec<Vec<i64>>,
    pub rows: Vec<i64>,
    /// Knots for each number of tokens.
    pub contexts: Vec<Vec<i64>>,
    /// By tokens; then by reach, rows and context, all in one.
    pub ps: Vec<Vec<i64>>,
}

impl MixedGrid {
    fn value(&self, features: &Features) -> i64 {
        let reach = features.prefill_work / features.prefill_tokens;
        let mean = (features.context - features.prefill_context) / features.decode_rows;
        let rows = Cell::of(&self.rows, features.decode_rows);
        let tokens = Cell::of(&self.tokens, features.prefill_tokens);
        let value = tokens.between(|i| {
            let (table, width) = (&self.ps[i], self.contexts[i].len());
            let context = Cell::of(&self.contexts[i], mean);
            Cell::of(&self.reach[i], reach)
                .between(|j| rows.between(|r| context.between(|k| table[(j * self.rows.len() + r) * width + k])))
        });
        value.max(0)
    }
}

/// See [`Tabulated::growing`]: what does not change is looked up once, and knots when the context passes them.
pub(super) struct Growing<'t> {
    table: &'t Tabulated,
    rest: i64,
    floor: i64,
    ray: Ray,
}

impl Growing<'_> {
    pub(super) fn of(&mut self, features: &Features) -> i64 {
        if features.context >= self.ray.end {
            self.ray = self.table.decode.ray(features.decode_rows, features.context);
        }
        let device = self.rest.saturating_add(self.ray.at(features.context)).max(self.floor);
        self.table.with_host(features, device)
    }
}

/// Two neighbouring knots, and how far from the first to the second: in 2^-20, beyond them too.
#[derive(Clone, Copy)]
struct Cell {
    index: usize,
    share: i64,
    alone: bool,
}

impl Cell {
    fn of(knots: &[i64], x: i64) -> Self {
        if knots.len() == 1 {
            return Cell { index: 0, share: 0, alone: true };
        }
        let index = last_at_most(knots, |knot| knot <= x).min(knots.len() - 2);
        let (start, end) = (knots[index], knots[index + 1]);
        Cell { index, share: ((x - start) << FRACTION_BITS).div_euclid(end - start), alone: false }
    }

    fn between(self, value: impl Fn(usize) -> i64) -> i64 {
        let first = value(self.index);
        if self.alone || self.share == 0 {
            return first;
        }
        let step = i128::from(value(self.index + 1) - first) * i128::from(self.share);
        first.saturating_add(narrow(step >> FRACTION_BITS))
    }
}

/// The index of the last knot for which `holds`, or the first one.
fn last_at_most(knots: &[i64], holds: impl Fn(i64) -> bool) -> usize {
    knots.partition_point(|&knot| holds(knot)).saturating_sub(1)
}

impl Tabulated {
    pub(super) fn padded(&self, features: &Features) -> i64 {
        self.graphs.pad(features.tokens(), features.prefill_tokens == 0).0
    }

    pub(super) fn of(&self, features: &Features) -> i64 {
        let (tokens, floor) = self.graphs.pad(features.tokens(), features.prefill_tokens == 0);
        self.sum(features, tokens, floor)
    }

    /// `tokens` as the caller pads them.
    pub(super) fn at(&self, features: &Features, tokens: i64) -> i64 {
        self.sum(features, tokens, self.graphs.pad(tokens, features.prefill_tokens == 0).1)
    }

    fn sum(&self, features: &Features, tokens: i64, floor: i64) -> i64 {
        let attention = match (&self.mixed, features.prefill_tokens > 0, features.decode_rows > 0) {
            (Some(mixed), true, true) => mixed.value(features),
            (_, prefills, decodes) => {
                let context = features.context - features.prefill_context;
                let decode = if decodes { self.decode.piece(features.decode_rows, context).first } else { 0 };
                decode.saturating_add(if prefills { self.prompt.value(features) } else { 0 })
            }
        };
        self.with_host(features, self.rest(features, tokens).saturating_add(attention).max(floor))
    }

    /// All on the device but attention.
    fn rest(&self, features: &Features, tokens: i64) -> i64 {
        // Every draft gets its logits as well.
        let outputs = self.sequences.value(features.sequences + features.draft_tokens);
        self.tokens.value(tokens).saturating_add(outputs)
    }

    fn with_host(&self, features: &Features, device: i64) -> i64 {
        let host = self.host.at(features).saturating_add(self.draft.of_drafts(features));
        host.saturating_add(device)
    }

    /// Passes that decode like `features`, but for their context, which only grows.
    pub(super) fn growing(&self, features: &Features) -> Growing<'_> {
        let (tokens, floor) = self.graphs.pad(features.tokens(), true);
        let ray = self.decode.ray(features.decode_rows, features.context);
        Growing { table: self, rest: self.rest(features, tokens), floor, ray }
    }

    pub(super) fn longest_ps(&self, features: &Features) -> i64 {
        let Some(longest) = self.longest.as_ref().filter(|_| features.decode_rows > 0) else { return 0 };
        let mean = (features.context - features.prefill_context) / features.decode_rows;
        let beyond = (features.longest - mean).max(0);
        let each = longest.value(features.decode_rows).max(0);
        narrow((i128::from(each) * i128::from(beyond)) >> FRACTION_BITS)
    }

    /// Of passes in which `rows` rows decode, padded to `tokens`.
    pub(super) fn decode_piece(&self, rows: i64, tokens: i64, context: i64) -> Piece {
        let features = Features::decode(rows, context);
        let host = self.host.at(&features);
        let floor = self.graphs.pad(tokens, true).1;
        let attention = self.decode.piece(rows, context);
        let rest = self.tokens.value(tokens).saturating_add(self.sequences.value(rows));
        let device = rest.saturating_add(attention.first);
        let grown = self.host.context_ps.saturating_mul(rows);
        if device >= floor {
            let step = attention.step.saturating_add(grown);
            return Piece { first: host.saturating_add(device), step, limit: attention.limit };
        }
        let below = match attention.step {
            0 => i64::MAX,
            step => (floor - 1 - device) / step + 1,
        };
        Piece { first: host.saturating_add(floor), step: grown, limit: attention.limit.min(below) }
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        let ascend = |knots: &[i64]| !knots.is_empty() && knots.windows(2).all(|two| two[0] < two[1]);
        let line = |line: &Line| {
            ascend(&line.at)
                && line.start_ps.len() == line.at.len()
                && line.slope_fps.len() == line.at.len()
                && line.start_ps.iter().all(|&value| value >= 0)
                && line.slope_fps[line.at.len() - 1] >= 0
        };
        let table = |rows: &[Vec<i64>], count: usize, width: &dyn Fn(usize) -> usize| {
            rows.len() == count
                && rows.iter().enumerate().all(|(i, row)| row.len() == width(i) && row.iter().all(|&value| value >= 0))
        };
        let by_reach = |tokens: &[i64], reach: &[Vec<i64>]| {
            ascend(tokens) && reach.len() == tokens.len() && reach.iter().all(|knots| ascend(knots))
        };
        let Tabulated { host, draft, graphs, tokens, sequences, decode, prompt, mixed, longest, measured } = self;
        let sizes = [&graphs.decode_sizes.sizes, &graphs.piecewise_sizes.sizes];
        if !sizes.iter().all(|sizes| sizes.is_empty() || ascend(sizes)) || graphs.piecewise_ps.min(graphs.eager_ps) < 0
        {
            return Err("graphs of step_time must have ascending sizes and no negative times");
        }
        let affine = |affine: &Affine| affine.coefficients().iter().all(|&c| c >= 0);
        let lines = [tokens, sequences].into_iter().chain(longest).all(line);
        if !affine(host) || !affine(draft) || !lines {
            return Err("coefficients and lines of step_time must not be negative");
        }
        let decodes = ascend(&decode.rows) && ascend(&decode.contexts);
        let prompts = by_reach(&prompt.tokens, &prompt.reach);
        if !decodes
            || !prompts
            || !table(&decode.ps, decode.rows.len(), &|_| decode.contexts.len())
            || !table(&prompt.ps, prompt.tokens.len(), &|i| prompt.reach[i].len())
        {
            return Err("tables of step_time must have ascending knots and a time for each");
        }
        if !measured.as_ref().is_none_or(Measured::is_whole) {
            return Err("what step_time was measured over needs a limit for each knot");
        }
        if let Some(mixed) = mixed {
            let known = by_reach(&mixed.tokens, &mixed.reach) && by_reach(&mixed.tokens, &mixed.contexts);
            let size = |i: usize| mixed.reach[i].len() * mixed.rows.len() * mixed.contexts[i].len();
            if !known || !ascend(&mixed.rows) || !table(&mixed.ps, mixed.tokens.len(), &size) {
                return Err("tables of step_time must have ascending knots and a time for each");
            }
        }
        Ok(())
    }
}
