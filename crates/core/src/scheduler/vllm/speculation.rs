//! Rows that verify drafts: in the decode set while their passes are all alike.
//!
//! They join it once their results are in, so whatever is known of them is known exactly: speculation
//! runs without async scheduling. They leave it, and are looked at one by one, where the budget or the
//! blocks do not suffice for all, or the number of drafts changes.

use super::Vllm;
use super::row::State;
use crate::chain::Piece;
use crate::config::speculation::Acceptance;
use crate::config::vllm as config;
use crate::decode_set::{Burst, DecodeSet, Verify};
use crate::draws::Draws;
use crate::kv::block_pool::Hit;
use crate::scheduler::pass::{Pass, Sample};

/// An empty set for rows that verify `drafts` drafts a pass, where the engine speculates.
pub(super) fn decode_set(engine: &config::Vllm, drafts: u32, ordered: bool) -> DecodeSet<'_> {
    let verify = table(engine, drafts).map(|draws| Verify {
        draws,
        drafts,
        slots: 1 + drafts + engine.num_lookahead_tokens,
        most: engine.max_model_len,
        ahead: false,
    });
    DecodeSet::new(engine.block_size, verify, ordered)
}

fn table(engine: &config::Vllm, drafts: u32) -> Option<&Draws> {
    match &engine.acceptance {
        Some(Acceptance::Drawn(drawn)) => Some(drawn.draws(drafts)),
        _ => None,
    }
}

impl Vllm<'_> {
    /// The longest cached prefix; a drafting head needs the last block of it computed again.
    pub(super) fn find_prefix(&mut self, path: &[Piece], private: u32, limit: u32) -> Hit {
        let hit = self.pool.find(path, private, limit);
        if self.s.engine.eagle_block_drop && hit.blocks > 0 {
            return self.pool.find(path, private, hit.blocks - 1);
        }
        hit
    }

    /// Notes what the rows of the decode set gave in a pass, or a run of them.
    pub(super) fn count_bursts(&mut self, pass: &Pass) {
        let ending = self.decoding.finishing_by(pass.serial).map(|slot| &self.rows[slot as usize]);
        let beyond = ending.filter_map(|row| Some(row.burst?.given(pass.serial) - i64::from(row.target))).sum();
        pass.count_bursts(self.decoding.verify(), 0, beyond, &mut self.gaps, &mut self.speculated);
    }

    /// Rows whose results are in, and that do not end, decode from the table from now on, if their
    /// passes will be whole ones.
    pub(super) fn join_verifying(&mut self, sampling: &[Sample], ending: &[u32], end_ps: i64) {
        let engine = self.s.engine;
        let slides = self.groups.as_ref().is_some_and(|groups| groups.slides());
        if table(engine, 0).is_none() || self.s.log_blocks || slides || self.s.chains.generated_is_shared() {
            return;
        }
        let mut joining: Vec<u32> = sampling.iter().map(|sample| sample.slot).collect();
        if self.drafts != self.decoding.drafts() {
            joining.extend(self.make_explicit(self.drafts, end_ps));
            self.decoding = decode_set(engine, self.drafts, self.s.step_time.prices_longest());
        }
        joining.retain(|slot| !ending.contains(slot));
        for slot in joining {
            self.join(slot);
        }
    }

    fn join(&mut self, slot: u32) {
        let (engine, drafts, k) = (self.s.engine, self.drafts, self.k);
        let Some(draws) = table(engine, drafts) else { return };
        let row = &mut self.rows[slot as usize];
        let whole = row.drafts == drafts
            && (engine.long_prefill_token_threshold == 0 || engine.long_prefill_token_threshold > drafts)
            && row.prompt + row.target + drafts <= engine.max_model_len;
        if !whole || row.state != State::Explicit {
            return;
        }
        let burst = Burst::new(draws, draws.start(row.request) + row.verified, row.delivered, k);
        row.state = State::Decoding;
        row.drafts = 0;
        row.joined = k;
        row.finish_at = burst.finish_at(row.target, k);
        row.burst = Some(burst);
        let mut member = row.member(slot);
        member.held = self.pool.held(slot);
        self.decoding.insert(member);
        let position = self.explicit_before(self.rows[slot as usize].order);
        self.explicit.remove(position);
    }

    /// Takes all rows that verify drafts out of the decode set, with `drafts` to verify next; their last
    /// tokens have just come.
    pub(super) fn make_explicit(&mut self, drafts: u32, now_ps: i64) -> Vec<u32> {
        let Some(verify) = self.decoding.verify() else { return Vec::new() };
        let slots = self.decoding.due(self.k).to_vec();
        for &slot in &slots {
            let held = self.decoding.held(slot, 0, self.s.engine.block_size);
            self.decoding.remove(self.rows[slot as usize].member(slot));
            self.pool.settle(slot, held);
            let k = self.k;
            let row = &mut self.rows[slot as usize];
            let entered = (k > row.joined).then(|| row.prompt + row.sampled(k - 1));
            row.delivered = row.sampled(k);
            row.computed = row.computed_by(k);
            row.furthest = row.furthest.max(row.computed);
            row.drafts = drafts;
            if verify.drafts > 0 {
                row.verified += k - row.joined;
            }
            row.last_emit_ps = now_ps;
            row.burst = None;
            row.state = State::Explicit;
            if let Some(tokens) = entered.filter(|_| self.s.engine.enable_prefix_caching) {
                self.enter_hashes(slot, tokens / self.s.engine.block_size);
            }
        }
        let decodes = |slot: &&u32| self.rows[**slot as usize].state != State::Draining;
        self.explicit = self.running.iter().filter(decodes).copied().collect();
        slots
    }
}
