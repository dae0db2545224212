//! The loop.
//!
//! Replicas whose requests are known beforehand (a static router, open loop) do not affect each
//! other and are run one after the other. Otherwise the earliest event of all goes first.

use crate::chain::Chains;
use crate::clock::Agenda;
use crate::config;
use crate::gaps::GapList;
use crate::log::PassRecord;
use crate::record::{Gaps, Reason, Requests, Series, Status};
use crate::router::{PolicyError, ReplicaView, Router};
use crate::scheduler::vllm::{Results, Setting};
use crate::trace::{NONE, Trace};
use crate::worker::{Limits, Phase, Stop, Worker};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Progressions kept for all replicas together before lists of gaps are folded.
const GAP_ENTRIES: usize = 1 << 20;

/// All that a run leaves behind.
#[derive(Debug)]
pub struct Outcome {
    pub requests: Requests,
    pub gaps: Vec<Gaps>,
    pub series: Series,
    pub passes: u64,
    pub leaps: u64,
    /// Replicas that stopped making progress.
    pub stalled: Vec<u32>,
    /// Passes of the first replica, if they were logged.
    pub log: Vec<PassRecord>,
}

/// Runs `trace` on the deployment that `run` describes. `progress` is told the share of requests
/// that have arrived, now and then, and may end the run by returning false: then the outcome is None.
///
/// # Errors
/// A user's router failed.
pub fn simulate(
    trace: &Trace,
    run: &config::Run,
    router: &mut Router,
    progress: &mut dyn FnMut(f64) -> bool,
) -> Result<Option<Outcome>, PolicyError> {
    let chains =
        if run.engine.enable_prefix_caching { Chains::new(trace, run.engine.block_size) } else { Chains::unshared() };
    let setting = Setting {
        trace,
        chains: &chains,
        engine: &run.engine,
        step_time: &run.step_time,
        leap: run.leap,
        max_passes: run.max_passes.unwrap_or(u64::MAX),
        log_passes: run.record.passes,
        log_blocks: run.record.block_ids,
    };
    let limits = Limits {
        stall_passes: run.stall_passes,
        interval_ps: run.series_interval_ps.max(1),
        gap_limit: (GAP_ENTRIES / run.replicas.max(1) as usize).max(1024),
    };
    let mut simulation = Simulation {
        run,
        trace,
        setting,
        limits,
        requests: Requests::new(trace.len()),
        ended: Vec::new(),
        gaps: Vec::new(),
        series: Series::default(),
        passes: 0,
        leaps: 0,
        stalled: Vec::new(),
        log: Vec::new(),
    };
    let open_loop = run.users.is_none() && trace.after.iter().all(|&after| after == NONE);
    let finished = if router.is_static() && open_loop {
        simulation.replica_by_replica(router, progress)
    } else {
        simulation.event_by_event(router, progress)?
    };
    Ok(finished.then(|| simulation.outcome()))
}

struct Simulation<'a> {
    run: &'a config::Run,
    trace: &'a Trace,
    setting: Setting<'a>,
    limits: Limits,
    requests: Requests,
    ended: Vec<u32>,
    gaps: Vec<Gaps>,
    series: Series,
    passes: u64,
    leaps: u64,
    stalled: Vec<u32>,
    log: Vec<PassRecord>,
}

