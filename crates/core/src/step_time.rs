//! How long a forward pass takes, in whole picoseconds.
//!
//! Timing models are fitted and lowered to integers elsewhere; here they are only evaluated. Of
//! passes that only decode, the time is piecewise linear in the context, so a stretch of them is
//! an arithmetic progression and its sum is exact.

use serde::Deserialize;

/// Fractional bits of coefficients in "fps", 2^-20 ps: work terms are far below 1 ps a unit.
const FRACTION_BITS: u32 = 20;

/// What a pass does. Context counts tokens *after* the pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    pub prefill_tokens: i64,
    /// Sum over prefill rows of new·(2·past + new): twice the attention work, so that it is whole.
    pub prefill_work: i64,
    pub decode_rows: i64,
    pub context: i64,
    pub sequences: i64,
    /// Context of rows that get a token from this pass.
    pub ready_context: i64,
    pub ready_rows: i64,
    /// Drafts verified, beside the rows that decode; their context counts them.
    pub draft_tokens: i64,
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
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum StepTime {
    /// host + max(terms), each linear in the features.
    Affine { host: Affine, terms: Vec<Affine> },
    /// DynoSim's polynomial: a prefill, then a decode.
    Polynomial { prefill_fps: [i64; 3], segment_tokens: i64, start_ps: Vec<i64>, slope_ps: Vec<i64> },
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
    fn at(&self, f: &Features) -> i64 {
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

impl StepTime {
    /// The time of one pass, at least 1 ps.
    pub fn of(&self, features: &Features) -> i64 {
        let time = match self {
            StepTime::Affine { host, terms } => {
                host.at(features).saturating_add(terms.iter().map(|term| term.at(features)).max().unwrap_or(0))
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
        };
        time.max(1)
    }

    /// Appends the times of `count` passes in which `rows` rows decode, the context being
    /// `context` after the first and growing by `rows` a pass.
    pub fn decode_stretches(&self, rows: i64, mut context: i64, mut count: i64, out: &mut Timeline) {
        while count > 0 {
            let piece = self.decode_piece(rows, context);
            let passes = count.min(piece.limit);
            out.push(Stretch { count: passes, first: piece.first, step: piece.step });
            context += rows * passes;
            count -= passes;
        }
    }

    fn decode_piece(&self, rows: i64, context: i64) -> Piece {
        match self {
            StepTime::Affine { host, terms } => {
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
                if first < 1 {
                    return Piece { first: 1, step: 0, limit: if step == 0 { i64::MAX } else { 1 } };
                }
                Piece { first, step, limit: tokens_left.map_or(i64::MAX, |left| left / rows + 1) }
            }
            StepTime::Polynomial { segment_tokens, start_ps, .. } => {
                let (first, slope, offset) = self.decode_at(context);
                let last = context / segment_tokens >= start_ps.len() as i64 - 1;
                let limit = if last { i64::MAX } else { (segment_tokens - 1 - offset) / rows + 1 };
                Piece { first: first.max(1), step: slope.saturating_mul(rows), limit }
            }
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
            StepTime::Affine { host, terms } => {
                let negative = |affine: &Affine| affine.coefficients().iter().any(|&c| c < 0);
                if negative(host) || terms.iter().any(negative) {
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
        }
        Ok(())
    }
}

/// Passes one after the other whose times grow by `step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub count: i64,
    pub first: i64,
    pub step: i64,
}

impl Stretch {
    /// The time of the first `count` passes.
    fn time(&self, count: i64) -> i64 {
        let (n, first, step) = (i128::from(count), i128::from(self.first), i128::from(self.step));
        narrow(n * first + step * (n * (n - 1) / 2))
    }

    /// The least number of passes that last at least `time`, if there are so many.
    fn passes_until(&self, time: i64) -> Option<i64> {
        if self.time(self.count) < time {
            return None;
        }
        let (mut low, mut high) = (0, self.count);
        // A guess from the first pass's time narrows the search: the step is small against it.
        let guess = (time / self.first.max(1) + 1).min(self.count);
        if self.step >= 0 && self.time(guess) >= time {
            high = guess;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.time(middle) >= time { high = middle } else { low = middle + 1 }
        }
        Some(low)
    }
}

/// The times of a sequence of passes.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    pub stretches: Vec<Stretch>,
}

impl Timeline {
    pub fn clear(&mut self) {
        self.stretches.clear();
    }

    pub fn push(&mut self, stretch: Stretch) {
        self.stretches.push(stretch);
    }

    /// The time of the first `count` passes.
    pub fn time(&self, mut count: i64) -> i64 {
        let mut time: i64 = 0;
        for stretch in &self.stretches {
            let passes = count.min(stretch.count);
            time = time.saturating_add(stretch.time(passes));
            count -= passes;
            if count == 0 {
                break;
            }
        }
        time
    }

    /// How many passes start before `time` has passed since the first one's start.
    pub fn started_before(&self, time: i64) -> i64 {
        if time <= 0 {
            return 0;
        }
        let mut passes = 0;
        let mut left = time;
        for stretch in &self.stretches {
            match stretch.passes_until(left) {
                Some(count) => return passes + count,
                None => {
                    passes += stretch.count;
                    left -= stretch.time(stretch.count);
                }
            }
        }
        passes
    }

    /// Keeps the first `count` passes.
    pub fn truncate(&mut self, mut count: i64) {
        for (index, stretch) in self.stretches.iter_mut().enumerate() {
            stretch.count = stretch.count.min(count);
            count -= stretch.count;
            if count == 0 {
                self.stretches.truncate(index + 1);
                return;
            }
        }
    }
}
