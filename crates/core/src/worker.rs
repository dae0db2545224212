//! One rank in time: when its scheduler decides, and when results come in.
//!
//! Without async scheduling a pass is decided when the one before it has ended. With it, when the
//! one before it *starts*: one pass executes, one is queued behind it.
//!
//! At equal times results come before transfers, these before arrivals, and arrivals before decisions.

use crate::clock::Now;
use crate::record::PassTime;
use crate::scheduler::{AnyScheduler, Ledger, Pass, Results, Scheduler, Setting};
use crate::workload::HORIZON_PS;

/// What happens next to a worker, in the order of equal times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Results,
    /// Of data between replicas; not an event of a worker, but it has its place in the order.
    Transfer,
    /// Nor is this.
    Arrival,
    Decision,
}

pub struct Worker<'a> {
    scheduler: AnyScheduler<'a>,
    executing: Option<Box<Pass>>,
    queued: Option<Box<Pass>>,
    /// Passes that are over, kept for their buffers. Boxed: passes move on at every event.
    #[expect(clippy::vec_box)]
    spare: Vec<Box<Pass>>,
    setting: Setting<'a>,
    /// Passes decided before the one before them has ended.
    ahead: i64,
    stall_passes: u64,
    /// When the next decision is due if nothing executes.
    ready_ps: i64,
    /// The last decision found nothing to do; only results, an arrival or its own alarm can change that.
    asleep: bool,
    stopped: Option<Stop>,
    pass_time: PassTime,
    /// How long passes were under way.
    busy_ps: i64,
}

/// Why a worker went on no further. Of several ranks, the greatest tells most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    PassLimit,
    Stalled,
    /// The engine itself would fail here, with this error.
    Engine(&'static str),
    /// Its time goes beyond [`HORIZON_PS`].
    Horizon,
}

impl<'a> Worker<'a> {
    pub fn new(setting: Setting<'a>, stall_passes: u64, gap_limit: usize) -> Self {
        Worker {
            setting,
            stall_passes,
            scheduler: setting.scheduler(gap_limit),
            ahead: setting.ahead(),
            executing: None,
            queued: None,
            spare: Vec::new(),
            ready_ps: 0,
            asleep: true,
            stopped: None,
            pass_time: PassTime::default(),
            busy_ps: 0,
        }
    }

    pub fn scheduler(&self) -> &AnyScheduler<'a> {
        &self.scheduler
    }

    pub fn stopped(&self) -> Option<Stop> {
        self.stopped
    }

    pub fn busy_ps(&self) -> i64 {
        self.busy_ps
    }

    pub fn into_ledger(self) -> Ledger {
        self.scheduler.into_ledger(self.pass_time)
    }

    /// The next event, as it stands: an arrival may bring it forward.
    pub fn next_event(&self) -> Option<(i64, Phase)> {
        if self.stopped.is_some() {
            return None;
        }
        match (&self.executing, &self.queued) {
            (None, _) if self.asleep => {
                let wake_ps = self.scheduler.next_wake_ps()?;
                Some((wake_ps.max(self.ready_ps), Phase::Decision))
            }
            (None, _) if !self.scheduler.has_work() => None,
            (None, _) => Some((self.ready_ps, Phase::Decision)),
            (Some(executing), None) if self.ahead > 0 && !self.asleep && self.scheduler.has_work() => {
                Some((executing.last_start_ps.max(self.ready_ps), Phase::Decision))
            }
            (Some(executing), _) => Some((executing.end_ps, Phase::Results)),
        }
    }

    /// Processes the next event.
    pub fn process(&mut self, (time_ps, phase): (i64, Phase), results: &mut Results) {
        if time_ps > HORIZON_PS {
            self.stopped = Some(Stop::Horizon);
            return;
        }
        if phase == Phase::Results {
            self.take_results(results);
        } else {
            self.decide(time_ps, results);
        }
    }

    fn take_results(&mut self, results: &mut Results) {
        let Some(mut pass) = self.executing.take() else { return };
        self.scheduler.update(&mut pass, self.queued.as_deref_mut(), results);
        self.pass_time.add(pass.time(self.setting.step_time));
        self.busy_ps += pass.end_ps - pass.start_ps;
        self.ready_ps = pass.end_ps;
        self.asleep = false;
        self.spare.push(pass);
        self.executing = self.queued.take();
        if self.scheduler.is_stalled(self.stall_passes) {
            self.stopped = Some(Stop::Stalled);
        } else if self.scheduler.passes() >= self.setting.max_passes {
            self.stopped = Some(Stop::PassLimit);
        }
    }

    fn decide(&mut self, now_ps: i64, results: &mut Results) {
        let start_ps = match &mut self.executing {
            Some(executing) => {
                self.scheduler.settle(executing);
                executing.end_ps
            }
            None => now_ps,
        };
        if self.scheduler.passes() >= self.setting.max_passes {
            self.stopped = Some(Stop::PassLimit); // what is under way stays so, as in a recording cut short
            return;
        }
        self.asleep = false;
        let mut pass = self.spare.pop().unwrap_or_default();
        if self.scheduler.schedule(now_ps, start_ps, results, &mut pass) {
            self.asleep = false;
            if self.setting.layerwise {
                self.scheduler.note_last_passes(&pass, pass.start_ps, pass.end_ps, results);
            }
            if self.executing.is_none() { self.executing = Some(pass) } else { self.queued = Some(pass) }
        } else {
            self.spare.push(pass);
            self.asleep = true;
            if let Some(error) = self.scheduler.failure() {
                self.stopped = Some(Stop::Engine(error));
                return;
            }
            let is_stuck = self.executing.is_none() && self.scheduler.has_work();
            if is_stuck && self.setting.log_passes && self.scheduler.next_wake_ps().is_none() {
                self.scheduler.log_stuck(now_ps);
                self.stopped = Some(Stop::Stalled);
            }
        }
    }

    /// Something comes from outside now; all events before it have been processed. `act`
    /// tells the scheduler, and whether the next pass could now differ from those of a run in progress.
    pub fn outside(&mut self, now: Now, act: impl FnOnce(&mut AnyScheduler<'a>) -> bool) {
        let matters = act(&mut self.scheduler);
        if matters && let Some(last) = self.queued.as_mut().or(self.executing.as_mut()) {
            last.truncate(now.decided_ps(), self.ahead);
        }
        match &self.executing {
            None => {
                self.ready_ps = self.ready_ps.max(now.ps);
                self.asleep = false;
            }
            // Nothing was there to queue behind this pass when it started: the queue is looked at when it ends.
            Some(executing) if self.queued.is_none() && executing.last_start_ps < now.decided_ps() => {
                self.asleep = true
            }
            Some(_) => {}
        }
    }

    /// Passes of an unsettled run that are decided before `time_ps`.
    pub fn decided_before(&self, time_ps: i64) -> i64 {
        let run = self.queued.as_ref().or(self.executing.as_ref()).filter(|pass| !pass.is_settled());
        run.map_or(0, |pass| pass.decided_before(time_ps, self.ahead))
    }
}