impl<'a> Simulation<'a> {
    fn worker(&self, replica: u32) -> Worker<'a> {
        Worker::new(replica, self.setting, self.limits)
    }

    fn replica_by_replica(&mut self, router: &mut Router, progress: &mut dyn FnMut(f64) -> bool) -> bool {
        let replicas = self.run.replicas;
        let mut assigned: Vec<Vec<u32>> = vec![Vec::new(); replicas as usize];
        for request in 0..self.trace.len() as u32 {
            let arrival_ps = self.trace.arrival_ps[request as usize];
            self.requests.arrival_ps[request as usize] = arrival_ps;
            if let Some(reason) = self.refusal(request) {
                self.refuse(request, reason, arrival_ps);
                continue;
            }
            let Ok(replica) = router.route(request, arrival_ps, replicas, (arrival_ps, &[])) else {
                unreachable!("only a user's policy fails")
            };
            assigned[replica as usize].push(request);
        }
        let mut told = 0;
        for replica in 0..replicas {
            let mut worker = self.worker(replica);
            for &request in &assigned[replica as usize] {
                let arrival_ps = self.trace.arrival_ps[request as usize];
                self.requests.routed_ps[request as usize] = arrival_ps;
                self.requests.replica[request as usize] = replica;
                let mut results = Results { requests: &mut self.requests, ended: &mut self.ended };
                worker.advance(arrival_ps, Phase::Arrival, &mut results);
                worker.arrive(request, arrival_ps);
                told += 1;
                if told % 4096 == 0 && !progress(f64::from(told) / self.trace.len() as f64) {
                    return false;
                }
            }
            worker.advance(
                i64::MAX,
                Phase::Results,
                &mut Results { requests: &mut self.requests, ended: &mut self.ended },
            );
            self.ended.clear();
            assigned[replica as usize] = Vec::new();
            self.collect(replica, worker);
        }
        true
    }

    fn event_by_event(
        &mut self,
        router: &mut Router,
        progress: &mut dyn FnMut(f64) -> bool,
    ) -> Result<bool, PolicyError> {
        let replicas = self.run.replicas;
        let mut workers: Vec<Worker> = (0..replicas).map(|replica| self.worker(replica)).collect();
        let mut agenda = Agenda::new(replicas);
        let mut arrivals = Arrivals::new(self.trace, self.run.users);
        let mut telemetry = Telemetry::new(router, &workers);
        let mut told = 0;
        loop {
            let arrival = arrivals.next_ps().map(|time_ps| (time_ps, Phase::Arrival));
            let event = agenda.first();
            let goes_on = arrivals.left > 0 && (arrival.is_some() || event.is_some());
            let tick = if goes_on { telemetry.next_tick() } else { None };
            let before_event = |time: Option<(i64, Phase)>| match (time, event) {
                (Some(time), Some((event, _))) => time < event,
                (Some(_), None) => true,
                _ => false,
            };
            if before_event(tick) && arrival.is_none_or(|arrival| tick <= Some(arrival)) {
                telemetry.observe(&workers);
            } else if before_event(arrival) {
                let (now_ps, request) = arrivals.pop();
                self.requests.arrival_ps[request as usize] = now_ps;
                if let Some(reason) = self.refusal(request) {
                    self.refuse(request, reason, now_ps);
                    arrivals.ended(request, now_ps, false, &mut |lost| self.lose(lost));
                    continue;
                }
                let views = telemetry.views(now_ps, &workers);
                let replica = router.route(request, now_ps, replicas, views)?;
                self.requests.routed_ps[request as usize] = now_ps;
                self.requests.replica[request as usize] = replica;
                workers[replica as usize].arrive(request, now_ps);
                agenda.set(replica, workers[replica as usize].next_event());
                told += 1;
                if told % 4096 == 0 && !progress(f64::from(told) / self.trace.len() as f64) {
                    return Ok(false);
                }
            } else if let Some((next, replica)) = event {
                let worker = &mut workers[replica as usize];
                worker.process(next, &mut Results { requests: &mut self.requests, ended: &mut self.ended });
                agenda.set(replica, worker.next_event());
                let mut ended = std::mem::take(&mut self.ended);
                for &request in &ended {
                    router.ended(replica);
                    arrivals.ended(request, next.0, true, &mut |lost| self.lose(lost));
                }
                ended.clear();
                self.ended = ended;
            } else {
                break;
            }
        }
        for (replica, worker) in workers.into_iter().enumerate() {
            self.collect(replica as u32, worker);
        }
        Ok(true)
    }

    fn refusal(&self, request: u32) -> Option<Reason> {
        self.run.check_admission.then(|| self.setting.refusal(request)).flatten()
    }

    fn refuse(&mut self, request: u32, reason: Reason, now_ps: i64) {
        self.requests.status[request as usize] = Status::Rejected as u8;
        self.requests.reason[request as usize] = reason as u8;
        self.requests.end_ps[request as usize] = now_ps;
    }

    /// A later turn of a session whose earlier one did not complete.
    fn lose(&mut self, request: u32) {
        self.requests.reason[request as usize] = Reason::Predecessor as u8;
    }

    fn collect(&mut self, replica: u32, worker: Worker) {
        let unfinished = worker.scheduler().unfinished();
        let stopped = worker.stopped();
        if !unfinished.is_empty() && stopped != Some(Stop::PassLimit) {
            self.stalled.push(replica);
        }
        for &request in &unfinished {
            self.requests.reason[request as usize] = Reason::Stalled as u8;
        }
        let (scheduler, series) = worker.into_parts();
        self.passes += scheduler.passes;
        self.leaps += scheduler.leaps;
        let gaps: GapList = scheduler.gaps;
        self.gaps.extend(gaps.finish());
        self.series.time_ps.extend(series.time_ps);
        self.series.replica.extend(series.replica);
        self.series.running.extend(series.running);
        self.series.waiting.extend(series.waiting);
        self.series.used_blocks.extend(series.used_blocks);
        if replica == 0 {
            self.log = scheduler.log;
        }
    }

    fn outcome(self) -> Outcome {
        Outcome {
            requests: self.requests,
            gaps: self.gaps,
            series: self.series,
            passes: self.passes,
            leaps: self.leaps,
            stalled: self.stalled,
            log: self.log,
        }
    }
}

