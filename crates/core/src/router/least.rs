//! Routers that take the replica with the least of what they have sent: requests, or tokens.

use super::loads::Loads;
use super::{Fleet, Native, Pick};
use crate::trace::Trace;

/// The fewest requests, waiting and running together; the lowest index among equals.
pub(super) struct LeastRequests {
    pub(super) loads: Loads,
}

impl Native for LeastRequests {
    fn reasons(&self) -> &'static [&'static str] {
        &["fewest requests"]
    }

    fn pick(&mut self, _request: u32, _now_ps: i64, _fleet: &Fleet) -> Pick {
        let (_, replica) = self.loads.least();
        self.loads.add(replica, 1);
        Pick::new(replica, 0)
    }

    fn ended(&mut self, _request: u32, replica: u32) {
        self.loads.remove(replica, 1);
    }
}

/// The fewest tokens in flight: prompts, and what is expected of outputs; the lowest index among equals.
pub(super) struct LeastTokens<'a> {
    pub(super) trace: &'a Trace,
    pub(super) expected_output_tokens: u32,
    pub(super) loads: Loads,
}

impl LeastTokens<'_> {
    fn tokens(&self, request: u32) -> u64 {
        let row = request as usize;
        let output = self.trace.max_output_tokens[row].min(self.expected_output_tokens);
        u64::from(self.trace.input_tokens[row]) + u64::from(output)
    }
}

impl Native for LeastTokens<'_> {
    fn reasons(&self) -> &'static [&'static str] {
        &["fewest tokens"]
    }

    fn pick(&mut self, request: u32, _now_ps: i64, _fleet: &Fleet) -> Pick {
        let (_, replica) = self.loads.least();
        self.loads.add(replica, self.tokens(request));
        Pick::new(replica, 0)
    }

    fn ended(&mut self, request: u32, replica: u32) {
        self.loads.remove(replica, self.tokens(request));
    }
}
