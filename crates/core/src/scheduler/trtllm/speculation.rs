//! Rows that verify drafts.

use super::Trtllm;
use super::row::State;
use crate::config::trtllm as config;
use crate::decode_set::{Burst, DecodeSet, Verify};

/// An empty set for rows that verify `drafts` drafts a pass, where the engine speculates.
pub(super) fn decode_set(engine: &config::Trtllm, drafts: u32, ordered: bool) -> DecodeSet<'_> {
    let verify = engine.drawn().map(|drawn| Verify {
        draws: drawn.draws(drafts),
        drafts,
        slots: 1 + drafts + engine.num_extra_kv_tokens,
        most: u32::MAX,
        ahead: false,
    });
    DecodeSet::new(engine.tokens_per_block, verify, ordered)
}

impl Trtllm<'_> {
    /// Where drafts go by the number of active requests, and it calls for another number of them, the
    /// rows in generation go on with that.
    pub(super) fn choose_drafts(&mut self) {
        let drafts = self.s.engine.drafts_for(self.active() + self.window());
        if self.decoding.drafts() == drafts {
            return;
        }
        let slots = self.decoding.due(self.k).to_vec();
        for &slot in &slots {
            let held = self.leave_decode_set(slot, 0);
            self.pool.settle(slot, held);
            let (drafted, k) = (self.decoding.drafts() > 0, self.k);
            let row = &mut self.rows[slot as usize];
            row.verified += if drafted { k - row.joined } else { 0 };
        }
        self.decoding = decode_set(self.s.engine, drafts, self.s.step_time.prices_longest());
        for slot in slots {
            let given = self.rows[slot as usize].sampled(self.k);
            self.begin_bursts(slot, given);
            self.join_decode_set(slot);
        }
    }

    /// A row that has given `given` tokens verifies drafts from now on, where the engine speculates.
    pub(super) fn begin_bursts(&mut self, slot: u32, given: u32) {
        let Some(verify) = self.decoding.verify() else { return };
        let k = self.k;
        let row = &mut self.rows[slot as usize];
        debug_assert!(row.state == State::Generation);
        let burst = Burst::new(verify.draws, verify.draws.start(row.request) + row.verified, given, k);
        row.finish_at = burst.finish_at(row.target, k);
        row.burst = Some(burst);
        row.joined = k;
    }
}
