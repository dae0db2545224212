//! One replica in time: when its scheduler decides, and when results come in.
//!
//! Without async scheduling a pass is decided when the one before it has ended. With it, when the
//! one before it *starts*: one pass executes, one is queued behind it.
//!
//! At equal times results come before arrivals, and arrivals before decisions.

use crate::record::Series;
use crate::router::ReplicaView;
use crate::scheduler::{AnyScheduler, Ledger, Pass, Results, Scheduler, Setting};
use crate::workload::HORIZON_PS;

/// What happens next to a worker, in the order of equal times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Results,
    /// Not an event of a worker, but it has its place in the order.
    Arrival,
    Decision,
}

pub struct Worker<'a> {
    replica: u32,
    scheduler: AnyScheduler<'a>,
    executing: Option<Box<Pass>>,
    queued: Option<Box<Pass>>,
    /// Passes that are over, kept for their buffers. Boxed: passes move on at every event.
    #[expect(clippy::vec_box)]
    spare: Vec<Box<Pass>>,
    setting: Setting<'a>,
    /// Passes decided before the one before them has ended.
    ahead: i64,
    limits: Limits,
    /// When the next decision is due if nothing executes.
    ready_ps: i64,
    /// The last decision found nothing to do; only results, an arrival or its own alarm can change that.
    asleep: bool,
    stopped: Option<Stop>,
    /// The next point of the time series, and the distance from there on.
    sample_ps: i64,
    interval_ps: i64,
    pub series: Series,
}

/// Why a worker went on no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Stalled,
    PassLimit,
    /// The engine itself would fail here, with this error.
    Engine(&'static str),
    /// Its time goes beyond [`HORIZON_PS`].
    Horizon,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub stall_passes: u64,
    pub interval_ps: i64,
    pub gap_limit: usize,
    /// Points of a time series; an even number. A longer one keeps every other point.
    pub series_limit: usize,
}

impl<'a> Worker<'a> {
    pub fn new(replica: u32, setting: Setting<'a>, limits: Limits) -> Self {
        Worker {
            replica,
            setting,
            limits,
            scheduler: setting.scheduler(limits.gap_limit),
            ahead: setting.ahead(),
            executing: None,
            queued: None,
            spare: Vec::new(),
            ready_ps: 0,
            asleep: true,
            stopped: None,
            sample_ps: 0,
            interval_ps: limits.interval_ps,
            series: Series::default(),
        }
    }

    pub fn scheduler(&self) -> &AnyScheduler<'a> {
        &self.scheduler
    }

    pub fn stopped(&self) -> Option<Stop> {
        self.stopped
    }

    /// The scheduler's records, and the time series.
    pub fn into_records(self) -> (Ledger, Series) {
        (self.scheduler.into_ledger(), self.series)
    }

    /// The next event, as it stands: an arrival may bring it forward.
    pub fn next_event(&self) -> Option<(i64, Phase)> {
        if self.stopped.is_some() {
            return None;
        }
        match (&self.executing, &self.queued) {
            (None, _) if !self.scheduler.has_work() => None,
            (None, _) if self.asleep => {
                self.scheduler.next_wake_ps().map(|time_ps| (time_ps.max(self.ready_ps), Phase::Decision))
            }
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
        self.sample_until(time_ps);
        if phase == Phase::Results {
            self.take_results(results);
        } else {
            self.decide(time_ps, results);
        }
    }

    fn take_results(&mut self, results: &mut Results) {
        let Some(mut pass) = self.executing.take() else { return };
        self.scheduler.update(&mut pass, self.queued.as_deref_mut(), results);
        self.ready_ps = pass.end_ps;
        self.asleep = false;
        self.spare.push(pass);
        self.executing = self.queued.take();
        if self.scheduler.is_stalled(self.limits.stall_passes) {
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
            if self.executing.is_none() { self.executing = Some(pass) } else { self.queued = Some(pass) }
        } else {
            self.spare.push(pass);
            self.asleep = true;
            if let Some(error) = self.scheduler.failure() {
                self.stopped = Some(Stop::Engine(error));
                return;
            }
            if self.executing.is_none() && self.setting.log_passes && self.scheduler.next_wake_ps().is_none() {
                self.scheduler.log_stuck(now_ps);
                self.stopped = Some(Stop::Stalled);
            }
        }
    }

    /// A request joins the queue. All events before its arrival have been processed.
    pub fn arrive(&mut self, request: u32, time_ps: i64) {
        self.sample_until(time_ps);
        let matters = self.scheduler.arrive(request, time_ps);
        if matters && let Some(last) = self.queued.as_mut().or(self.executing.as_mut()) {
            last.truncate(time_ps, self.ahead);
        }
        match &self.executing {
            None => {
                self.ready_ps = self.ready_ps.max(time_ps);
                self.asleep = false;
            }
            // Nothing was there to queue behind this pass when it started: the queue is looked at when it ends.
            Some(executing) if self.queued.is_none() && executing.last_start_ps < time_ps => self.asleep = true,
            Some(_) => {}
        }
    }

    /// The state at `time_ps`, before decisions of that time.
    pub fn view(&self, time_ps: i64) -> ReplicaView {
        let used = self.used_blocks(time_ps);
        ReplicaView {
            running: self.scheduler.running(),
            waiting: self.scheduler.waiting(),
            used_blocks: used,
            free_blocks: self.scheduler.usable_blocks() - used,
        }
    }

    fn used_blocks(&self, time_ps: i64) -> u32 {
        self.scheduler.used_blocks(self.decided_before(time_ps))
    }

    /// Whole blocks of the prompt of `request` that are cached at `time_ps`, before decisions of that time.
    pub fn cached_blocks(&self, request: u32, time_ps: i64) -> u32 {
        self.scheduler.cached_blocks(request, self.decided_before(time_ps))
    }

    /// Passes of an unsettled run that are decided before `time_ps`.
    fn decided_before(&self, time_ps: i64) -> i64 {
        let run = self.queued.as_ref().or(self.executing.as_ref()).filter(|pass| !pass.is_settled());
        run.map_or(0, |pass| pass.decided_before(time_ps, self.ahead))
    }

    /// Points of the time series before `time_ps`: the state after all events up to them.
    fn sample_until(&mut self, time_ps: i64) {
        while self.sample_ps < time_ps {
            let view = self.view(self.sample_ps + 1);
            self.series.time_ps.push(self.sample_ps);
            self.series.replica.push(self.replica);
            self.series.running.push(view.running);
            self.series.waiting.push(view.waiting);
            self.series.used_blocks.push(view.used_blocks);
            self.sample_ps += self.interval_ps;
            if self.series.time_ps.len() >= self.limits.series_limit {
                self.series.thin();
                self.interval_ps *= 2;
            }
        }
    }
}
