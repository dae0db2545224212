//! When requests come in: by their own time, after another one, or as users come free.

use crate::trace::{NONE, Trace};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Requests on their way in: by their own time, after another one, or as users come free.
pub struct Arrivals<'a> {
    trace: &'a Trace,
    /// Rows of the trace not looked at yet: in time order in open loop, a backlog in closed loop.
    next_row: u32,
    closed_loop: bool,
    /// Requests that are still to come, or may be.
    pub left: usize,
    /// Requests whose predecessor has ended, or whose user came free.
    ready: BinaryHeap<Reverse<(i64, u32)>>,
    successor: Vec<u32>,
}

impl<'a> Arrivals<'a> {
    pub fn new(trace: &'a Trace, users: Option<u32>) -> Self {
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
            left: trace.len(),
            ready: BinaryHeap::new(),
            successor,
        };
        arrivals.skip_followers();
        for _ in 0..users.unwrap_or(0) {
            if !arrivals.start_next_session(0) {
                break;
            }
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

    pub fn next_ps(&self) -> Option<i64> {
        let ready = self.ready.peek().map(|&Reverse(ready)| ready);
        ready.into_iter().chain(self.by_own_time()).min().map(|(time_ps, _)| time_ps)
    }

    pub fn pop(&mut self) -> (i64, u32) {
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
    /// after a request that did not complete never come.
    pub fn ended(&mut self, request: u32, now_ps: i64, completed: bool) {
        let mut next = self.successor.get(request as usize).copied().unwrap_or(NONE);
        if completed && next != NONE {
            self.ready.push(Reverse((now_ps.saturating_add(self.trace.arrival_ps[next as usize]), next)));
            return;
        }
        while next != NONE {
            self.left -= 1;
            next = self.successor[next as usize];
        }
        if self.closed_loop {
            self.start_next_session(now_ps);
        }
    }
}
