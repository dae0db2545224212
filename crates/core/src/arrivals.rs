//! When requests come in: by their own time, after others, or as users come free.

use crate::trace::{NONE, Trace};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Requests on their way in.
pub struct Arrivals<'a> {
    trace: &'a Trace,
    /// Rows of the trace not looked at yet: in time order in open loop, a backlog in closed loop.
    next_row: u32,
    closed_loop: bool,
    /// Requests that are still to come, or may be.
    pub left: usize,
    /// Requests that nothing holds back any more, and when they come.
    ready: BinaryHeap<Reverse<(i64, u32)>>,
    /// Closed loop: when users turn to what is next in the trace; who is free first gets it.
    free: BinaryHeap<Reverse<i64>>,
    /// None where no request waits for another.
    waits: Option<Waits>,
}

/// Who waits for whom, and for how many still.
struct Waits {
    /// Requests that wait for each: `followers[offsets[r]..offsets[r + 1]]`.
    followers: Vec<u32>,
    offsets: Vec<u32>,
    /// How many requests each still waits for; `NONE` for one that will never come.
    waiting: Vec<u32>,
    /// Closed loop: of each request, the first of its trajectory; and of that, how many have not ended, and
    /// the latest end so far: a refusal is told at once, an answer may still be on its way.
    trajectory: Vec<u32>,
    open: Vec<u32>,
    ended_ps: Vec<i64>,
    /// Closed loop: the next row of the same trajectory that comes at its own time, or `NONE`.
    next_root: Vec<u32>,
}

impl Waits {
    fn new(trace: &Trace, closed_loop: bool) -> Self {
        let rows = trace.len();
        let mut offsets = vec![0; rows + 1];
        let mut waiting = vec![0; rows];
        for (request, waiting) in waiting.iter_mut().enumerate() {
            for before in trace.predecessors(request) {
                offsets[before as usize + 1] += 1;
                *waiting += 1;
            }
        }
        for row in 0..rows {
            offsets[row + 1] += offsets[row];
        }
        let mut followers = vec![0; offsets[rows] as usize];
        let mut next = offsets.clone();
        for request in 0..rows {
            for before in trace.predecessors(request) {
                followers[next[before as usize] as usize] = request as u32;
                next[before as usize] += 1;
            }
        }
        let (trajectory, open, ended_ps, next_root) = (vec![], vec![], vec![], vec![]);
        let mut waits = Waits { followers, offsets, waiting, trajectory, open, ended_ps, next_root };
        if closed_loop {
            waits.group(trace);
        }
        waits
    }

    fn group(&mut self, trace: &Trace) {
        self.trajectory = trace.trajectories();
        self.open = vec![0; trace.len()];
        self.ended_ps = vec![0; trace.len()];
        self.next_root = vec![NONE; trace.len()];
        let mut last_root = vec![NONE; trace.len()];
        for (row, &first) in self.trajectory.iter().enumerate() {
            self.open[first as usize] += 1;
            if trace.is_root(row) {
                let last = std::mem::replace(&mut last_root[first as usize], row as u32);
                if last != NONE {
                    self.next_root[last as usize] = row as u32;
                }
            }
        }
    }

    fn followers(&self, request: u32) -> std::ops::Range<usize> {
        self.offsets[request as usize] as usize..self.offsets[request as usize + 1] as usize
    }

    /// One that it waits for has completed: whether it now waits for nobody.
    fn is_last_wait(&mut self, request: u32) -> bool {
        let waiting = &mut self.waiting[request as usize];
        if *waiting == NONE {
            return false;
        }
        *waiting -= 1;
        *waiting == 0
    }

    /// One of its trajectory has ended, or will never come: when the last did, if none is left.
    fn close(&mut self, request: u32, now_ps: i64) -> Option<i64> {
        let first = *self.trajectory.get(request as usize)? as usize;
        self.open[first] -= 1;
        self.ended_ps[first] = self.ended_ps[first].max(now_ps);
        (self.open[first] == 0).then_some(self.ended_ps[first])
    }
}

