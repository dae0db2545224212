//! A request that has started.

use crate::decode_set::{Burst, Member};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Paused: it holds nothing.
    Paused,
    /// Part of its context is computed.
    Context,
    /// Of a generation-only request: its KV is on its way.
    Receiving,
    /// In the decode set.
    Generation,
}

#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    pub(super) request: u32,
    /// Of arrival, which is the order of everything.
    pub(super) order: u64,
    pub(super) state: State,
    pub(super) prompt: u32,
    /// Tokens it will give, at least 1: what is sampled after the prompt of a request without output is dropped.
    pub(super) target: u32,
    /// Tokens delivered; in the decode set, those before it joined.
    pub(super) delivered: u32,
    /// Of a context: tokens whose KV is computed or scheduled.
    pub(super) computed: u32,
    /// In the decode set: the counter after the pass that gives the last token.
    pub(super) finish_at: u64,
    /// In the decode set, where it verifies drafts: what it gives. The counter when it joined, and the
    /// passes that verified drafts before.
    pub(super) burst: Option<Burst<'a>>,
    pub(super) joined: u64,
    pub(super) verified: u64,
    pub(super) last_emit_ps: i64,
    /// Since its last token.
    pub(super) preempted: bool,
    /// The counter after the last pass it was left out of.
    pub(super) left_out_at: u64,
    /// Of a pipeline: the micro-batch whose decode set it is in, and whether a pass under way computes its context.
    pub(super) micro_batch: u32,
    pub(super) on_way: bool,
    /// The most tokens ever computed: that it grows is progress.
    pub(super) furthest: u32,
}

impl<'a> Row<'a> {
    /// Its context: what is computed before the next token.
    pub(super) fn tokens(&self) -> u32 {
        self.prompt + self.delivered
    }

    pub(super) fn member(&self, slot: u32) -> Member<'a> {
        let mut offset = i64::from(self.prompt) - 1;
        if self.burst.is_none() {
            offset += i64::from(self.target) - self.finish_at as i64;
        }
        Member {
            slot,
            order: self.order,
            offset,
            finish_at: self.finish_at,
            burst: self.burst,
            held: 0,
            joined: self.joined,
            floor: None,
        }
    }

    /// In the decode set: tokens sampled in passes scheduled so far.
    pub(super) fn sampled(&self, k: u64) -> u32 {
        if let Some(burst) = self.burst {
            return burst.given(k).min(i64::from(self.target)) as u32;
        }
        (i64::from(self.target) - (self.finish_at as i64 - k as i64)) as u32
    }

    /// In the decode set: tokens that the pass gives which raises the counter from `k`.
    pub(super) fn gives(&self, k: u64) -> u32 {
        self.sampled(k + 1) - self.sampled(k)
    }

    /// In the decode set: tokens computed in passes scheduled so far, all but the last it sampled.
    pub(super) fn computed_by(&self, k: u64) -> u32 {
        self.prompt + self.sampled(k) - 1
    }
}

/// A request that holds no blocks; `slot` holds its state if it was paused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) order: u64,
    pub(super) request: u32,
    pub(super) slot: Option<u32>,
}

/// A context that may have blocks in this pass, and how much of it is computed in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    pub(super) order: u64,
    /// None: it starts with this pass.
    pub(super) slot: Option<u32>,
    /// Tokens of its whole context, and of those that are left.
    pub(super) tokens: u32,
    pub(super) left: u32,
    pub(super) chunk: u32,
}
