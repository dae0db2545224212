//! One rank of several in step, and the passes it is in.

use super::slowest;
use crate::record::PassTime;
use crate::scheduler::{AnyScheduler, Pass, Scheduler};
use crate::step_time::{StepTime, Stretch, Timeline};

/// A rank's scheduler and the passes it has decided.
pub(super) struct Rank<'a> {
    pub(super) scheduler: AnyScheduler<'a>,
    pub(super) executing: Option<Run>,
    pub(super) queued: Option<Run>,
    /// The last decision found nothing to do; only results or something from outside can change that.
    pub(super) asleep: bool,
    pub(super) pass_time: PassTime,
}

impl<'a> Rank<'a> {
    pub(super) fn new(scheduler: AnyScheduler<'a>) -> Self {
        Rank { scheduler, executing: None, queued: None, asleep: true, pass_time: PassTime::default() }
    }

    /// Whether it decides at `now_ps` if it can.
    pub(super) fn wants(&self, now_ps: i64) -> bool {
        self.scheduler.has_work() && (!self.asleep || self.wakes().is_some_and(|wake_ps| wake_ps <= now_ps))
    }

    /// When it decides again, though nothing comes from outside.
    pub(super) fn wakes(&self) -> Option<i64> {
        if self.asleep && !self.works() { self.scheduler.next_wake_ps() } else { None }
    }

    /// Whether it decides its next pass when the last one of these starts, at `start_ps`.
    pub(super) fn decides_in(&self, passes: i64, start_ps: i64) -> bool {
        self.queued.is_none() && self.executing.as_ref().is_some_and(|run| run.left() <= passes) && self.wants(start_ps)
    }

    pub(super) fn works(&self) -> bool {
        self.executing.as_ref().is_some_and(|run| run.works)
    }

    /// Passes of an unsettled run that are decided, when `started` of those that all ranks are in have started.
    pub(super) fn decided(&self, started: i64, ahead: i64) -> i64 {
        match (&self.queued, &self.executing) {
            (Some(run), _) if run.is_open() => 1,
            (None, Some(run)) if run.is_open() => (run.done + started + ahead).clamp(1, run.passes()),
            _ => 0,
        }
    }
}

/// A pass of one rank, or a run of them, in the midst of passes of all ranks.
#[derive(Default)]
pub(super) struct Run {
    pub(super) pass: Box<Pass>,
    /// False: the rank only keeps the others company.
    pub(super) works: bool,
    /// The times its passes would take alone; in `pass` is how long they took.
    own: Timeline,
    /// Those of passes of all ranks that it is in, if what others compute lengthens its own.
    filled: Timeline,
    /// Passes that are over.
    pub(super) done: i64,
    /// Its last pass has started, and its times are final.
    pub(super) closed: bool,
}

impl Run {
    /// Its next `passes` passes are filled up to `tokens`, as on the rank with most of them.
    pub(super) fn fill_up(&mut self, step_time: &StepTime, tokens: i64, passes: i64) {
        self.filled.clear();
        let features = &self.pass.features;
        // How many tokens verified drafts give differs from pass to pass: no progression prices a run of them.
        let drawn = self.pass.is_run() && features.draft_tokens > 0;
        if drawn || features.sequences == 0 || !step_time.prices_padding() || step_time.padded(features) == tokens {
            return;
        }
        if self.pass.is_run() {
            let (rows, context) = (features.decode_rows, features.context + self.done * features.decode_rows);
            step_time.decode_stretches_padded(rows, tokens, context, passes, &mut self.filled);
            self.filled.lengthen(step_time.longest_ps(features));
        } else {
            let waits = self.own.time(1) - step_time.of(features);
            let first = step_time.of_padded(features, tokens) + waits;
            self.filled.push(Stretch { count: 1, first, step: 0 });
        }
    }

    /// The times that its next passes would take alone, filled up, after those that are to be skipped.
    pub(super) fn alone(&self) -> (&Timeline, i64) {
        if self.filled.stretches.is_empty() { (&self.own, self.done) } else { (&self.filled, 0) }
    }

    /// How long the next `passes` of them are.
    pub(super) fn alone_ps(&self, passes: i64) -> i64 {
        let (alone, skip) = self.alone();
        alone.time(skip + passes) - alone.time(skip)
    }

    /// Takes over a pass that was just decided.
    pub(super) fn begin(&mut self) {
        std::mem::swap(&mut self.own, &mut self.pass.times);
        self.pass.times.clear();
        (self.works, self.done, self.closed) = (true, 0, false);
    }

    /// A run of `passes` in which the rank has nothing to do.
    pub(super) fn idle(mut self, passes: i64) -> Self {
        self.pass.passes = passes;
        (self.works, self.done, self.closed) = (false, 0, false);
        self
    }

    pub(super) fn passes(&self) -> i64 {
        self.pass.passes
    }

    pub(super) fn left(&self) -> i64 {
        self.passes() - self.done
    }

    /// Whether its length is not final.
    pub(super) fn is_open(&self) -> bool {
        self.works && !self.pass.is_settled()
    }

    /// Ends it after `passes` passes, if it is longer.
    pub(super) fn cut(&mut self, passes: i64) {
        if !self.works {
            self.pass.passes = passes.min(self.passes());
        } else if self.is_open() {
            self.pass.cut(passes);
        }
    }

    /// Notes how long passes of all ranks took, of which it had as many left at least.
    pub(super) fn note(&mut self, times: &Timeline, passes: i64, last_start_ps: i64, end_ps: i64) {
        if self.works {
            slowest::copy(times, 0, passes, &mut self.pass.times);
            (self.pass.last_start_ps, self.pass.end_ps) = (last_start_ps, end_ps);
        }
    }
}
