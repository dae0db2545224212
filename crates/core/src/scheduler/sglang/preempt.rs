//! Running requests that make way for a more urgent one.

use super::Sglang;
use super::budget::Budget;
use super::promise::CLIP_TOKENS;
use crate::scheduler::{Pass, Results};
use std::cmp::Reverse;

impl Sglang<'_> {
    /// Preempts rows of the batch for a waiting request, if enough of them are less urgent by more
    /// than the threshold. Costs the batch, as in the engine.
    pub(super) fn preempt_for(
        &mut self,
        index: usize,
        budget: &mut Budget,
        preempted: &mut Vec<u32>,
        results: &mut Results,
        pass: &Pass,
    ) -> bool {
        let urgency = |sglang: &Self, request: u32| {
            let priority = i64::from(sglang.s.trace.priority[request as usize]);
            if sglang.s.engine.schedule_low_priority_values_first { -priority } else { priority }
        };
        let waiting = self.waiting[index];
        let mine = urgency(self, waiting.request);
        let threshold = i64::from(self.s.engine.priority_scheduling_preemption_threshold);
        let output = i64::from(self.limit(waiting.request)).min(CLIP_TOKENS);
        // The engine goes by what it noted when it last looked at the request.
        let wanted = i64::from(waiting.noted) - i64::from(waiting.prefix) + output;
        let mut missing = wanted as f64 - self.tokens_left(budget);
        let mut rows = self.running.clone();
        rows.sort_by_key(|&slot| {
            let row = &self.rows[slot as usize];
            (urgency(self, row.request), Reverse(row.entry))
        });
        let mut victims = Vec::new();
        for slot in rows {
            if mine - urgency(self, self.rows[slot as usize].request) <= threshold {
                break;
            }
            victims.push(slot);
            missing -= self.promise(slot, budget.ratio);
            if missing <= 0.0 {
                break;
            }
        }
        if victims.is_empty() || missing > 0.0 {
            return false;
        }
        let batch = std::mem::take(&mut self.running);
        let mut others = batch.len();
        for slot in batch {
            if victims.contains(&slot) {
                others -= 1;
                budget.forget(self.promise(slot, budget.ratio));
                self.take_out(slot, others, results);
                self.log_preempted(pass, slot);
                preempted.push(slot);
            } else {
                self.running.push(slot);
            }
        }
        true
    }
}
