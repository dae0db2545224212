//! The loop of one rank: a pass after the other, or as many under way as its stages hold.

use super::pipeline::Pipelined;
use crate::clock::Now;
use crate::record::IdleTime;
use crate::scheduler::{AnyScheduler, Ledger, Results, Setting};
use crate::worker::{Phase, Stop, Worker};

#[expect(clippy::large_enum_variant, reason = "most ranks have one stage, and their loop is at hand as it is")]
pub(super) enum EngineLoop<'a> {
    Plain(Worker<'a>),
    Pipelined(Box<Pipelined<'a>>),
}

impl<'a> EngineLoop<'a> {
    pub(super) fn new(setting: Setting<'a>, stall_passes: u64, gap_limit: usize) -> Self {
        match setting.pipeline {
            None => Self::Plain(Worker::new(setting, stall_passes, gap_limit)),
            Some(config) => Self::Pipelined(Box::new(Pipelined::new(setting, config, stall_passes, gap_limit))),
        }
    }

    /// See [`Worker::next_event`].
    #[inline]
    pub(super) fn next_event(&self) -> Option<(i64, Phase)> {
        match self {
            Self::Plain(worker) => worker.next_event(),
            Self::Pipelined(stages) => stages.next_event(),
        }
    }

    #[inline]
    pub(super) fn process(&mut self, next: (i64, Phase), results: &mut Results) {
        match self {
            Self::Plain(worker) => worker.process(next, results),
            Self::Pipelined(stages) => stages.process(next, results),
        }
    }

    /// See [`Worker::outside`].
    #[inline]
    pub(super) fn outside(&mut self, now: Now, act: impl FnOnce(&mut AnyScheduler<'a>) -> bool) {
        match self {
            Self::Plain(worker) => worker.outside(now, act),
            Self::Pipelined(stages) => stages.outside(now, act),
        }
    }

    pub(super) fn stopped(&self) -> Option<Stop> {
        match self {
            Self::Plain(worker) => worker.stopped(),
            Self::Pipelined(stages) => stages.stopped(),
        }
    }

    pub(super) fn busy_ps(&self) -> i64 {
        match self {
            Self::Plain(worker) => worker.busy_ps(),
            Self::Pipelined(stages) => stages.busy_ps(),
        }
    }

    /// Of stages; nothing where there is one.
    pub(super) fn idle_time(&self) -> IdleTime {
        match self {
            Self::Plain(_) => IdleTime::default(),
            Self::Pipelined(stages) => stages.idle_time(),
        }
    }

    pub(super) fn scheduler(&self) -> &AnyScheduler<'a> {
        match self {
            Self::Plain(worker) => worker.scheduler(),
            Self::Pipelined(stages) => stages.scheduler(),
        }
    }

    /// See [`Worker::decided_before`].
    pub(super) fn decided_before(&self, time_ps: i64) -> i64 {
        match self {
            Self::Plain(worker) => worker.decided_before(time_ps),
            Self::Pipelined(stages) => stages.decided_before(time_ps),
        }
    }

    pub(super) fn into_ledger(self) -> Ledger {
        match self {
            Self::Plain(worker) => worker.into_ledger(),
            Self::Pipelined(stages) => stages.into_ledger(),
        }
    }
}
