//! What is on its way between replicas, or between a replica and its tiers: data on links, and
//! what is to happen later.

use crate::config;
use crate::link::Links;
use crate::scheduler::Move;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// One transfer of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    pub kind: Move,
    /// The replica that asked for it.
    pub replica: u32,
    /// As that replica names it.
    pub id: u32,
    /// Counts the parts of what is sent piecemeal.
    pub part: u32,
}

/// What happens, in the order of equal times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Due {
    /// Data has arrived.
    Landed(Flow),
    /// Data begins to flow.
    Start(Flow),
    /// The destination hears that all of a request is there.
    Arrived(u32),
    /// The source hears that it need hold a request no longer.
    Release(u32),
    /// The source hears that the destination is ready for a request.
    Ready(u32),
    /// The router hears that a prompt is computed.
    Prefilled(u32),
    /// A decode replica's server has read a request that was sent there; or one that stays there, all of it.
    Joins(u32),
    /// A hand-over has taken too long, if it is still the request's so-manieth wait.
    Timeout(u32, u32),
}

pub struct Moves {
    links: Links<Flow>,
    /// Paths and bytes of those that are yet to flow.
    prepared: HashMap<Flow, (Vec<u32>, u64), FxBuildHasher>,
    later: BinaryHeap<Reverse<(i64, Due)>>,
    /// In order: all waits are equally long.
    deadlines: VecDeque<(i64, Due)>,
}

impl Moves {
    pub fn new(links: &[config::Link]) -> Self {
        Moves {
            links: Links::new(links),
            prepared: HashMap::default(),
            later: BinaryHeap::new(),
            deadlines: VecDeque::new(),
        }
    }

    pub fn at(&mut self, time_ps: i64, due: Due) {
        self.later.push(Reverse((time_ps, due)));
    }

    pub fn after(&mut self, now_ps: i64, delay_ps: i64, due: Due) {
        self.at(now_ps.saturating_add(delay_ps), due);
    }

    /// See [`Links::latency_ps`].
    pub fn latency_ps(&self, path: &[u32]) -> i64 {
        self.links.latency_ps(path)
    }

    /// `bytes` are to flow over the links of `path` from `start_ps` on.
    pub fn prepare(&mut self, flow: Flow, path: Vec<u32>, bytes: u64, start_ps: i64) {
        self.prepared.insert(flow, (path, bytes));
        self.at(start_ps, Due::Start(flow));
    }

    pub fn start(&mut self, flow: Flow, now_ps: i64) {
        if let Some((path, bytes)) = self.prepared.remove(&flow) {
            self.links.start(flow, &path, bytes, now_ps);
        }
    }

    pub fn give_up(&mut self, flow: Flow, now_ps: i64) {
        self.prepared.remove(&flow);
        self.links.remove(flow, now_ps);
    }

    /// A wait that began now ends at `time_ps`, later than all before it.
    pub fn until(&mut self, time_ps: i64, request: u32, wait: u32) {
        self.deadlines.push_back((time_ps, Due::Timeout(request, wait)));
    }

    /// Forgets the deadlines of waits that are over, from the first on.
    pub fn forget(&mut self, is_over: impl Fn(u32, u32) -> bool) {
        while let Some(&(_, Due::Timeout(request, wait))) = self.deadlines.front()
            && is_over(request, wait)
        {
            self.deadlines.pop_front();
        }
    }

    pub fn next(&self) -> Option<(i64, Due)> {
        let mut next = self.later.peek().map(|&Reverse(next)| next);
        if let Some((time_ps, flow)) = self.links.next() {
            next = Some(next.map_or((time_ps, Due::Landed(flow)), |next| next.min((time_ps, Due::Landed(flow)))));
        }
        if let Some(&deadline) = self.deadlines.front() {
            next = Some(next.map_or(deadline, |next| next.min(deadline)));
        }
        next
    }

    /// Takes away what [`Self::next`] gives.
    pub fn take(&mut self) -> Option<Due> {
        let (time_ps, due) = self.next()?;
        match due {
            Due::Landed(flow) => self.links.remove(flow, time_ps),
            Due::Timeout(..) => drop(self.deadlines.pop_front()),
            _ => drop(self.later.pop()),
        }
        Some(due)
    }
}
