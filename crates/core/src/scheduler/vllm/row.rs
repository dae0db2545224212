//! A request that has been admitted.

use crate::decode_set::{Burst, Member};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    /// Waits for blocks that are being filled from outside (vLLM: WAITING_FOR_REMOTE_KVS).
    Loading,
    /// They are filled.
    Loaded,
    /// In the decode set.
    Decoding,
    Explicit,
    /// In the batch, its last token on the way: takes part in no pass any more.
    Draining,
}

#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    pub(super) request: u32,
    pub(super) arrival_ps: i64,
    pub(super) state: State,
    /// Position in the batch: greater is later.
    pub(super) order: u64,
    pub(super) prompt: u32,
    /// Tokens it will give, at least 1: what is sampled after the prompt of a request without output is dropped.
    pub(super) target: u32,
    /// Tokens it would give for all the scheduler knows.
    pub(super) limit: u32,
    /// Tokens delivered; of a decoding row, those before it joined the set.
    pub(super) delivered: u32,
    /// Explicit rows: tokens whose KV is computed or scheduled.
    pub(super) computed: u32,
    pub(super) drafts: u32,
    /// Of a padded row: they are dummies, and none will be accepted.
    pub(super) padded: bool,
    /// Drafts under async scheduling: tokens that passes under way compute of its answer (vLLM:
    /// num_output_placeholders), and drafts among them that will be rejected.
    pub(super) placeholders: u32,
    pub(super) rejected: u32,
    /// Whether its last pass left part of the known tokens uncomputed.
    pub(super) prefilling: bool,
    /// Decoding rows: the counter after the pass that gives the last token.
    pub(super) finish_at: u64,
    /// The micro-batch in which it decodes, of a pipeline.
    pub(super) micro_batch: u32,
    pub(super) last_emit_ps: i64,
    /// Since its last token.
    pub(super) preempted: bool,
    /// Explicit rows: the counter after the last pass it had a part in; of a pipeline, its number plus 1.
    pub(super) last_pass: u64,
    /// The counter after the last pass it was left out of while decoding.
    pub(super) left_out_at: u64,
    /// Passes so far in which drafts were verified; of a decoding row, those before it joined the set.
    pub(super) verified: u64,
    /// Decoding rows that verify drafts: what they give, and the counter when they joined the set.
    pub(super) burst: Option<Burst<'a>>,
    pub(super) joined: u64,
    /// The same under async scheduling: what counted as computed before their first pass there.
    pub(super) first_computed: u32,
    /// The most tokens ever computed: that it grows is progress.
    pub(super) furthest: u32,
    pub(super) logged_blocks: usize,
}

impl<'a> Row<'a> {
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

    /// Tokens sampled in passes scheduled so far, of a decoding row.
    pub(super) fn sampled(&self, k: u64) -> u32 {
        if let Some(burst) = self.burst {
            return burst.given(k).min(i64::from(self.target)) as u32;
        }
        (i64::from(self.target) - (self.finish_at as i64 - k as i64)) as u32
    }

    /// Whether the last pass left it out with its last token on its way: then it was in one pass less
    /// than the counter says.
    pub(super) fn was_left_out_dead(&self, k: u64) -> bool {
        self.state == State::Decoding && self.left_out_at == k && self.finish_at < k
    }

    /// Tokens that the pass gives which raises the counter from `k`, of a decoding row.
    pub(super) fn gives(&self, k: u64) -> u32 {
        self.sampled(k + 1) - self.sampled(k)
    }

    /// Tokens computed in passes scheduled so far, of a decoding row: all but the last it sampled.
    pub(super) fn computed_by(&self, k: u64) -> u32 {
        self.prompt + self.sampled(k) - 1
    }
}

/// An explicit row's part of a pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    pub(super) slot: u32,
    pub(super) tokens: u32,
    pub(super) blocks: u32,
}
