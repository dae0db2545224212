//! The loop: the earliest event of all goes first.

use super::handover::Handovers;
use super::pool::Pool;
use super::{Failure, Questions, Simulation};
use crate::arrivals::Arrivals;
use crate::clock::{Agenda, Decisions};
use crate::front::AtTheDoor;
use crate::moves::Moves;
use crate::record::{NEVER, Reason, Status};
use crate::replica::Replica;
use crate::router::Pick;
use crate::scheduler::{AnyScheduler, Scheduler};
use crate::worker::Phase;
use crate::workload::HORIZON_PS;

/// What comes next, in the order of equal times and phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// Telemetry of a pool.
    Tick(usize),
    /// A pool's router may have room for a request that it kept back.
    Held(usize),
    Arrival,
    /// A request is read and tokenised.
    Ready,
    Move,
    Worker(u32),
}

type Event = ((i64, Phase), Next);

/// The lesser of two, if there are two.
fn sooner(one: Option<Event>, other: Option<Event>) -> Option<Event> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// All that has a part in the loop. Workers are numbered through all pools.
pub(super) struct Events<'e, 'a, 'p> {
    pub(super) s: &'e mut Simulation<'a>,
    pub(super) pools: &'e mut [Pool<'a, 'p>],
    pub(super) workers: Vec<Replica<'a>>,
    pub(super) agenda: Agenda,
    pub(super) decisions: Decisions,
    pub(super) arrivals: Arrivals<'a>,
    door: AtTheDoor,
    pub(super) moves: Moves,
    pub(super) handovers: Option<Handovers<'a>>,
}

pub(super) fn run<'a>(
    simulation: &mut Simulation<'a>,
    pools: &mut [Pool<'a, '_>],
    questions: &mut Questions,
) -> Result<(), Failure> {
    let (run, trace, limits) = (simulation.run, simulation.trace, simulation.limits);
    let idle = |pool: &Pool<'a, '_>| {
        let setting = pool.setting;
        pool.replicas.clone().map(move |replica| Replica::new(replica, setting, limits))
    };
    let workers: Vec<Replica> = pools.iter().flat_map(idle).collect();
    for pool in pools.iter_mut() {
        pool.start(&workers);
    }
    let mut events = Events {
        s: simulation,
        pools,
        agenda: Agenda::new(workers.len() as u32),
        decisions: Decisions::none(),
        workers,
        arrivals: Arrivals::new(trace, run.users),
        door: AtTheDoor::default(),
        moves: Moves::new(&run.links),
        handovers: run.handover.as_ref().map(|config| Handovers::new(run, config, trace.len())),
    };
    events.run(questions)?;
    events.finish()
}

impl<'a> Events<'_, 'a, '_> {
    fn run(&mut self, questions: &mut Questions) -> Result<(), Failure> {
        loop {
            questions.after_event()?;
            let Some(((now_ps, phase), next)) = self.next() else { return Ok(()) };
            match (next, phase) {
                (Next::Worker(_), Phase::Decision) => self.decisions.take(now_ps),
                (Next::Worker(_), _) => {}
                _ => self.decisions.pass(),
            }
            match next {
                Next::Tick(index) => self.pools[index].observe(&self.workers),
                Next::Held(index) => {
                    let sent = self.pools[index].release(self.decisions.now(now_ps), &self.workers);
                    match sent {
                        Some((request, pick)) => self.send(request, now_ps, pick)?,
                        None => self.pools[index].release = None,
                    }
                }
                Next::Arrival => {
                    if now_ps > HORIZON_PS {
                        return Err(Failure::Horizon);
                    }
                    questions.looked_at += 1;
                    self.arrival()?;
                }
                Next::Ready => {
                    let Some((now_ps, request)) = self.door.pop() else { continue };
                    if now_ps > HORIZON_PS {
                        return Err(Failure::Horizon);
                    }
                    self.enter(request, now_ps)?;
                }
                Next::Move => {
                    if now_ps > HORIZON_PS {
                        return Err(Failure::Horizon);
                    }
                    self.moved(now_ps)?;
                }
                Next::Worker(replica) => self.work(replica, (now_ps, phase))?,
            }
        }
    }

    /// The next event of all.
    fn next(&mut self) -> Option<Event> {
        let arrival = self.arrivals.next_ps().map(|time_ps| ((time_ps, Phase::Arrival), Next::Arrival));
        let ready = self.door.next_ps().map(|time_ps| ((time_ps, Phase::Arrival), Next::Ready));
        let worker = self.agenda.first().map(|(event, replica)| (event, Next::Worker(replica)));
        let moved = self.moves.next().map(|(time_ps, _)| ((time_ps, Phase::Transfer), Next::Move));
        let mut outside = sooner(sooner(arrival, ready), moved);
        for (index, pool) in self.pools.iter().enumerate() {
            outside = sooner(outside, pool.release.map(|release| (release, Next::Held(index))));
        }
        let mut next = match (outside, worker) {
            (Some(((outside_ps, _), _)), Some(((worker_ps, _), _)))
                if outside_ps == worker_ps && self.decisions.under_way(worker_ps) =>
            {
                worker
            }
            _ => sooner(outside, worker),
        };
        // Nobody looks at telemetry once all requests have been sent to their last replica.
        let to_come = self.arrivals.left > 0
            || !self.door.is_empty()
            || self.handovers.as_ref().is_some_and(|handovers| handovers.to_route > 0);
        if to_come && let Some(((next_ps, _), _)) = next {
            for (index, pool) in self.pools.iter_mut().enumerate() {
                next = sooner(next, pool.telemetry.next_tick(next_ps).map(|tick| (tick, Next::Tick(index))));
            }
        }
        next
    }

