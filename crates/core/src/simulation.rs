//! A run.
//!
//! Replicas whose requests are known beforehand (a static router, open loop) do not affect each
//! other and are run one after the other. Otherwise the earliest event of all goes first:
//! [`events`] is that loop, [`handover`] what happens between prefill and decode replicas.

mod events;
mod handover;
mod layerwise;
mod pool;

use crate::chain::Chains;
use crate::clock::Now;
use crate::config;
use crate::error::InputError;
use crate::log::Log;
use crate::metrics::PoolUse;
use crate::record::{Gaps, Handovers, IdleTime, Reason, Requests, Series, Speculated, Status};
use crate::replica::{Limits, Replica};
use crate::router::{self, Fleet, Pick, Policy, PolicyError};
use crate::scheduler::{self, LastPass, Prefilled, Results, Setting, Store, Wanted};
use crate::trace::Trace;
use crate::worker::{Phase, Stop};
use pool::Pool;
use std::rc::Rc;

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
    pub speculated: Speculated,
    /// Of each pool, the time of all passes in picoseconds, and of those beyond what was measured.
    pub pass_times: Vec<(i128, i128)>,
    /// Replicas that stopped making progress.
    pub stalled: Vec<u32>,
    pub pools: Vec<PoolUse>,
    /// Passes of the first replica, if they were logged.
    pub log: Log,
    /// What the codes in `requests.route_reason` mean, if the first pool's router is not the user's.
    pub route_reasons: &'static [&'static str],
}

