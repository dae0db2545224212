//! The front end: what a request's way in and its tokens' way out take, engines apart.

use crate::record::{NEVER, Requests, Status};
use crate::trace::Trace;
use crate::workload::HORIZON_PS;
use serde::Deserialize;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Reading, tokenising and dispatching happen before the router sees a request; a token is on its
/// way to the client after the pass that made it.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FrontEnd {
    pub request_ps: i64,
    pub prompt_token_ps: i64,
    pub stream_ps: i64,
}

impl FrontEnd {
    /// When a request that came at `now_ps` is with the router; whatever is beyond the horizon ends the run alike.
    pub fn ready_ps(&self, trace: &Trace, request: u32, now_ps: i64) -> i64 {
        let tokens = i64::from(trace.input_tokens[request as usize]);
        let taken_ps = self.request_ps.saturating_add(self.prompt_token_ps.saturating_mul(tokens));
        now_ps.saturating_add(taken_ps).min(HORIZON_PS + 1)
    }

    /// Whether requests pass it at once.
    pub fn takes_nothing(&self) -> bool {
        self.request_ps == 0 && self.prompt_token_ps == 0
    }

    /// Rows of the trace by the time they are with the router, if they come at their own times.
    pub fn in_order(&self, trace: &Trace) -> Vec<(i64, u32)> {
        let ready = |request: u32| (self.ready_ps(trace, request, trace.arrival_ps[request as usize]), request);
        let mut order: Vec<(i64, u32)> = (0..trace.len() as u32).map(ready).collect();
        if self.prompt_token_ps > 0 {
            order.sort_unstable();
        }
        order
    }

    /// How much later than its engine a request's client knows of its end. That of an answer without tokens
    /// is told to it as well; a refusal is not the engine's.
    pub fn later_ps(&self, requests: &Requests, request: u32) -> i64 {
        let row = request as usize;
        let answered = requests.first_token_ps[row] != NEVER || requests.status[row] == Status::Completed as u8;
        if answered { self.stream_ps } else { 0 }
    }

    /// Clients see tokens later than the engines that made them.
    pub fn stream(&self, requests: &mut Requests) {
        if self.stream_ps == 0 {
            return;
        }
        for row in 0..requests.first_token_ps.len() {
            let later_ps = self.later_ps(requests, row as u32);
            for times in [&mut requests.first_token_ps, &mut requests.last_token_ps, &mut requests.end_ps] {
                if times[row] != NEVER {
                    times[row] = times[row].saturating_add(later_ps);
                }
            }
        }
    }

    /// # Errors
    /// A time is negative.
    pub fn check(&self) -> Result<(), &'static str> {
        let least = self.request_ps.min(self.prompt_token_ps).min(self.stream_ps);
        if least < 0 { Err("times of the front end must not be negative") } else { Ok(()) }
    }
}

/// Requests that the front end is at work on, and when they are with the router.
#[derive(Debug, Default)]
pub struct AtTheDoor(BinaryHeap<Reverse<(i64, u32)>>);

impl AtTheDoor {
    pub fn push(&mut self, ready_ps: i64, request: u32) {
        self.0.push(Reverse((ready_ps, request)));
    }

    pub fn next_ps(&self) -> Option<i64> {
        self.0.peek().map(|&Reverse((ready_ps, _))| ready_ps)
    }

    pub fn pop(&mut self) -> Option<(i64, u32)> {
        self.0.pop().map(|Reverse(next)| next)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