    fn arrival(&mut self) -> Result<(), Failure> {
        let (now_ps, request) = self.arrivals.pop();
        self.s.requests.arrival_ps[request as usize] = now_ps;
        let refusal = match self.pools.len() {
            1 => self.s.refusal(&self.pools[0], request),
            _ => self.refused_by_either(request),
        };
        if let Some(reason) = refusal {
            self.s.refuse(request, reason, now_ps);
            self.arrivals.ended(request, now_ps, false);
            return Ok(());
        }
        let ready_ps = self.s.run.front.ready_ps(self.s.trace, request, now_ps);
        if ready_ps > now_ps {
            self.door.push(ready_ps, request);
            return Ok(());
        }
        self.enter(request, now_ps)
    }

    /// A request comes to the first pool's router.
    fn enter(&mut self, request: u32, now_ps: i64) -> Result<(), Failure> {
        if self.handovers.is_some() && self.stays(request, now_ps)? {
            return Ok(());
        }
        match self.pools[0].route(request, self.decisions.now(now_ps), &self.workers).map_err(Failure::Policy)? {
            Some(pick) => self.send(request, now_ps, pick),
            None => Ok(()),
        }
    }

    /// The first pool's router has chosen.
    fn send(&mut self, request: u32, now_ps: i64, pick: Pick) -> Result<(), Failure> {
        self.s.note(request, now_ps, pick);
        if self.handovers.is_some() {
            return self.send_to_prefill(request, now_ps, pick);
        }
        self.arrive(pick.replica, request, now_ps);
        Ok(())
    }

    /// A request joins the queue of a replica.
    pub(super) fn arrive(&mut self, replica: u32, request: u32, now_ps: i64) {
        let rank = self.tell_replica(replica, request, now_ps, |scheduler| scheduler.arrive(request, now_ps));
        self.s.note_rank(request, rank);
    }

    /// See [`Replica::outside`].
    pub(super) fn tell_replica(
        &mut self,
        replica: u32,
        request: u32,
        now_ps: i64,
        act: impl FnOnce(&mut AnyScheduler<'a>) -> bool,
    ) -> u32 {
        let worker = &mut self.workers[replica as usize];
        let rank = worker.outside(request, self.decisions.now(now_ps), act);
        self.agenda.set(replica, worker.next_event());
        rank
    }

    /// The next event of a worker, and what it brings to routers, clients and other workers.
    fn work(&mut self, replica: u32, event: (i64, Phase)) -> Result<(), Failure> {
        let worker = &mut self.workers[replica as usize];
        self.s.process(worker, event);
        self.agenda.set(replica, worker.next_event());
        let (now_ps, _) = event;
        let news = !self.s.first_tokens.is_empty() || !self.s.ended.is_empty() || !self.s.prefilled.is_empty();
        let pool = usize::from(replica >= self.pools[0].replicas.end);
        if news {
            self.tell(pool, replica, now_ps)?;
            self.pools[pool].may_release(now_ps);
        }
        if !self.s.wanted.is_empty() {
            self.asked(replica, now_ps);
        }
        for index in 0..self.s.last_passes.len() {
            self.last_pass(self.s.last_passes[index], now_ps);
        }
        self.s.last_passes.clear();
        Ok(())
    }

    fn tell(&mut self, pool: usize, replica: u32, now_ps: i64) -> Result<(), Failure> {
        let router = &mut self.pools[pool];
        for request in self.s.first_tokens.drain(..) {
            router.first_token(request, replica, now_ps).map_err(Failure::Policy)?;
        }
        for request in self.s.ended.drain(..) {
            router.ended(request, replica, now_ps).map_err(Failure::Policy)?;
            let later_ps = self.s.run.front.later_ps(&self.s.requests, request);
            let completed = self.s.requests.status[request as usize] == Status::Completed as u8;
            self.arrivals.ended(request, now_ps.saturating_add(later_ps), completed);
        }
        for index in 0..self.s.prefilled.len() {
            self.computed(self.s.prefilled[index], now_ps)?;
        }
        self.s.prefilled.clear();
        Ok(())
    }

    /// All is over.
    fn finish(self) -> Result<(), Failure> {
        for (replica, worker) in self.workers.into_iter().enumerate() {
            self.s.collect(replica as u32, worker)?;
        }
        let requests = &mut self.s.requests;
        for row in 0..self.s.trace.len() {
            if requests.routed_ps[row] == NEVER && requests.status[row] == Status::Unfinished as u8 {
                let reason = match requests.arrival_ps[row] {
                    NEVER if self.s.trace.is_root(row) => Reason::NeverSent,
                    NEVER => Reason::Predecessor,
                    _ => Reason::Held,
                };
                requests.reason[row] = reason as u8;
            }
        }
        Ok(())
    }
}