/// Why a run has no outcome.
#[derive(Debug)]
pub enum Failure {
    /// What only the trace and the description together show to be impossible.
    Input(InputError),
    /// A user's router failed.
    Policy(PolicyError),
    /// The engine of this replica would fail, with this error.
    Engine(u32, &'static str),
    /// The simulated time goes beyond [`HORIZON_PS`].
    Horizon,
    /// `progress` wanted no more.
    Interrupted,
}

/// Runs `trace` on the deployment that `run` describes. `policies` are the routers of its pools that
/// are the user's. `progress` is asked after every few thousand events whether to go on, and told
/// the share of requests looked at so far.
///
/// # Errors
/// See [`Failure`].
pub fn simulate(
    trace: &Trace,
    run: &config::Run,
    policies: Vec<Option<&mut (dyn Policy + Send)>>,
    progress: &mut dyn FnMut(f64) -> bool,
) -> Result<Outcome, Failure> {
    let open_loop = run.users.is_none() && !trace.has_waits();
    let mut contents: Vec<Rc<Contents>> = Vec::with_capacity(run.pools.len());
    for pool in &run.pools {
        let same = |other: &&config::Pool| scheduler::caches_alike(&pool.engine, &other.engine);
        let found = run.pools[..contents.len()].iter().position(|other| same(&other));
        contents.push(found.map_or_else(|| Rc::new(Contents::new(trace, pool)), |at| contents[at].clone()));
        if let config::Engine::Vllm(engine) = &pool.engine {
            let segments = contents[contents.len() - 1].chains.segments_with(trace.len() as u32);
            engine.check_segments(segments).map_err(Failure::Input)?;
        }
    }
    let mut policies = policies.into_iter();
    let mut pools = Vec::with_capacity(run.pools.len());
    let mut first = 0;
    for (config, contents) in run.pools.iter().zip(&contents) {
        let setting = Setting {
            trace,
            chains: &contents.chains,
            engine: &config.engine,
            step_time: &config.step_time,
            role: config.role,
            data: config.data,
            pipeline: config.pipeline.as_ref(),
            store: contents.store.as_ref(),
            leap: run.leap,
            max_passes: run.max_passes.unwrap_or(u64::MAX),
            log_passes: run.record.passes,
            log_blocks: run.record.block_ids,
            layerwise: config.role == config::Role::Prefill
                && run.handover.as_ref().is_some_and(|handover| handover.order == config::Order::Layerwise),
        };
        let blocks = contents.blocks.as_ref().unwrap_or(&contents.chains);
        let router = router::build(config, run.seed, trace, blocks, policies.next().flatten());
        pools.push(Pool::new(first..first + config.replicas, setting, router));
        first += config.replicas;
    }
    let mut requests = Requests::new(trace.len());
    if run.handover.is_some() {
        requests.handovers = Handovers::new(trace.len());
    }
    for pool in &run.pools {
        scheduler::open_loaded(&pool.engine, &mut requests.loaded, trace.len());
    }
    if run.pools.iter().any(|pool| pool.data.ranks > 1) {
        requests.rank = vec![u32::MAX; trace.len()];
    }
    let mut simulation = Simulation {
        run,
        trace,
        limits: Limits {
            stall_passes: run.stall_passes,
            interval_ps: run.series_interval_ps,
            gap_limit: (GAP_ENTRIES / first as usize).max(1024),
            series_limit: (SERIES_POINTS / first as usize).max(1024) & !1,
        },
        requests,
        first_tokens: Vec::new(),
        ended: Vec::new(),
        wanted: Vec::new(),
        prefilled: Vec::new(),
        last_passes: Vec::new(),
        gaps: Vec::new(),
        series: Series::default(),
        passes: 0,
        leaps: 0,
        speculated: Speculated::default(),
        pass_times: vec![(0, 0); run.pools.len()],
        stalled: Vec::new(),
        busy_ps: Vec::new(),
        idle_times: vec![IdleTime::default(); run.pools.len()],
        log: Log::Vllm(Vec::new()),
    };
    let mut questions = Questions { progress, events: 0, looked_at: 0, requests: trace.len() };
    match &mut pools[..] {
        [pool] if pool.router.is_static() && open_loop && pool.setting.store.is_none() => {
            simulation.replica_by_replica(pool, &mut questions)?
        }
        _ => events::run(&mut simulation, &mut pools, &mut questions)?,
    }
    Ok(simulation.outcome(&pools))
}

/// Contents of requests as a pool's replicas, and its router, tell them apart.
struct Contents {
    chains: Chains,
    /// In whole blocks, where the router reads them and `chains` are not that.
    blocks: Option<Chains>,
    store: Option<Store>,
}

impl Contents {
    fn new(trace: &Trace, pool: &config::Pool) -> Self {
        let reads = router::reads_contents(&pool.router);
        Contents {
            chains: scheduler::chains(trace, &pool.engine),
            blocks: reads.then(|| scheduler::blocks(trace, &pool.engine)).flatten(),
            store: scheduler::store(&pool.engine),
        }
    }
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
    limits: Limits,
    requests: Requests,
    first_tokens: Vec<u32>,
    ended: Vec<u32>,
    wanted: Vec<Wanted>,
    prefilled: Vec<Prefilled>,
    last_passes: Vec<LastPass>,
    gaps: Vec<Gaps>,
    series: Series,
    passes: u64,
    leaps: u64,
    speculated: Speculated,
    pass_times: Vec<(i128, i128)>,
    stalled: Vec<u32>,
    /// By replica.
    busy_ps: Vec<i64>,
    /// By pool.
    idle_times: Vec<IdleTime>,
    log: Log,
}

impl<'a> Simulation<'a> {
    fn replica_by_replica(&mut self, pool: &mut Pool<'a, '_>, questions: &mut Questions) -> Result<(), Failure> {
        let replicas = pool.replicas.end;
        let mut assigned: Vec<Vec<u32>> = vec![Vec::new(); replicas as usize];
        for (ready_ps, request) in self.run.front.in_order(self.trace) {
            let arrival_ps = self.trace.arrival_ps[request as usize];
            self.requests.arrival_ps[request as usize] = arrival_ps;
            if let Some(reason) = self.refusal(pool, request) {
                self.refuse(request, reason, arrival_ps);
                continue;
            }
            let fleet = Fleet { workers: &[], views: &[], seen_ps: ready_ps, now: Now::at(ready_ps) };
            let Ok(Some(pick)) = pool.router.route(request, ready_ps, &fleet) else {
                unreachable!("a static router neither fails nor waits")
            };
            self.note(request, ready_ps, pick);
            assigned[pick.replica as usize].push(request);
        }
        for replica in 0..replicas {
            let mut worker = Replica::new(replica, pool.setting, self.limits);
            for request in std::mem::take(&mut assigned[replica as usize]) {
                let ready_ps = self.requests.routed_ps[request as usize];
                self.advance(&mut worker, (ready_ps, Phase::Arrival), questions)?;
                let rank = worker.arrive(request, ready_ps);
                self.note_rank(request, rank);
                questions.looked_at += 1;
            }
            self.advance(&mut worker, (i64::MAX, Phase::Decision), questions)?;
            self.collect(replica, worker)?;
        }
        Ok(())
    }

