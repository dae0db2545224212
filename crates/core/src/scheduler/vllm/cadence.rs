//! Prefills of data ranks in step, only in every so many passes: `prefill_schedule_interval`.
//!
//! A prompt on one rank holds up all others. In passes between, a rank that decodes leaves its
//! prompts for the next pass of the cadence, unless that would not have taken in all that waits
//! (`Scheduler.schedule` and `prefill_capacity_bound` in vllm/v1/core/sched/scheduler.py, from 0.32).

use super::Vllm;
use super::row::State;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cadence {
    /// The number of the next pass since the ranks last stopped; of a run, that of its first.
    step: i64,
    /// The last pass that could admit anyone left some waiting.
    capacity_bound: bool,
    /// Prompts are left for a later pass.
    pub(super) defers: bool,
    some_wait: bool,
}

impl Vllm<'_> {
    fn interval(&self) -> i64 {
        i64::from(self.s.engine.prefill_schedule_interval)
    }

    pub(super) fn has_cadence(&self) -> bool {
        self.s.engine.prefill_schedule_interval > 1
    }

    pub(super) fn set_step(&mut self, step: i64) {
        self.cadence.step = step;
    }

    /// The next pass, or run of passes, is decided now.
    pub(super) fn begin_cadence(&mut self) {
        if !self.has_cadence() {
            return;
        }
        let between = self.cadence.step % self.interval() != 0 && !self.cadence.capacity_bound;
        let decodes = |&slot: &u32| {
            let row = &self.rows[slot as usize];
            !row.prefilling && row.state != State::Waiting
        };
        self.cadence.defers = between && (!self.decoding.is_empty() || self.explicit.iter().any(decodes));
        self.cadence.some_wait = !self.waiting.is_empty();
    }

    /// The queue was looked at in a pass of its own.
    pub(super) fn note_admissions(&mut self) {
        if !self.cadence.defers {
            self.cadence.capacity_bound = !self.waiting.is_empty();
        }
    }

    /// The same, of each pass of a run: nobody was admitted, and nobody came.
    pub(super) fn note_run(&mut self, passes: i64) {
        let interval = self.interval();
        let to_next = (-self.cadence.step).rem_euclid(interval);
        if self.cadence.capacity_bound || to_next < passes {
            self.cadence.capacity_bound = self.cadence.some_wait;
        }
    }
}
