//! The loop.
//!
//! Replicas whose requests are known beforehand (a static router, open loop) do not affect each
//! other and are run one after the other. Otherwise the earliest event of all goes first.

use crate::arrivals::Arrivals;
use crate::clock::Agenda;
use crate::config;
use crate::log::Log;
use crate::record::{Gaps, NEVER, Reason, Requests, Series, Status};
use crate::router::{self, Fleet, Pick, Policy, PolicyError, Router};
use crate::scheduler::{self, Results, Scheduler, Setting};
use crate::telemetry::Telemetry;
use crate::trace::{NONE, Trace};
use crate::worker::{Limits, Phase, Stop, Worker};
use crate::workload::HORIZON_PS;

/// Progressions kept for all replicas together before lists of gaps are folded.
const GAP_ENTRIES: usize = 1 << 20;
/// Points of the time series of all replicas together before they are thinned.
const SERIES_POINTS: usize = 1 << 22;
/// Events between two questions whether to go on.
const EVENTS_A_QUESTION: u32 = 4096;

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
    pub log: Log,
    /// What the codes in `requests.route_reason` mean, if the router is not the user's.
    pub route_reasons: &'static [&'static str],
}

/// Why a run has no outcome.
#[derive(Debug)]
pub enum Failure {
    /// A user's router failed.
    Policy(PolicyError),
    /// The engine of this replica would fail, with this error.
    Engine(u32, &'static str),
    /// The simulated time goes beyond [`HORIZON_PS`].
    Horizon,
    /// `progress` wanted no more.
    Interrupted,
}

/// Runs `trace` on the deployment that `run` describes, with `policy` as its router if it is one of
/// the user's. `progress` is asked after every few thousand events whether to go on, and told the
/// share of requests looked at so far.
///
/// # Errors
/// See [`Failure`].
pub fn simulate(
    trace: &Trace,
    run: &config::Run,
    policy: Option<&mut (dyn Policy + Send)>,
    progress: &mut dyn FnMut(f64) -> bool,
) -> Result<Outcome, Failure> {
    let chains = scheduler::chains(trace, &run.engine);
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
        interval_ps: run.series_interval_ps,
        gap_limit: (GAP_ENTRIES / run.replicas as usize).max(1024),
        series_limit: (SERIES_POINTS / run.replicas as usize).max(1024) & !1,
    };
    let mut requests = Requests::new(trace.len());
    if scheduler::has_host_tier(&run.engine) {
        requests.loaded.host = vec![0; trace.len()];
    }
    let mut simulation = Simulation {
        run,
        trace,
        setting,
        limits,
        requests,
        first_tokens: Vec::new(),
        ended: Vec::new(),
        gaps: Vec::new(),
        series: Series::default(),
        passes: 0,
        leaps: 0,
        stalled: Vec::new(),
        log: Log::Vllm(Vec::new()),
    };
    let open_loop = run.users.is_none() && trace.after.iter().all(|&after| after == NONE);
    let mut questions = Questions { progress, events: 0, looked_at: 0, requests: trace.len() };
    let blocks = router::reads_contents(&run.router).then(|| scheduler::blocks(trace, &run.engine)).flatten();
    let mut router = router::build(run, trace, blocks.as_ref().unwrap_or(&chains), policy);
    if router.is_static() && open_loop {
        simulation.replica_by_replica(&mut router, &mut questions)?;
    } else {
        simulation.event_by_event(&mut router, &mut questions)?;
    }
    Ok(simulation.outcome(router.reasons()))
}

/// Whether to go on: asked now and then, so that any run can be interrupted.
struct Questions<'p> {
    progress: &'p mut dyn FnMut(f64) -> bool,
    events: u32,
    looked_at: usize,
    requests: usize,
}

impl Questions<'_> {
    fn after_event(&mut self) -> Result<(), Failure> {
        self.events = (self.events + 1) % EVENTS_A_QUESTION;
        if self.events == 0 && !(self.progress)(self.looked_at as f64 / self.requests as f64) {
            return Err(Failure::Interrupted);
        }
        Ok(())
    }
}

struct Simulation<'a> {
    run: &'a config::Run,
    trace: &'a Trace,
    setting: Setting<'a>,
    limits: Limits,
    requests: Requests,
    first_tokens: Vec<u32>,
    ended: Vec<u32>,
    gaps: Vec<Gaps>,
    series: Series,
    passes: u64,
    leaps: u64,
    stalled: Vec<u32>,
    log: Log,
}

