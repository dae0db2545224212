//! How long a forward pass takes, in whole picoseconds.
//!
//! Timing models are fitted and lowered to integers elsewhere; here they are only evaluated. Of
//! passes that only decode, the time is piecewise linear in the context, so a stretch of them is
//! an arithmetic progression and its sum is exact.

mod tabulated;
mod timeline;

pub use tabulated::{DecodeGrid, Graphs, Line, Measured, MixedGrid, PromptGrid, Tabulated};
pub use timeline::{Stretch, Timeline};

use serde::Deserialize;

/// Fractional bits of coefficients in "fps", 2^-20 ps: work terms are far below 1 ps a unit.
const FRACTION_BITS: u32 = 20;

/// What a pass does. Context counts tokens *after* the pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    pub prefill_tokens: i64,
    /// Sum over prefill rows of new·(2·past + new): twice the attention work, so that it is whole.
    pub prefill_work: i64,
    /// Of `context`, that of the prefill rows.
    pub prefill_context: i64,
    pub decode_rows: i64,
    /// Of the rows that decode, the longest context; 0 where no time depends on it.
    pub longest: i64,
    /// Drafts that the rows that decode verify.
    pub draft_tokens: i64,
    pub context: i64,
    pub sequences: i64,
    /// Context of rows that get a token from this pass.
    pub ready_context: i64,
    pub ready_rows: i64,
}

impl Features {
    /// Of a pass in which `rows` rows decode and nothing else happens.
    pub fn decode(rows: i64, context: i64) -> Self {
        Features {
            decode_rows: rows,
            context,
            sequences: rows,
            ready_context: context,
            ready_rows: rows,
            ..Features::default()
        }
    }

    /// Of a pass in which `rows` rows verify `drafts` drafts each and nothing else happens.
    pub fn verify(rows: i64, context: i64, drafts: u32) -> Self {
        Features { draft_tokens: rows * i64::from(drafts), ..Features::decode(rows, context) }
    }

    /// The same where the longest context of a row is known.
    pub fn with_longest(self, longest: Option<i64>) -> Self {
        Features { longest: longest.unwrap_or(0), ..self }
    }

    /// A prefill row computes `new` tokens after `past` ones.
    pub fn add_prefill(&mut self, past: i64, new: i64) {
        self.prefill_tokens += new;
        self.prefill_work += new * (2 * past + new);
        self.prefill_context += past + new;
    }

    fn tokens(&self) -> i64 {
        self.prefill_tokens + self.decode_rows + self.draft_tokens
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum StepTime {
    /// host + max(terms), each linear in the features; and `draft`, if any drafts are verified.
    Affine {
        host: Affine,
        terms: Vec<Affine>,
        #[serde(default)]
        draft: Affine,
        /// None if it stands on no measurements.
        #[serde(default)]
        measured: Option<Measured>,
    },
    /// DynoSim's polynomial: a prefill, then a decode.
    Polynomial { prefill_fps: [i64; 3], segment_tokens: i64, start_ps: Vec<i64>, slope_ps: Vec<i64> },
    /// The sum of tables.
    Tabulated(Box<Tabulated>),
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Affine {
    pub base_ps: i64,
    pub prefill_token_ps: i64,
    pub work_fps: i64,
    pub decode_row_ps: i64,
    pub context_ps: i64,
    pub sequence_ps: i64,
    #[serde(default)]
    pub draft_token_ps: i64,
}

impl Affine {
    pub fn at(&self, f: &Features) -> i64 {
        let product = |coefficient: i64, feature: i64| i128::from(coefficient) * i128::from(feature);
        narrow(
            i128::from(self.base_ps)
                + product(self.prefill_token_ps, f.prefill_tokens)
                + (product(self.work_fps, f.prefill_work) >> FRACTION_BITS)
                + product(self.decode_row_ps, f.decode_rows)
                + product(self.context_ps, f.context)
                + product(self.sequence_ps, f.sequences)
                + product(self.draft_token_ps, f.draft_tokens),
        )
    }

    fn coefficients(&self) -> [i64; 7] {
        let Affine { base_ps, prefill_token_ps, work_fps, decode_row_ps, context_ps, sequence_ps, draft_token_ps } =
            *self;
        [base_ps, prefill_token_ps, work_fps, decode_row_ps, context_ps, sequence_ps, draft_token_ps]
    }

    /// What drafting adds to a pass: nothing to one that verifies no drafts.
    fn of_drafts(&self, f: &Features) -> i64 {
        if f.draft_tokens > 0 { self.at(f) } else { 0 }
    }
}

fn passes_measured(measured: Option<&Measured>, features: &Features, passes: i64) -> i64 {
    measured.map_or(passes, |measured| measured.passes_within(features, passes))
}

/// Beyond any horizon, times stay where they are: a run that gets there is refused.
fn narrow(time: i128) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// Passes whose times are `first`, `first + step`, ...; valid for the first `limit` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    first: i64,
    step: i64,
    limit: i64,
}

/// See [`StepTime::growing`].
pub struct Growing<'t> {
    step_time: &'t StepTime,
    features: Features,
    table: Option<tabulated::Growing<'t>>,
}

impl Growing<'_> {
    /// The same as [`StepTime::of`], at a context no smaller than before.
    pub fn at(&mut self, context: i64) -> i64 {
        (self.features.context, self.features.ready_context) = (context, context);
        match &mut self.table {
            Some(table) => table.of(&self.features).max(1),
            None => self.step_time.of(&self.features),
        }
    }
}

