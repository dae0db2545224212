//! A pass, or a run of them, from its decision to its results.

use crate::decode_set::{DecodeSet, Verify};
use crate::gaps::GapList;
use crate::record::{PassTime, Speculated};
use crate::step_time::{Features, StepTime, Stretch, Timeline};
use crate::workload::HORIZON_PS;

/// One pass, or a run of passes that only decode and in which nothing else happens.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    pub start_ps: i64,
    pub end_ps: i64,
    /// Start of the last pass of a run.
    pub last_start_ps: i64,
    pub passes: i64,
    /// The decode counter after the (last) pass.
    pub(super) serial: u64,
    /// Whether blocks and counter know of it already. A run is only settled when its length is.
    pub(super) settled: bool,
    /// Whether its rows all decode and its gaps are noted when it is settled.
    pub(super) is_run: bool,
    pub(super) decided_ps: i64,
    /// Requests in the queue when it was decided.
    pub(super) waiting: u32,
    pub times: Timeline,
    /// What the first pass of it does.
    pub features: Features,
    /// Rows of the decode set, and the tokens that they give, as if none ended.
    pub(super) decoding: i64,
    pub(super) given: i64,
    /// Drafts that each of them verifies, where their number may have changed by the time of the results.
    pub(super) drafts: u32,
    /// Explicit rows that get tokens.
    pub(super) sampling: Vec<Sample>,
    /// Rows that decode again after passes they were left out of.
    pub(super) returning: Vec<u32>,
    /// Rows whose request ended before this pass did: their token is dropped.
    pub(super) dead: i64,
    /// A request of whose prompt it computes a part but not the last, and where that ends.
    pub(super) partial: Option<(u32, u32)>,
    /// Its entries in the log: the first, if there is a log.
    pub(super) logged: Option<usize>,
}

impl Pass {
    /// Makes it a run of `passes` in which just `decoding` decodes, from counter `k` on.
    pub(super) fn begin_run(&mut self, decoding: &DecodeSet, step_time: &StepTime, k: u64, passes: i64) {
        self.decoding = decoding.len() as i64;
        let context = decoding.context(k + 1);
        self.features =
            Features::verify(self.decoding, context, decoding.drafts()).with_longest(decoding.longest(k + 1, &[]));
        match decoding.verify() {
            None => {
                step_time.decode_stretches(self.decoding, context, passes, &mut self.times);
                if step_time.prices_longest() {
                    self.times.lengthen(step_time.longest_ps(&self.features));
                }
            }
            Some(verify) => {
                let mut time = step_time.growing(Features::verify(self.decoding, context, verify.drafts));
                decoding.contexts(k + 1, passes, |context| {
                    self.times.push(Stretch { count: 1, first: time.at(context), step: 0 });
                });
            }
        }
        self.passes = passes;
        self.serial = k + passes as u64;
        self.is_run = true;
        self.settled = false;
    }

    /// Makes it a single pass.
    pub(super) fn begin_step(&mut self, features: &Features, time: i64) {
        self.features = *features;
        self.times.push(Stretch { count: 1, first: time, step: 0 });
        self.passes = 1;
        self.settled = true;
    }

    /// Whether its results are a token for each row of the decode set, and nothing else.
    pub fn is_quiet(&self) -> bool {
        self.features.prefill_tokens == 0 && self.sampling.is_empty() && self.returning.is_empty() && self.dead == 0
    }

    /// Whether it is a run of passes that only decode.
    pub fn is_run(&self) -> bool {
        self.is_run
    }

    /// Its time, as far as `step_time` was measured and beyond.
    pub fn time(&self, step_time: &StepTime) -> PassTime {
        let all = self.times.time(self.passes);
        let passes = step_time.passes_measured(&self.features, self.passes);
        let measured = if passes == self.passes { all } else { self.times.time(passes) };
        PassTime::new(all, all - measured)
    }

    /// Notes what its rows of the decode set gave, if they verify drafts, but for those that are dead and
    /// those `dropped`: `beyond` tokens of it nobody wanted.
    pub(super) fn count_bursts(
        &self,
        verify: Option<Verify>,
        dropped: i64,
        beyond: i64,
        gaps: &mut GapList,
        speculated: &mut Speculated,
    ) {
        let Some(verify) = verify else { return };
        let verifications = self.decoding * self.passes - self.dead - dropped;
        gaps.push_within_bursts(self.given - verifications - beyond);
        if verify.drafts > 0 {
            let verified = verifications as u64;
            speculated.add(verified, verified * u64::from(verify.drafts), self.given as u64 - verified);
        }
    }

    pub(super) fn set_end(&mut self) {
        // An event just beyond the horizon is enough to end the run.
        let after = |passes: i64| self.start_ps.saturating_add(self.times.time(passes)).min(HORIZON_PS + 1);
        (self.last_start_ps, self.end_ps) = (after(self.passes - 1), after(self.passes));
    }

    /// Ends a run after the passes that are decided before `time_ps`. `ahead` is 1 if a pass is
    /// decided when the one before it starts, 0 if when that one has ended.
    pub fn truncate(&mut self, time_ps: i64, ahead: i64) {
        if self.settled || self.passes == 1 {
            return;
        }
        let passes = self.decided_before(time_ps, ahead);
        if passes < self.passes {
            self.times.truncate(passes);
            self.cut(passes);
            self.set_end();
        }
    }

    /// Ends a run after `passes` passes, whose times are the caller's business, if it is longer.
    pub fn cut(&mut self, passes: i64) {
        if passes < self.passes {
            self.serial -= (self.passes - passes) as u64;
            self.passes = passes;
        }
    }

    /// Passes of it decided before `time_ps`; see [`Self::truncate`] for `ahead`.
    pub fn decided_before(&self, time_ps: i64, ahead: i64) -> i64 {
        (self.times.started_before(time_ps - self.start_ps) + ahead).clamp(1, self.passes)
    }

    pub fn is_settled(&self) -> bool {
        self.settled
    }

    pub(super) fn clear(&mut self) {
        self.times.clear();
        self.sampling.clear();
        self.returning.clear();
        self.decoding = 0;
        self.given = 0;
        self.dead = 0;
        self.partial = None;
        self.is_run = false;
        self.logged = None;
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) slot: u32,
    pub(super) drafts: u32,
    /// What it gives: the accepted drafts, and one more.
    pub(super) tokens: u32,
    /// Whether its drafts are real ones.
    pub(super) verifies: bool,
}

impl Sample {
    /// Of a row without drafts.
    pub(super) fn single(slot: u32) -> Self {
        Sample { slot, drafts: 0, tokens: 1, verifies: false }
    }

    pub(super) fn rejected(&self) -> u32 {
        self.drafts + 1 - self.tokens
    }
}