impl<'a> Simulation<'a> {
    fn worker(&self, replica: u32) -> Worker<'a> {
        Worker::new(replica, self.setting, self.limits)
    }

    fn replica_by_replica(&mut self, router: &mut Router, questions: &mut Questions) -> Result<(), Failure> {
        let replicas = self.run.replicas;
        let mut assigned: Vec<Vec<u32>> = vec![Vec::new(); replicas as usize];
        for request in 0..self.trace.len() as u32 {
            let arrival_ps = self.trace.arrival_ps[request as usize];
            self.requests.arrival_ps[request as usize] = arrival_ps;
            if let Some(reason) = self.refusal(request) {
                self.refuse(request, reason, arrival_ps);
                continue;
            }
            let fleet = Fleet { workers: &[], views: &[], seen_ps: arrival_ps };
            let Ok(Some(pick)) = router.route(request, arrival_ps, &fleet) else {
                unreachable!("a static router neither fails nor waits")
            };
            self.note(request, arrival_ps, pick);
            assigned[pick.replica as usize].push(request);
        }
        for replica in 0..replicas {
            let mut worker = self.worker(replica);
            for request in std::mem::take(&mut assigned[replica as usize]) {
                let arrival_ps = self.trace.arrival_ps[request as usize];
                self.advance(&mut worker, (arrival_ps, Phase::Arrival), questions)?;
                worker.arrive(request, arrival_ps);
                questions.looked_at += 1;
            }
            self.advance(&mut worker, (i64::MAX, Phase::Decision), questions)?;
            self.collect(replica, worker)?;
        }
        Ok(())
    }

    /// Processes the events of `worker` before `until`.
    fn advance(&mut self, worker: &mut Worker, until: (i64, Phase), questions: &mut Questions) -> Result<(), Failure> {
        while let Some(next) = worker.next_event()
            && next < until
        {
            self.process(worker, next);
            self.first_tokens.clear();
            self.ended.clear();
            questions.after_event()?;
        }
        Ok(())
    }

    /// The next event of `worker`. What it brought is in `first_tokens` and `ended`.
    fn process(&mut self, worker: &mut Worker, next: (i64, Phase)) {
        let Self { requests, first_tokens, ended, .. } = self;
        worker.process(next, &mut Results { requests, first_tokens, ended });
    }

    fn note(&mut self, request: u32, now_ps: i64, pick: Pick) {
        let row = request as usize;
        self.requests.routed_ps[row] = now_ps;
        self.requests.replica[row] = pick.replica;
        self.requests.route_reason[row] = pick.reason;
        self.requests.route_overlap_tokens[row] = pick.overlap_tokens;
    }

    fn event_by_event(&mut self, router: &mut Router, questions: &mut Questions) -> Result<(), Failure> {
        let replicas = self.run.replicas;
        let mut workers: Vec<Worker> = (0..replicas).map(|replica| self.worker(replica)).collect();
        let mut agenda = Agenda::new(replicas);
        let mut arrivals = Arrivals::new(self.trace, self.run.users);
        let mut telemetry = Telemetry::new(router, &workers);
        // When a request that the router keeps back can be sent: at the time of the results that made room.
        let mut release: Option<(i64, Phase)> = None;
        loop {
            questions.after_event()?;
            let arrival = arrivals.next_ps().map(|time_ps| (time_ps, Phase::Arrival));
            let event = agenda.first();
            let goes_on = arrivals.left > 0 && (arrival.is_some() || event.is_some());
            let next = arrival.into_iter().chain(event.map(|(event, _)| event)).min();
            let tick = next.filter(|_| goes_on).and_then(|(next_ps, _)| telemetry.next_tick(next_ps));
            let before_event = |time: Option<(i64, Phase)>| match (time, event) {
                (Some(time), Some((event, _))) => time < event,
                (Some(_), None) => true,
                _ => false,
            };
            let before_arrival = |time: Option<(i64, Phase)>| arrival.is_none_or(|arrival| time <= Some(arrival));
            if before_event(tick) && before_arrival(tick) {
                telemetry.observe(&workers);
            } else if let Some((now_ps, _)) = release
                && before_event(release)
                && before_arrival(release)
            {
                let sent = router.release(now_ps, &telemetry.fleet(now_ps, &workers));
                release = release.filter(|_| sent.is_some());
                if let Some((request, pick)) = sent {
                    self.send(request, now_ps, pick, &mut workers, &mut agenda);
                }
            } else if before_event(arrival) {
                let (now_ps, request) = arrivals.pop();
                if now_ps > HORIZON_PS {
                    return Err(Failure::Horizon);
                }
                questions.looked_at += 1;
                self.requests.arrival_ps[request as usize] = now_ps;
                if let Some(reason) = self.refusal(request) {
                    self.refuse(request, reason, now_ps);
                    arrivals.ended(request, now_ps, false);
                    continue;
                }
                let fleet = telemetry.fleet(now_ps, &workers);
                if let Some(pick) = router.route(request, now_ps, &fleet).map_err(Failure::Policy)? {
                    self.send(request, now_ps, pick, &mut workers, &mut agenda);
                }
            } else if let Some((next, replica)) = event {
                let worker = &mut workers[replica as usize];
                self.process(worker, next);
                agenda.set(replica, worker.next_event());
                if self.tell(router, replica, next.0, &mut arrivals)? && router.keeps_back() {
                    release = Some((next.0, Phase::Arrival));
                }
            } else {
                break;
            }
        }
        for (replica, worker) in workers.into_iter().enumerate() {
            self.collect(replica as u32, worker)?;
        }
        for row in 0..self.trace.len() {
            if self.requests.routed_ps[row] == NEVER && self.requests.status[row] == Status::Unfinished as u8 {
                let reason = match self.trace.after[row] {
                    _ if self.requests.arrival_ps[row] != NEVER => Reason::Held,
                    NONE => Reason::NeverSent,
                    _ => Reason::Predecessor,
                };
                self.requests.reason[row] = reason as u8;
            }
        }
        Ok(())
    }

    fn send(&mut self, request: u32, now_ps: i64, pick: Pick, workers: &mut [Worker], agenda: &mut Agenda) {
        self.note(request, now_ps, pick);
        let worker = &mut workers[pick.replica as usize];
        worker.arrive(request, now_ps);
        agenda.set(pick.replica, worker.next_event());
    }

    /// Tells router and clients what an event of `replica` brought. Returns whether it brought anything.
    fn tell(
        &mut self,
        router: &mut Router,
        replica: u32,
        now_ps: i64,
        arrivals: &mut Arrivals,
    ) -> Result<bool, Failure> {
        let news = !self.first_tokens.is_empty() || !self.ended.is_empty();
        for request in self.first_tokens.drain(..) {
            router.first_token(request, replica, now_ps).map_err(Failure::Policy)?;
        }
        for request in self.ended.drain(..) {
            router.ended(request, replica, now_ps).map_err(Failure::Policy)?;
            arrivals.ended(request, now_ps, true);
        }
        Ok(news)
    }

    fn refusal(&self, request: u32) -> Option<Reason> {
        self.run.check_admission.then(|| self.setting.refusal(request)).flatten()
    }

    fn refuse(&mut self, request: u32, reason: Reason, now_ps: i64) {
        self.requests.status[request as usize] = Status::Rejected as u8;
        self.requests.reason[request as usize] = reason as u8;
        self.requests.end_ps[request as usize] = now_ps;
    }

    fn collect(&mut self, replica: u32, worker: Worker) -> Result<(), Failure> {
        let unfinished = worker.scheduler().unfinished();
        match worker.stopped() {
            Some(Stop::Horizon) => return Err(Failure::Horizon),
            Some(Stop::Engine(error)) => return Err(Failure::Engine(replica, error)),
            Some(Stop::PassLimit) => {}
            Some(Stop::Stalled) | None if unfinished.is_empty() => {}
            Some(Stop::Stalled) | None => {
                self.stalled.push(replica);
                for &request in &unfinished {
                    self.requests.reason[request as usize] = Reason::Stalled as u8;
                }
            }
        }
        let (ledger, series) = worker.into_records();
        self.passes += ledger.passes;
        self.leaps += ledger.leaps;
        self.gaps.extend(ledger.gaps.finish());
        self.series.append(series);
        if replica == 0 {
            self.log = ledger.log;
        }
        Ok(())
    }

    fn outcome(self, route_reasons: &'static [&'static str]) -> Outcome {
        Outcome {
            requests: self.requests,
            gaps: self.gaps,
            series: self.series,
            passes: self.passes,
            leaps: self.leaps,
            stalled: self.stalled,
            log: self.log,
            route_reasons,
        }
    }
}
