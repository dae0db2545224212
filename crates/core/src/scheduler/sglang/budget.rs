//! What a prefill may use: SGLang's PrefillAdder and PrefillBudget.

use super::promise::CLIP_TOKENS;
use super::{OnWay, Sglang};

/// What is left of one prefill pass's budgets.
#[derive(Debug)]
pub(super) struct Budget {
    /// Tokens of `max_prefill_tokens` and `chunked_prefill_size`.
    pub(super) input: i64,
    pub(super) chunk: Option<i64>,
    /// The share of their limits that running requests are counted with.
    pub(super) ratio: f64,
    /// Tokens promised: all, and those taken in this pass.
    promised: Promised,
    taken: i64,
    /// Of windows, those taken in this pass.
    pub(super) windows: i64,
}

/// SGLang adds up promises in floating point, row by row. What that sum is matters only where a
/// comparison is close; else a closed form with a bound on its error decides.
#[derive(Debug)]
enum Promised {
    Whole(i64),
    Estimate(Estimate),
    Literal(f64),
}

#[derive(Debug)]
struct Estimate {
    /// Rows of the batch, and what all of them are expected to take.
    rows: f64,
    share: f64,
    /// What the engine adds before and after these, in its order.
    before: i64,
    after: Vec<i64>,
}

/// More than the relative rounding error of one addition or multiplication.
const ROUNDING: f64 = f64::EPSILON;

impl Sglang<'_> {
    /// The budgets before the first request.
    pub(super) fn budget(&mut self) -> Budget {
        let mixed = if self.s.engine.mixes() { self.running.len() as i64 } else { 0 };
        let rows = self.sum_promises();
        let in_full = self.s.engine.ignore_eos || self.running.is_empty();
        let ratio = if in_full { 1.0 } else { self.ratio.current() };
        let promised = if in_full {
            Promised::Whole(mixed + rows)
        } else if self.s.engine.preempts() {
            Promised::Literal(mixed as f64 + self.literal_promises(ratio))
        } else {
            let share = ratio * rows as f64;
            Promised::Estimate(Estimate { rows: self.running.len() as f64, share, before: mixed, after: Vec::new() })
        };
        Budget {
            input: i64::from(self.s.engine.max_prefill_tokens) - mixed,
            chunk: self.s.engine.chunked_prefill_size.map(|chunk| i64::from(chunk) - mixed),
            ratio,
            promised,
            taken: mixed,
            windows: 0,
        }
    }

    /// What all rows of the batch are expected to take yet, for all the scheduler knows.
    fn sum_promises(&mut self) -> i64 {
        if self.decoding.verify().is_some() {
            let left = |&slot: &u32| i64::from(self.rows[slot as usize].limit) - i64::from(self.known(slot));
            return self.running.iter().map(|slot| left(slot).min(CLIP_TOKENS)).sum();
        }
        match self.on_way {
            OnWay::Nothing => self.promises.sum(self.k),
            OnWay::All => self.promises.sum(self.k - 1),
            OnWay::Decodes => unreachable!("a decode replica computes no prompts"),
            OnWay::Prefills => {
                let left = |&slot: &u32| self.rows[slot as usize].limit_at() - self.k as i64;
                let joined = self.fresh.iter().filter(|&&slot| self.rows[slot as usize].joined_by == self.decision);
                let unknown = joined.map(left).filter(|&left| left < CLIP_TOKENS).count() as i64;
                self.promises.sum(self.k) + unknown
            }
        }
    }

    /// The sum as the engine forms it: costs the batch.
    fn literal_promises(&self, ratio: f64) -> f64 {
        self.running.iter().map(|&slot| self.promise(slot, ratio)).fold(0.0, |sum, promise| sum + promise)
    }

    /// What a row of the batch is expected to take yet.
    pub(super) fn promise(&self, slot: u32, ratio: f64) -> f64 {
        let left = i64::from(self.rows[slot as usize].limit) - i64::from(self.known(slot));
        left.min(CLIP_TOKENS) as f64 * ratio
    }

    /// Tokens free or evictable.
    pub(super) fn capacity(&self) -> i64 {
        i64::from(self.available) + i64::from(self.tree.evictable())
    }

    /// The capacity beyond all promises. If it is an estimate, `is_settled` says of it and of a bound
    /// on its error whether it will do.
    fn left(&self, budget: &mut Budget, is_settled: impl Fn(f64, f64) -> bool) -> f64 {
        let capacity = self.capacity() as f64;
        match &budget.promised {
            Promised::Whole(tokens) => capacity - *tokens as f64,
            Promised::Literal(tokens) => capacity - *tokens,
            Promised::Estimate(Estimate { rows, share, before, after }) => {
                let promised = (before + after.iter().sum::<i64>()) as f64 + share;
                let error = (capacity + promised) * (rows + after.len() as f64 + 8.0) * ROUNDING;
                if is_settled(capacity - promised, error) {
                    return capacity - promised;
                }
                let first = *before as f64 + self.literal_promises(budget.ratio);
                let literal = after.iter().fold(first, |sum, &tokens| sum + tokens as f64);
                budget.promised = Promised::Literal(literal);
                capacity - literal
            }
        }
    }

    /// Whether `tokens` leave something of what is not promised.
    pub(super) fn fits(&self, budget: &mut Budget, tokens: i64) -> bool {
        let tokens = tokens as f64;
        tokens < self.left(budget, |left, error| (left - tokens).abs() > error)
    }

    /// Whole tokens left beyond all promises.
    pub(super) fn whole_tokens_left(&self, budget: &mut Budget) -> i64 {
        self.left(budget, |left, error| (left - left.round()).abs() > error) as i64
    }

    /// Tokens left beyond all promises, where these are added up row by row.
    pub(super) fn tokens_left(&self, budget: &mut Budget) -> f64 {
        self.left(budget, |_, _| false)
    }

    /// The capacity beyond what this pass takes.
    pub(super) fn untaken(&self, budget: &Budget) -> i64 {
        self.capacity() - budget.taken
    }

    /// Whether any request could still be admitted, as far as memory goes.
    pub(super) fn has_capacity(&self, budget: &mut Budget) -> bool {
        self.fits(budget, 0) && self.untaken(budget) > 0 && self.window_left(budget.windows) > 0
    }

    /// Charges a request that computes `extend` tokens and is expected to give `output`.
    pub(super) fn charge(&self, budget: &mut Budget, extend: u32, output: i64) {
        let paged = i64::from(self.s.engine.ceil_page(extend));
        let taken = paged + i64::from(self.s.engine.page_size);
        budget.taken += taken;
        match &mut budget.promised {
            Promised::Whole(tokens) => *tokens += taken + output,
            Promised::Literal(tokens) => *tokens += (taken + output) as f64,
            Promised::Estimate(estimate) => estimate.after.push(taken + output),
        }
        budget.windows += self.window_charge(paged, output, budget.chunk);
        budget.input -= paged;
        if let Some(chunk) = &mut budget.chunk {
            *chunk -= paged;
        }
    }
}

impl Budget {
    /// Whether the pass can compute no more.
    pub(super) fn is_spent(&self) -> bool {
        self.input <= 0 || self.chunk.is_some_and(|chunk| chunk <= 0)
    }

    /// A row with this promise has left the batch.
    pub(super) fn forget(&mut self, promise: f64) {
        match &mut self.promised {
            Promised::Whole(tokens) => *tokens -= promise as i64,
            Promised::Literal(tokens) => *tokens -= promise,
            Promised::Estimate(_) => unreachable!("where rows are preempted, promises are added up row by row"),
        }
    }
}
