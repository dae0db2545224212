//! Requests that wait, and requests that have been admitted.

use super::OnWay;
use super::window::Hold;
use crate::decode_set::{Burst, Member};

/// A request in the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) request: u32,
    /// Its row, if it has run before.
    pub(super) slot: Option<u32>,
    /// Prompt and output so far.
    pub(super) tokens: u32,
    /// Its place in the order in which requests came into the queue.
    pub(super) entry: u64,
    /// Tokens that the engine has noted for it, as of the last time it was tried; 0 if never.
    pub(super) noted: u32,
    /// Cached tokens, as of the last look at the tree.
    pub(super) prefix: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Prefilling,
    Decoding,
    /// Overlap: its last token is on its way; it takes part in no pass any more.
    Draining,
    /// Prefill replica: its prompt is computed, and held until it has arrived elsewhere.
    Sending,
    /// Decode replica: its memory is reserved, and its prompt is computed elsewhere.
    Reserved,
    /// Decode replica: its KV is there.
    Ready,
}

#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    pub(super) request: u32,
    pub(super) state: State,
    /// Position in the batch: greater is later.
    pub(super) order: u64,
    pub(super) entry: u64,
    pub(super) prompt: u32,
    /// Tokens it will give: at least 1, which a prefill gives whatever was asked for.
    pub(super) target: u32,
    /// Tokens it would give for all the scheduler knows.
    pub(super) limit: u32,
    /// Tokens given in passes scheduled so far; of a decoding row, those before it joined the batch.
    pub(super) given: u32,
    /// Of a prefilling row: where the part to compute begins, and ends.
    pub(super) prefix: u32,
    pub(super) extend_end: u32,
    /// Tokens at its beginning that belong to the tree, and the node they end with.
    pub(super) protected: u32,
    pub(super) node: u32,
    /// Tokens at its beginning that it has entered into the tree since it was admitted.
    pub(super) entered: u32,
    pub(super) window: Hold,
    /// Of a decoding row: the counter and the decision when it joined.
    pub(super) joined: u64,
    pub(super) joined_by: u64,
    /// The counter after the pass that gives the last token.
    pub(super) finish_at: u64,
    /// Of a row that verifies drafts: what it gives while it decodes, the passes in which it has before
    /// that, and the pages it holds: more than it has stored tokens for.
    pub(super) burst: Option<Burst<'a>>,
    pub(super) verified: u64,
    pub(super) pages: u32,
    /// Tokens that the engine has noted for it when it was admitted.
    pub(super) noted: u32,
    pub(super) last_emit_ps: i64,
    /// Since its last token.
    pub(super) preempted: bool,
}

impl<'a> Row<'a> {
    /// Prompt and output of a row that is not decoding.
    pub(super) fn tokens(&self) -> u32 {
        self.prompt + self.given
    }

    pub(super) fn member(&self, slot: u32) -> Member<'a> {
        let mut offset = i64::from(self.prompt) - 1;
        if self.burst.is_none() {
            offset += i64::from(self.target) - self.finish_at as i64;
        }
        let (order, finish_at, burst, held) = (self.order, self.finish_at, self.burst, self.pages);
        Member { slot, order, offset, finish_at, burst, held, joined: self.joined, floor: None }
    }

    /// Tokens given in passes scheduled so far, of a decoding row.
    pub(super) fn sampled(&self, k: u64) -> u32 {
        if let Some(burst) = self.burst {
            return burst.given(k).min(i64::from(self.target)) as u32;
        }
        (i64::from(self.target) - (self.finish_at as i64 - k as i64)) as u32
    }

    /// Whether a token of it is on its way at a decision.
    pub(super) fn is_on_way(&self, decision: u64, on_way: OnWay) -> bool {
        match on_way {
            OnWay::Nothing => false,
            OnWay::Prefills => self.joined_by == decision,
            OnWay::Decodes => self.joined_by < decision,
            OnWay::All => true,
        }
    }

    /// Tokens stored in passes scheduled so far, of a decoding row: all but the last it gave.
    pub(super) fn stored(&self, k: u64) -> u32 {
        self.prompt + self.sampled(k) - 1
    }

    /// The same, with those that a burst gave beyond its last token.
    pub(super) fn computed(&self, k: u64) -> u32 {
        self.burst.map_or(self.stored(k), |burst| self.prompt + burst.given(k) as u32 - 1)
    }

    /// Tokens that the pass gives which raises the counter from `k`, of a decoding row.
    pub(super) fn gives(&self, k: u64) -> u32 {
        self.sampled(k + 1) - self.sampled(k)
    }

    /// The counter when it would have given all of its limit.
    pub(super) fn limit_at(&self) -> i64 {
        i64::from(self.limit) - i64::from(self.target) + self.finish_at as i64
    }
}