    /// Processes the events of `worker` before `until`.
    fn advance(&mut self, worker: &mut Replica, until: (i64, Phase), questions: &mut Questions) -> Result<(), Failure> {
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

    /// The next event of `worker`. What it brought is in `first_tokens`, `ended` and so on.
    fn process(&mut self, worker: &mut Replica, next: (i64, Phase)) {
        let Self { requests, first_tokens, ended, wanted, prefilled, last_passes, .. } = self;
        worker.process(next, &mut Results { requests, first_tokens, ended, wanted, prefilled, last_passes });
    }

    fn note(&mut self, request: u32, now_ps: i64, pick: Pick) {
        let row = request as usize;
        self.requests.routed_ps[row] = now_ps;
        self.requests.replica[row] = pick.replica;
        self.requests.route_reason[row] = pick.reason;
        self.requests.route_overlap_tokens[row] = pick.overlap_tokens;
    }

    fn note_rank(&mut self, request: u32, rank: u32) {
        if let Some(noted) = self.requests.rank.get_mut(request as usize) {
            *noted = rank;
        }
    }

    fn refusal(&self, pool: &Pool, request: u32) -> Option<Reason> {
        self.run.check_admission.then(|| pool.setting.refusal(request)).flatten()
    }

    fn refuse(&mut self, request: u32, reason: Reason, now_ps: i64) {
        self.requests.status[request as usize] = Status::Rejected as u8;
        self.requests.reason[request as usize] = reason as u8;
        self.requests.end_ps[request as usize] = now_ps;
    }

    fn collect(&mut self, replica: u32, worker: Replica) -> Result<(), Failure> {
        let unfinished = worker.unfinished();
        match worker.stopped() {
            Some(Stop::Horizon) => return Err(Failure::Horizon),
            Some(Stop::Engine(error)) => return Err(Failure::Engine(replica, error)),
            Some(Stop::PassLimit) => {}
            Some(Stop::Stalled) | None if unfinished.is_empty() => {}
            Some(Stop::Stalled) | None => {
                self.stalled.push(replica);
                for request in unfinished.into_iter().map(|request| request as usize) {
                    if self.requests.status[request] == Status::Unfinished as u8 {
                        self.requests.reason[request] = Reason::Stalled as u8;
                    } // else its hand-over took too long
                }
            }
        }
        let ends = self.run.pools.iter().scan(0, |end, pool| {
            *end += pool.replicas;
            Some(*end)
        });
        let pool = ends.take_while(|&end| end <= replica).count();
        self.busy_ps.push(worker.busy_ps());
        self.idle_times[pool] += worker.idle_time();
        let (ledgers, series) = worker.into_records();
        self.series.append(series);
        for (rank, ledger) in ledgers.into_iter().enumerate() {
            self.passes += ledger.passes;
            self.leaps += ledger.leaps;
            self.speculated += ledger.speculated;
            self.pass_times[pool].0 += ledger.pass_time.all_ps;
            self.pass_times[pool].1 += ledger.pass_time.extrapolated_ps;
            for gaps in ledger.gaps {
                self.gaps.extend(gaps.finish());
            }
            if (replica, rank) == (0, 0) {
                self.log = ledger.log;
            }
        }
        Ok(())
    }

    fn outcome(mut self, pools: &[Pool]) -> Outcome {
        self.run.front.stream(&mut self.requests);
        let used = |(pool, &idle_time): (&Pool, &IdleTime)| PoolUse {
            role: pool.setting.role,
            replicas: pool.replicas.len() as u32,
            busy_ps: pool.replicas.clone().map(|replica| self.busy_ps[replica as usize]).sum(),
            staged: pool.setting.pipeline.is_some(),
            idle_time,
        };
        Outcome {
            pools: pools.iter().zip(&self.idle_times).map(used).collect(),
            requests: self.requests,
            gaps: self.gaps,
            series: self.series,
            passes: self.passes,
            leaps: self.leaps,
            speculated: self.speculated,
            pass_times: self.pass_times,
            stalled: self.stalled,
            log: self.log,
            route_reasons: pools[0].router.reasons(),
        }
    }
}
