//! The stages of a pipeline in time: each computes one pass after the other.

use crate::config::Pipeline;
use crate::record::{IdleTime, PassTime};
use crate::step_time::{Features, Timeline};

/// When a pass is in the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// It enters the first stage.
    pub(super) start_ps: i64,
    /// It leaves the last.
    pub(super) end_ps: i64,
}

pub(super) struct Stages<'a> {
    config: &'a Pipeline,
    /// When each has computed the last pass that was sent to it.
    pub(super) free_ps: Vec<i64>,
    /// Time in which some stage computed, and up to when.
    pub(super) busy_ps: i64,
    busy_until_ps: i64,
    pub(super) pass_time: PassTime,
}

impl<'a> Stages<'a> {
    pub(super) fn new(config: &'a Pipeline) -> Self {
        let free_ps = vec![0; config.stage_count()];
        Stages { config, free_ps, busy_ps: 0, busy_until_ps: 0, pass_time: PassTime::default() }
    }

    /// Sends a pass on its way, not before `from_ps`.
    pub(super) fn send(&mut self, features: &Features, from_ps: i64) -> Way {
        let times: Vec<i64> = self.config.kinds.iter().map(|kind| kind.of(features)).collect();
        self.note_time(features, 1, |kind, passes| if passes > 0 { times[kind] } else { 0 });
        let way = travel(&mut self.free_ps, self.config, from_ps, |kind| times[kind]);
        self.note_busy(way);
        way
    }

    /// Notes the time of `passes` passes that begin with `features`; `time` is that of the first so many of
    /// them in a kind of stage.
    fn note_time(&mut self, features: &Features, passes: i64, time: impl Fn(usize, i64) -> i64) {
        for &kind in &self.config.stages {
            let kind = kind as usize;
            let (all, measured) = (time(kind, passes), self.config.kinds[kind].passes_measured(features, passes));
            self.pass_time.add(PassTime::new(all, all - time(kind, measured)));
        }
    }

    /// The same of a run of quiet passes, whose times in each kind of stage are `timelines`.
    pub(super) fn note_run(&mut self, features: &Features, passes: i64, timelines: &[Timeline]) {
        self.note_time(features, passes, |kind, count| timelines[kind].time(count));
    }

    pub(super) fn note_busy(&mut self, way: Way) {
        self.busy_ps += way.end_ps - way.start_ps.max(self.busy_until_ps).min(way.end_ps);
        self.busy_until_ps = way.end_ps;
    }

    /// Of all stages while passes are under way: a stage that computes none of them is a bubble.
    pub(super) fn idle_time(&self) -> IdleTime {
        let all_ps = i128::from(self.busy_ps) * self.free_ps.len() as i128;
        IdleTime { all_ps, idle_ps: all_ps - self.pass_time.all_ps }
    }
}

/// Sends a pass through stages that are free at `free_ps`, each of which takes `time` for its kind.
pub(super) fn travel(free_ps: &mut [i64], config: &Pipeline, from_ps: i64, mut time: impl FnMut(usize) -> i64) -> Way {
    let start_ps = from_ps.max(free_ps[0]);
    let mut at_ps = start_ps;
    for (free_ps, &kind) in free_ps.iter_mut().zip(&config.stages) {
        at_ps = at_ps.max(*free_ps).saturating_add(time(kind as usize));
        *free_ps = at_ps;
    }
    Way { start_ps, end_ps: at_ps }
}