/// Requests on their way in: by their own time, after another one, or as users come free.
struct Arrivals<'a> {
    trace: &'a Trace,
    /// Rows of the trace not looked at yet: in time order in open loop, a backlog in closed loop.
    next_row: u32,
    closed_loop: bool,
    free_users: u32,
    /// Requests that are still to come, or may be.
    left: usize,
    /// Requests whose predecessor has ended, or whose user came free.
    ready: BinaryHeap<Reverse<(i64, u32)>>,
    successor: Vec<u32>,
}

impl<'a> Arrivals<'a> {
    fn new(trace: &'a Trace, users: Option<u32>) -> Self {
        let mut successor = Vec::new();
        if trace.after.iter().any(|&after| after != NONE) {
            successor = vec![NONE; trace.len()];
            for (request, &after) in trace.after.iter().enumerate() {
                if after != NONE {
                    successor[after as usize] = request as u32;
                }
            }
        }
        let mut arrivals = Arrivals {
            trace,
            next_row: 0,
            closed_loop: users.is_some(),
            free_users: users.unwrap_or(0),
            left: trace.len(),
            ready: BinaryHeap::new(),
            successor,
        };
        arrivals.skip_followers();
        while arrivals.free_users > 0 && arrivals.start_next_session(0) {
            arrivals.free_users -= 1;
        }
        arrivals
    }

    fn skip_followers(&mut self) {
        while (self.next_row as usize) < self.trace.len() && self.trace.after[self.next_row as usize] != NONE {
            self.next_row += 1;
        }
    }

    /// Closed loop: a user sends the next request, or first turn, of the trace.
    fn start_next_session(&mut self, now_ps: i64) -> bool {
        if self.next_row as usize >= self.trace.len() {
            return false;
        }
        self.ready.push(Reverse((now_ps, self.next_row)));
        self.next_row += 1;
        self.skip_followers();
        true
    }

    fn by_own_time(&self) -> Option<(i64, u32)> {
        let row = self.next_row;
        (!self.closed_loop && (row as usize) < self.trace.len()).then(|| (self.trace.arrival_ps[row as usize], row))
    }

