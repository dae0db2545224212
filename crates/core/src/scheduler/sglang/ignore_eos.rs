//! Admission without a radix cache of requests that generate up to their limit: SGLang plays their
//! future through. Costs the batch, as in the engine.

use super::Sglang;
use super::budget::Budget;
use super::prefill::{Extend, Verdict};
use super::promise::CLIP_TOKENS;

/// Tokens that a request will give yet, and those it holds.
pub(super) type Future = (i64, i64);

/// SGLang's IGNORE_EOS_RESERVE_TOKENS, a request.
const RESERVE_TOKENS: i64 = 1;

impl Sglang<'_> {
    /// As the usual admission test. `futures` are those of the pass so far.
    pub(super) fn extend_ignoring_eos(
        &self,
        index: usize,
        budget: &mut Budget,
        futures: &mut Vec<Future>,
        batch: &[u32],
    ) -> Result<Extend, Verdict> {
        let engine = self.s.engine;
        let waiting = self.waiting[index];
        let limit = i64::from(self.limit(waiting.request));
        let given = waiting.tokens - self.prompt(waiting.request);
        let paged = i64::from(engine.ceil_page(waiting.tokens) + engine.page_size);
        if paged > self.untaken(budget).min(self.whole_tokens_left(budget)) {
            return Err(Verdict::NoToken);
        }
        let output = (limit - i64::from(given)).clamp(0, CLIP_TOKENS);
        if self.window_charge(i64::from(waiting.tokens), output, budget.chunk) > self.window_left(budget.windows) {
            return Err(Verdict::NoToken);
        }
        let future = (limit - i64::from(given), i64::from(waiting.tokens));
        if futures.is_empty() {
            self.gather(future, batch, futures);
        } else if future.0 > 0 {
            insert(future, futures);
        }
        let mut free = self.untaken(budget) - paged;
        // Where layers have windows, SGLang does not play it through.
        for (index, &(left, held)) in futures.iter().enumerate().filter(|_| self.window.is_none()) {
            let rows = (futures.len() - index) as i64;
            if free - left * rows <= RESERVE_TOKENS * rows {
                return Err(Verdict::NoToken);
            }
            free += held;
        }
        let output = limit.min(CLIP_TOKENS);
        match budget.chunk {
            Some(chunk) if i64::from(waiting.tokens) > chunk => {
                if chunk <= 0 {
                    return Err(Verdict::Other);
                }
                Ok(Extend { tokens: chunk as u32, output: 0, is_chunk: true })
            }
            _ => Ok(Extend { tokens: waiting.tokens, output, is_chunk: false }),
        }
    }

    fn gather(&self, first: Future, batch: &[u32], futures: &mut Vec<Future>) {
        futures.push(first);
        for &slot in &self.running {
            let (row, given) = (&self.rows[slot as usize], self.known(slot));
            futures.push((i64::from(row.limit) - i64::from(given), i64::from(row.prompt + given)));
        }
        for &slot in batch {
            let row = &self.rows[slot as usize];
            futures.push((i64::from(row.limit) - i64::from(row.given), i64::from(row.tokens())));
        }
        futures.retain(|&(left, _)| left > 0);
        futures.sort_by_key(|&(left, _)| left);
    }
}

/// As SGLang inserts: before the first that is not below; if all are, before the last.
fn insert(future: Future, futures: &mut Vec<Future>) {
    let last = futures.len() - 1;
    let index = futures.iter().position(|&(left, _)| future.0 <= left).unwrap_or(last);
    futures.insert(index, future);
}