impl<'a> Arrivals<'a> {
    pub fn new(trace: &'a Trace, users: Option<u32>) -> Self {
        let closed_loop = users.is_some();
        let mut arrivals = Arrivals {
            trace,
            next_row: 0,
            closed_loop,
            left: trace.len(),
            ready: BinaryHeap::new(),
            free: users.into_iter().flat_map(|users| vec![Reverse(0); trace.len().min(users as usize)]).collect(),
            waits: trace.has_waits().then(|| Waits::new(trace, closed_loop)),
        };
        arrivals.skip_started();
        arrivals
    }

    /// Passes over rows that wait for others, and in closed loop over those that come with an earlier one.
    fn skip_started(&mut self) {
        let Some(waits) = &self.waits else { return };
        let comes_later = |row: usize| match waits.trajectory.get(row) {
            Some(&first) => first as usize != row,
            None => !self.trace.is_root(row),
        };
        while (self.next_row as usize) < self.trace.len() && comes_later(self.next_row as usize) {
            self.next_row += 1;
        }
    }

    /// The next row of the trace, at its own time; in closed loop as soon as a user is free.
    fn next_in_trace(&self) -> Option<(i64, u32)> {
        let own_ps = *self.trace.arrival_ps.get(self.next_row as usize)?;
        let time_ps = if self.closed_loop { self.free.peek()?.0 } else { own_ps };
        Some((time_ps, self.next_row))
    }

    /// It has come. In closed loop, what else comes at its own time in its trajectory keeps its distance.
    fn take_next(&mut self, (now_ps, first): (i64, u32)) {
        if self.closed_loop {
            self.free.pop();
            let first_ps = self.trace.arrival_ps[first as usize];
            let next_root = |row: u32| self.waits.as_ref().map_or(NONE, |waits| waits.next_root[row as usize]);
            let mut row = next_root(first);
            while row != NONE {
                let later_ps = self.trace.arrival_ps[row as usize] - first_ps;
                self.ready.push(Reverse((now_ps.saturating_add(later_ps), row)));
                row = next_root(row);
            }
        }
        self.next_row += 1;
        self.skip_started();
    }

    pub fn next_ps(&self) -> Option<i64> {
        let ready = self.ready.peek().map(|&Reverse(ready)| ready);
        ready.into_iter().chain(self.next_in_trace()).min().map(|(time_ps, _)| time_ps)
    }

    pub fn pop(&mut self) -> (i64, u32) {
        self.left -= 1;
        let ready = self.ready.peek().map(|&Reverse(ready)| ready);
        match (ready, self.next_in_trace()) {
            (Some(ready), Some(next)) if ready < next => self.ready.pop().map_or(next, |Reverse(ready)| ready),
            (_, Some(next)) => {
                self.take_next(next);
                next
            }
            (Some(ready), None) => {
                self.ready.pop();
                ready
            }
            (None, None) => unreachable!("asked for an arrival without one"),
        }
    }

    /// `request` has ended: its client knows at `now_ps`. Who waited for it alone follows; who waits for one
    /// that did not complete never comes. Once all of a trajectory have ended, its user turns to the next.
    pub fn ended(&mut self, request: u32, now_ps: i64, completed: bool) {
        let Some(waits) = &mut self.waits else {
            if self.closed_loop {
                self.free.push(Reverse(now_ps));
            }
            return;
        };
        let mut free_ps = waits.close(request, now_ps);
        if completed {
            for at in waits.followers(request) {
                let follower = waits.followers[at];
                if waits.is_last_wait(follower) {
                    let arrival_ps = now_ps.saturating_add(self.trace.arrival_ps[follower as usize]);
                    self.ready.push(Reverse((arrival_ps, follower)));
                }
            }
        } else {
            let mut lost = vec![request];
            while let Some(request) = lost.pop() {
                for at in waits.followers(request) {
                    let follower = waits.followers[at];
                    if std::mem::replace(&mut waits.waiting[follower as usize], NONE) != NONE {
                        self.left -= 1;
                        free_ps = waits.close(follower, now_ps).or(free_ps);
                        lost.push(follower);
                    }
                }
            }
        }
        self.free.extend(free_ps.map(Reverse));
    }
}
