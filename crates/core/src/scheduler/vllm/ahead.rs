//! Drafts under async scheduling: a pass is decided before the one under way has told what it gives.
//!
//! Until its results are in, all that a pass computes counts as accepted; what was rejected is taken back
//! with them (`num_output_placeholders` in vllm/v1/core/sched/async_scheduler.py). Drafts stay on the GPU,
//! where the next pass finds them. A row whose tokens on the way may be its last, but need not be, is in
//! the next pass as well, for nothing.
//!
//! What a pass gives is settled when it is decided, so rows join the decode set at once. Blocks are taken
//! for what vLLM counts, times are those of what the GPU computes.

use super::Vllm;
use super::row::{Row, State};
use super::speculation::decode_set;
use crate::scheduler::pass::{Pass, Sample};

/// A share in a pass under way, of a row that has left the decode set since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unseen {
    /// The counter after that pass.
    serial: u64,
    sample: Sample,
}

impl Vllm<'_> {
    /// The rows of a pass that has just been decided go on before its results are in.
    pub(super) fn go_on_unseen(&mut self, sampling: &[Sample]) {
        for sample in sampling {
            let row = &mut self.rows[sample.slot as usize];
            row.placeholders += 1 + sample.drafts;
            row.rejected += sample.rejected();
            row.drafts = self.drafts;
        }
        if !self.may_join() {
            return;
        }
        if self.drafts != self.decoding.drafts() {
            if !self.decoding.is_empty() {
                return; // the next decision takes its rows out
            }
            self.decoding = decode_set(self.s.engine, self.drafts, self.s.step_time.prices_longest());
        }
        for sample in sampling {
            // With fewer drafts than before, blocks of the first pass would exceed those of the second.
            if sample.drafts <= self.drafts {
                self.join(sample.slot, sample.rejected());
            }
        }
    }

    /// The next pass is decided: rows leave the decode set whose tokens on the way are certain to be their
    /// last, and all if their drafts are of another number now.
    pub(super) fn step_out_before_pass(&mut self, start_ps: i64) {
        if self.drafts != self.decoding.drafts() && !self.decoding.is_empty() {
            self.make_explicit(self.drafts, start_ps);
            self.decoding = decode_set(self.s.engine, self.drafts, self.s.step_time.prices_longest());
        }
        if self.decoding.first_finish().is_none_or(|at| at > self.k) {
            return;
        }
        let certain = |&slot: &u32| {
            let row = &self.rows[slot as usize];
            row.limit == row.target && row.sampled(self.k - 1) + 1 == row.limit
        };
        let ending: Vec<u32> = self.decoding.finishing_by(self.k).filter(certain).collect();
        for slot in ending {
            self.step_out(slot, self.drafts, start_ps);
            let position = self.explicit_before(self.rows[slot as usize].order);
            self.explicit.insert(position, slot);
            if !self.s.engine.enable_chunked_prefill {
                self.head_blocked = false; // a whole prompt may fit the budget now
            }
        }
    }

    /// What a row that leaves the decode set has there in the pass under way, whose results are yet to come.
    pub(super) fn note_unseen(&mut self, slot: u32, drafts: u32) {
        let k = self.k;
        let row = &mut self.rows[slot as usize];
        if k > row.joined {
            let tokens = row.burst.map_or(1, |burst| burst.gives(k - 1));
            let sample = Sample { slot, drafts, tokens, verifies: true };
            row.delivered = row.sampled(k - 1);
            row.computed = row.prompt + row.delivered + drafts;
            (row.placeholders, row.rejected) = (1 + drafts, sample.rejected());
            row.last_pass = k;
            self.unseen.push(Unseen { serial: k, sample });
        }
    }

    /// Takes in what such rows got in a pass: those that end join `ending`. Returns the tokens that nobody wanted.
    pub(super) fn see(&mut self, pass: &Pass, ending: &mut Vec<u32>) -> i64 {
        let mut beyond = 0;
        for index in (0..self.unseen.len()).rev() {
            let Unseen { serial, sample } = self.unseen[index];
            if serial <= pass.serial {
                self.unseen.swap_remove(index);
                let row = &self.rows[sample.slot as usize];
                beyond += i64::from((row.delivered + sample.tokens).saturating_sub(row.target));
                if self.take_back(sample, pass.end_ps) {
                    ending.push(sample.slot);
                }
            }
        }
        beyond
    }

    /// A row has its results of a pass: what was rejected is not computed. Returns whether the row ends.
    pub(super) fn take_back(&mut self, sample: Sample, end_ps: i64) -> bool {
        let is_async = self.s.engine.async_scheduling;
        let row = &mut self.rows[sample.slot as usize];
        row.delivered += sample.tokens.min(row.target - row.delivered);
        row.last_emit_ps = end_ps;
        let ends = row.delivered == row.target;
        if row.state == State::Waiting {
            return ends; // preempted meanwhile, it has nothing computed
        }
        row.computed -= sample.rejected();
        if !is_async {
            row.drafts = self.drafts;
        } else {
            row.placeholders -= 1 + sample.drafts;
            row.rejected -= sample.rejected();
            if row.state == State::Explicit && self.s.engine.enable_prefix_caching {
                let known = row.tokens() - 1;
                self.enter_hashes(sample.slot, known / self.s.engine.block_size);
            }
        }
        ends
    }

    /// Tokens of a decoding row that count as computed before the pass that raises the counter from `k`.
    pub(super) fn computed_before(&self, row: &Row<'_>, k: u64) -> u32 {
        if row.burst.is_none() || !self.s.engine.async_scheduling {
            row.computed_by(k)
        } else if k == row.joined {
            row.first_computed
        } else {
            row.prompt + row.sampled(k - 1) + self.decoding.drafts()
        }
    }
}