    fn next_ps(&self) -> Option<i64> {
        let ready = self.ready.peek().map(|&Reverse(ready)| ready);
        ready.into_iter().chain(self.by_own_time()).min().map(|(time_ps, _)| time_ps)
    }

    fn pop(&mut self) -> (i64, u32) {
        self.left -= 1;
        let ready = self.ready.peek().map(|&Reverse(ready)| ready);
        match (ready, self.by_own_time()) {
            (Some(ready), Some(own)) if ready < own => self.ready.pop().map_or(own, |Reverse(ready)| ready),
            (_, Some(own)) => {
                self.next_row += 1;
                self.skip_followers();
                own
            }
            (Some(ready), None) => {
                self.ready.pop();
                ready
            }
            (None, None) => unreachable!("asked for an arrival without one"),
        }
    }

    /// `request` has ended. Its next turn follows, or its user turns to the next session. Turns
    /// after a request that did not complete never come: they are `lost`.
    fn ended(&mut self, request: u32, now_ps: i64, completed: bool, lost: &mut dyn FnMut(u32)) {
        let mut next = self.successor.get(request as usize).copied().unwrap_or(NONE);
        if completed && next != NONE {
            self.ready.push(Reverse((now_ps + self.trace.arrival_ps[next as usize], next)));
            return;
        }
        while next != NONE {
            lost(next);
            self.left -= 1;
            next = self.successor[next as usize];
        }
        if self.closed_loop {
            self.start_next_session(now_ps);
        }
    }
}

/// What a user's router is shown, as old as its telemetry is.
struct Telemetry {
    wanted: bool,
    interval_ps: i64,
    delay_ps: i64,
    next_tick_ps: i64,
    /// Observations on their way: time of the tick, views.
    on_way: std::collections::VecDeque<(i64, Vec<ReplicaView>)>,
    shown_ps: i64,
    shown: Vec<ReplicaView>,
}

impl Telemetry {
    fn new(router: &Router, workers: &[Worker]) -> Self {
        let (wanted, interval_ps, delay_ps) = match router {
            Router::Policy { interval_ps, delay_ps, .. } => (true, *interval_ps, *delay_ps),
            _ => (false, 0, 0),
        };
        Telemetry {
            wanted,
            interval_ps,
            delay_ps,
            next_tick_ps: 0,
            on_way: Default::default(),
            shown_ps: 0,
            shown: workers.iter().map(|worker| worker.view(0)).collect(),
        }
    }

    /// The next tick. It reads what holds once all that happens at its time but arrivals and
    /// decisions has happened.
    fn next_tick(&self) -> Option<(i64, Phase)> {
        (self.interval_ps > 0).then_some((self.next_tick_ps, Phase::Arrival))
    }

    fn observe(&mut self, workers: &[Worker]) {
        let tick_ps = self.next_tick_ps;
        self.deliver(tick_ps);
        self.on_way.push_back((tick_ps, workers.iter().map(|worker| worker.view(tick_ps)).collect()));
        self.next_tick_ps += self.interval_ps;
    }

    /// Shows the last observation that has arrived by `now_ps`.
    fn deliver(&mut self, now_ps: i64) {
        while let Some((tick_ps, _)) = self.on_way.front()
            && tick_ps + self.delay_ps <= now_ps
            && let Some((tick_ps, views)) = self.on_way.pop_front()
        {
            (self.shown_ps, self.shown) = (tick_ps, views);
        }
    }

    fn views(&mut self, now_ps: i64, workers: &[Worker]) -> (i64, &[ReplicaView]) {
        if self.wanted && self.interval_ps == 0 {
            for (view, worker) in self.shown.iter_mut().zip(workers) {
                *view = worker.view(now_ps);
            }
            self.shown_ps = now_ps;
        }
        self.deliver(now_ps);
        (self.shown_ps, &self.shown)
    }
}
