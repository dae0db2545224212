//! One replica: a rank, or several attention data ranks behind one front door.
//!
//! Routers see the replica; which of its ranks gets a request is the engine's own rule ([`balance`]).
//! Ranks [`in_step`] start and end each pass together, as mixtures of experts need. Others only share
//! the front door.

mod balance;
mod engine_loop;
mod forecast;
mod in_step;
mod pipeline;
mod run;
mod slowest;
mod stages;

use crate::clock::Now;
use crate::record::{Holdup, IdleTime, Series};
use crate::router::ReplicaView;
use crate::scheduler::{AnyScheduler, Ledger, Results, Scheduler, Setting};
use crate::worker::{Phase, Stop};
use balance::Balancer;
use engine_loop::EngineLoop;
use hashbrown::HashMap;
use in_step::InStep;
use rustc_hash::FxBuildHasher;

pub struct Replica<'a> {
    replica: u32,
    ranks: Ranks<'a>,
    balancer: Balancer,
    /// The rank of each request, if there are several ranks.
    rank_of: HashMap<u32, u32, FxBuildHasher>,
    /// The next point of the time series, and the distance from there on.
    sample_ps: i64,
    interval_ps: i64,
    series_limit: usize,
    series: Series,
}

/// Of one replica.
#[expect(clippy::large_enum_variant, reason = "most replicas have one rank, which is at hand as it is")]
enum Ranks<'a> {
    One(EngineLoop<'a>),
    Apart(Vec<EngineLoop<'a>>),
    InStep(Box<InStep<'a>>),
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub stall_passes: u64,
    pub interval_ps: i64,
    pub gap_limit: usize,
    /// Points of a time series; an even number. A longer one keeps every other point.
    pub series_limit: usize,
}

impl<'a> Replica<'a> {
    pub fn new(replica: u32, setting: Setting<'a>, limits: Limits) -> Self {
        let data = setting.data;
        let gap_limit = (limits.gap_limit / data.ranks as usize).max(1024);
        let alone = || EngineLoop::new(setting, limits.stall_passes, gap_limit);
        Replica {
            replica,
            ranks: match (data.ranks, data.in_step) {
                (1, _) => Ranks::One(alone()),
                (_, false) => Ranks::Apart((0..data.ranks).map(|_| alone()).collect()),
                (_, true) => Ranks::InStep(Box::new(InStep::new(setting, limits.stall_passes, gap_limit))),
            },
            balancer: Balancer::new(data.balance, data.ranks),
            rank_of: HashMap::default(),
            sample_ps: 0,
            interval_ps: limits.interval_ps,
            series_limit: limits.series_limit,
            series: Series::default(),
        }
    }

    /// The next event, as it stands: an arrival may bring it forward.
    pub fn next_event(&self) -> Option<(i64, Phase)> {
        match &self.ranks {
            Ranks::One(worker) => worker.next_event(),
            Ranks::Apart(workers) => workers.iter().filter_map(EngineLoop::next_event).min(),
            Ranks::InStep(ranks) => ranks.next_event(),
        }
    }

    /// Processes the next event.
    pub fn process(&mut self, next: (i64, Phase), results: &mut Results) {
        self.before(next.0);
        match &mut self.ranks {
            Ranks::One(worker) => worker.process(next, results),
            Ranks::Apart(workers) => {
                for worker in workers.iter_mut().filter(|worker| worker.next_event() == Some(next)) {
                    worker.process(next, results);
                }
            }
            Ranks::InStep(ranks) => ranks.process(next, results),
        }
    }

    /// A request joins the queue of a rank, which is returned. All events before its arrival have
    /// been processed.
    pub fn arrive(&mut self, request: u32, time_ps: i64) -> u32 {
        self.outside(request, Now::at(time_ps), |scheduler| scheduler.arrive(request, time_ps))
    }

    /// Something that concerns `request` comes from outside: `act` tells the scheduler of its rank,
    /// and whether the next pass could now be another. Returns the rank.
    pub fn outside(&mut self, request: u32, now: Now, act: impl FnOnce(&mut AnyScheduler<'a>) -> bool) -> u32 {
        self.before(now.ps);
        let rank = self.rank(request);
        match &mut self.ranks {
            Ranks::One(worker) => worker.outside(now, act),
            Ranks::Apart(workers) => workers[rank as usize].outside(now, act),
            Ranks::InStep(ranks) => {
                let matters = act(ranks.scheduler(rank, now.ps));
                ranks.look_again(rank, matters, now);
            }
        }
        rank
    }

    /// Chosen when it is first asked for.
    fn rank(&mut self, request: u32) -> u32 {
        match self.ranks {
            Ranks::One(_) => 0,
            _ => *self.rank_of.entry(request).or_insert_with(|| self.balancer.choose()),
        }
    }

    pub fn stopped(&self) -> Option<Stop> {
        match &self.ranks {
            Ranks::One(worker) => worker.stopped(),
            Ranks::Apart(workers) => workers.iter().filter_map(EngineLoop::stopped).max(),
            Ranks::InStep(ranks) => ranks.stopped(),
        }
    }

    /// How long passes were under way: on average over ranks that go their own way.
    pub fn busy_ps(&self) -> i64 {
        match &self.ranks {
            Ranks::One(worker) => worker.busy_ps(),
            Ranks::Apart(workers) => workers.iter().map(EngineLoop::busy_ps).sum::<i64>() / workers.len() as i64,
            Ranks::InStep(ranks) => ranks.busy_ps(),
        }
    }

    /// Of ranks in step, or of stages.
    pub fn idle_time(&self) -> IdleTime {
        match &self.ranks {
            Ranks::One(worker) => worker.idle_time(),
            Ranks::Apart(workers) => workers.iter().map(EngineLoop::idle_time).sum(),
            Ranks::InStep(ranks) => ranks.idle_time(),
        }
    }

    /// Calls `look` with the scheduler of each rank, and the passes of an unsettled run decided before `time_ps`.
    fn each(&self, time_ps: i64, mut look: impl FnMut(&AnyScheduler<'a>, i64)) {
        match &self.ranks {
            Ranks::One(worker) => look(worker.scheduler(), worker.decided_before(time_ps)),
            Ranks::Apart(workers) => {
                workers.iter().for_each(|worker| look(worker.scheduler(), worker.decided_before(time_ps)));
            }
            Ranks::InStep(ranks) => ranks.each(time_ps, look),
        }
    }

    /// The state now: all ranks together.
    pub fn view(&self, now: Now) -> ReplicaView {
        let mut view = ReplicaView::default();
        self.each(now.decided_ps(), |scheduler, decided| add(&mut view, scheduler, decided));
        view
    }

    /// The same, and what keeps requests waiting then.
    fn view_and_holdup(&self, time_ps: i64) -> (ReplicaView, Holdup) {
        let (mut view, mut found) = (ReplicaView::default(), Holdup::None);
        self.each(time_ps, |scheduler, decided| {
            add(&mut view, scheduler, decided);
            if found == Holdup::None && scheduler.waiting() > 0 {
                found = scheduler.holdup(decided);
            }
        });
        (view, found)
    }

    /// Whole blocks of the prompt of `request` that are cached now: on the rank that has most of it.
    pub fn cached_blocks(&self, request: u32, now: Now) -> u32 {
        let mut most = 0;
        self.each(now.decided_ps(), |scheduler, decided| most = most.max(scheduler.cached_blocks(request, decided)));
        most
    }

    /// See [`Scheduler::may_cache`].
    pub fn may_cache(&self, request: u32, segment: u32, found: bool) -> bool {
        let mut may = false;
        self.each(0, |scheduler, _| may |= scheduler.may_cache(request, segment, found));
        may
    }

    /// See [`Scheduler::unfinished`].
    pub fn unfinished(&self) -> Vec<u32> {
        let mut all = Vec::new();
        self.each(0, |scheduler, _| all.append(&mut scheduler.unfinished()));
        all
    }

    /// See [`Scheduler::check`].
    pub fn check(&self) {
        self.each(0, |scheduler, _| scheduler.check());
    }

    /// The records of its ranks, and the time series.
    pub fn into_records(self) -> (Vec<Ledger>, Series) {
        let ledgers = match self.ranks {
            Ranks::One(worker) => vec![worker.into_ledger()],
            Ranks::Apart(workers) => workers.into_iter().map(EngineLoop::into_ledger).collect(),
            Ranks::InStep(ranks) => ranks.into_ledgers(),
        };
        (ledgers, self.series)
    }

    /// What happens at `time_ps` is next.
    fn before(&mut self, time_ps: i64) {
        self.sample_until(time_ps);
        if self.balancer.publishes_before(time_ps) {
            let mut counts = Vec::new();
            self.each(0, |scheduler, _| counts.push((scheduler.waiting(), scheduler.running())));
            self.balancer.publish(counts, time_ps);
        }
    }

    /// Points of the time series before `time_ps`: the state after all events up to them.
    fn sample_until(&mut self, time_ps: i64) {
        while self.sample_ps < time_ps {
            let (view, holdup) = self.view_and_holdup(self.sample_ps + 1);
            self.series.time_ps.push(self.sample_ps);
            self.series.replica.push(self.replica);
            self.series.running.push(view.running);
            self.series.waiting.push(view.waiting);
            self.series.used_blocks.push(view.used_blocks);
            self.series.holdup.push(holdup as u8);
            self.sample_ps = self.sample_ps.saturating_add(self.interval_ps);
            if self.series.time_ps.len() >= self.series_limit {
                self.series.thin();
                self.interval_ps *= 2;
            }
        }
    }
}

/// A rank, of whose unsettled run `decided` passes count.
fn add(view: &mut ReplicaView, scheduler: &AnyScheduler, decided: i64) {
    let used = scheduler.used_blocks(decided);
    view.running += scheduler.running();
    view.waiting += scheduler.waiting();
    view.used_blocks += used;
    view.free_blocks += scheduler.usable_blocks() - used;
}