impl StepTime {
    /// The time of one pass, at least 1 ps.
    pub fn of(&self, features: &Features) -> i64 {
        match self {
            StepTime::Tabulated(tabulated) => {
                tabulated.of(features).max(1).saturating_add(tabulated.longest_ps(features))
            }
            StepTime::Affine { .. } | StepTime::Polynomial { .. } => self.of_padded(features, features.tokens()),
        }
    }

    /// Passes whose rows verify drafts, one after the other, from `features` on: their context grows, and nothing else.
    pub fn growing(&self, features: Features) -> Growing<'_> {
        let table = match self {
            StepTime::Tabulated(tabulated) => Some(tabulated.growing(&features)),
            StepTime::Affine { .. } | StepTime::Polynomial { .. } => None,
        };
        Growing { step_time: self, features, table }
    }

    /// Whether a pass with one long context takes longer than one whose contexts are alike.
    pub fn prices_longest(&self) -> bool {
        matches!(self, StepTime::Tabulated(tabulated) if tabulated.longest.is_some())
    }

    /// What a pass takes more because its longest context goes beyond their mean. In passes that only
    /// decode both grow alike: it stays what it is.
    pub fn longest_ps(&self, features: &Features) -> i64 {
        match self {
            StepTime::Tabulated(tabulated) => tabulated.longest_ps(features),
            StepTime::Affine { .. } | StepTime::Polynomial { .. } => 0,
        }
    }

    /// How many tokens the pass computes, those that fill up its CUDA graph included.
    pub fn padded(&self, features: &Features) -> i64 {
        match self {
            StepTime::Tabulated(tabulated) => tabulated.padded(features),
            StepTime::Affine { .. } | StepTime::Polynomial { .. } => features.tokens(),
        }
    }

    /// Whether it matters to what number of tokens a pass is filled up. Only tables know what that costs.
    pub fn prices_padding(&self) -> bool {
        matches!(self, StepTime::Tabulated(_))
    }

    /// As `of`, the pass being filled up to `tokens`.
    pub fn of_padded(&self, features: &Features, tokens: i64) -> i64 {
        let time = match self {
            StepTime::Affine { host, terms, draft, .. } => {
                let slowest = terms.iter().map(|term| term.at(features)).max().unwrap_or(0);
                host.at(features).saturating_add(slowest).saturating_add(draft.of_drafts(features))
            }
            StepTime::Polynomial { prefill_fps: [q2, q1, q0], .. } => {
                let tokens = i128::from(features.prefill_tokens);
                let prefill = if tokens > 0 {
                    (i128::from(*q2) * tokens * tokens + i128::from(*q1) * tokens + i128::from(*q0)) >> FRACTION_BITS
                } else {
                    0
                };
                let decode = if features.ready_rows > 0 { self.decode_at(features.ready_context).0 } else { 0 };
                narrow(prefill).saturating_add(decode)
            }
            StepTime::Tabulated(tabulated) => tabulated.at(features, tokens),
        };
        time.max(1).saturating_add(self.longest_ps(features))
    }

    /// How many of `passes` passes that begin with `features` lie within what the model was measured
    /// over: the time of the others is extrapolated. All of a model that stands on no measurements.
    pub fn passes_measured(&self, features: &Features, passes: i64) -> i64 {
        match self {
            StepTime::Tabulated(tabulated) => passes_measured(tabulated.measured.as_ref(), features, passes),
            StepTime::Affine { measured, .. } => passes_measured(measured.as_ref(), features, passes),
            StepTime::Polynomial { .. } => passes,
        }
    }

    /// Appends the times of `count` passes in which `rows` rows decode, the context being
    /// `context` after the first and growing by `rows` a pass.
    pub fn decode_stretches(&self, rows: i64, context: i64, count: i64, out: &mut Timeline) {
        self.decode_stretches_padded(rows, self.padded(&Features::decode(rows, context)), context, count, out);
    }

    /// As `decode_stretches`, the passes being filled up to `tokens`.
    pub fn decode_stretches_padded(
        &self,
        rows: i64,
        tokens: i64,
        mut context: i64,
        mut count: i64,
        out: &mut Timeline,
    ) {
        while count > 0 {
            let mut piece = self.decode_piece(rows, tokens, context);
            if piece.first < 1 {
                piece = Piece { first: 1, step: 0, limit: if piece.step == 0 { i64::MAX } else { 1 } };
            }
            let passes = count.min(piece.limit);
            out.push(Stretch { count: passes, first: piece.first, step: piece.step });
            context += rows * passes;
            count -= passes;
        }
    }

    fn decode_piece(&self, rows: i64, tokens: i64, context: i64) -> Piece {
        match self {
            StepTime::Affine { host, terms, .. } => {
                let features = Features::decode(rows, context);
                let base = host.at(&features);
                let top = terms.iter().map(|term| (term.at(&features), term.context_ps)).max().unwrap_or((0, 0));
                // The term on top now stays there until a steeper one overtakes it.
                let tokens_left = terms
                    .iter()
                    .filter(|term| term.context_ps > top.1)
                    .map(|term| (top.0 - term.at(&features)) / (term.context_ps - top.1))
                    .min();
                let first = base.saturating_add(top.0);
                let step = (host.context_ps.saturating_add(top.1)).saturating_mul(rows);
                Piece { first, step, limit: tokens_left.map_or(i64::MAX, |left| left / rows + 1) }
            }
            StepTime::Polynomial { segment_tokens, start_ps, .. } => {
                let (first, slope, offset) = self.decode_at(context);
                let last = context / segment_tokens >= start_ps.len() as i64 - 1;
                let limit = if last { i64::MAX } else { (segment_tokens - 1 - offset) / rows + 1 };
                Piece { first: first.max(1), step: slope.saturating_mul(rows), limit }
            }
            StepTime::Tabulated(tabulated) => tabulated.decode_piece(rows, tokens, context),
        }
    }

    /// Of the polynomial: the time of a decode with this context, the slope there, and how far
    /// into its segment the context is.
    fn decode_at(&self, context: i64) -> (i64, i64, i64) {
        let StepTime::Polynomial { segment_tokens, start_ps, slope_ps, .. } = self else {
            unreachable!("only the polynomial has segments")
        };
        let index = (context / segment_tokens).min(start_ps.len() as i64 - 1);
        let (start, slope, offset) =
            (start_ps[index as usize], slope_ps[index as usize], context - index * segment_tokens);
        (narrow(i128::from(start) + i128::from(slope) * i128::from(offset)), slope, offset)
    }

    /// # Errors
    /// A pass could take no time, or less.
    pub fn check(&self) -> Result<(), &'static str> {
        match self {
            StepTime::Affine { host, terms, draft, measured } => {
                if !measured.as_ref().is_none_or(Measured::is_whole) {
                    return Err("what step_time was measured over needs a limit for each knot");
                }
                let negative = |affine: &Affine| affine.coefficients().iter().any(|&c| c < 0);
                if negative(host) || negative(draft) || terms.iter().any(negative) {
                    return Err("coefficients of step_time must not be negative");
                }
            }
            StepTime::Polynomial { prefill_fps, segment_tokens, start_ps, slope_ps } => {
                if *segment_tokens <= 0 {
                    return Err("segment_tokens must be positive");
                }
                if start_ps.is_empty() || start_ps.len() != slope_ps.len() {
                    return Err("segments need a start and a slope each");
                }
                if prefill_fps.iter().any(|&c| c < 0) {
                    return Err("coefficients of step_time must not be negative");
                }
                let last = start_ps.len() - 1;
                let least = |(&start, &slope): (&i64, &i64), tokens: i64| {
                    i128::from(start) + i128::from(slope.min(0)) * i128::from(tokens)
                };
                let short = start_ps.iter().zip(slope_ps).any(|segment| least(segment, segment_tokens - 1) < 1);
                if short || slope_ps[last] < 0 {
                    return Err("segments of step_time must not fall below 1 ps");
                }
            }
            StepTime::Tabulated(tabulated) => return tabulated.check(),
        }
        Ok(())
    }
}
