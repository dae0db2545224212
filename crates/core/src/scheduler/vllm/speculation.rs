//! Rows that verify drafts: in the decode set while their passes are all alike.
//!
//! They join it once their results are in or, with async scheduling, as soon as it is settled what these
//! are ([`super::ahead`]). They leave it, and are looked at one by one, where the budget or the blocks do
//! not suffice for all, or the number of drafts changes.

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
    // Under async scheduling all that the pass before computes counts as well.
    let passes = 1 + u32::from(engine.async_scheduling);
    let verify = table(engine, drafts).map(|draws| Verify {
        draws,
        drafts,
        slots: passes * (1 + drafts) + engine.num_lookahead_tokens,
        most: engine.max_model_len,
        ahead: engine.async_scheduling,
    });
    let mut set = DecodeSet::new(engine.block_size, verify, ordered);
    set.set_unknown(engine.async_scheduling);
    set
}

pub(super) fn table(engine: &config::Vllm, drafts: u32) -> Option<&Draws> {
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

    /// What an explicit row with `drafts` drafts gives in the pass that is being decided.
    pub(super) fn sample(&mut self, slot: u32, drafts: u32) -> Sample {
        let row = &mut self.rows[slot as usize];
        let padded = std::mem::take(&mut row.padded);
        let Some(acceptance) = self.s.engine.acceptance.as_ref().filter(|_| drafts > 0 && !padded) else {
            return Sample { drafts, ..Sample::single(slot) };
        };
        let ordinal = row.verified;
        row.verified += 1;
        let accepted = match acceptance {
            Acceptance::Cycle { pattern } => pattern.get(ordinal as usize % pattern.len().max(1)).map_or(0, |&one| one),
            Acceptance::Drawn(drawn) => {
                let draws = drawn.draws(self.s.engine.num_speculative_tokens);
                draws.at(draws.start(row.request) + ordinal) - 1
            }
        };
        Sample { slot, drafts, tokens: 1 + accepted.min(drafts), verifies: true }
    }

    /// Notes what the rows of the decode set gave in a pass, or a run of them; those that have left it since
    /// gave `beyond` tokens too many.
    pub(super) fn count_bursts(&mut self, pass: &Pass, beyond: i64) {
        let ending = self.decoding.finishing_by(pass.serial).map(|slot| &self.rows[slot as usize]);
        let more = ending.filter_map(|row| Some(row.burst?.given(pass.serial) - i64::from(row.target)));
        let beyond = beyond + more.sum::<i64>();
        let verify = self.decoding.verify().map(|verify| Verify { drafts: pass.drafts, ..verify });
        pass.count_bursts(verify, 0, beyond, &mut self.gaps, &mut self.speculated);
    }

    /// Whether rows may be in the decode set at all.
    pub(super) fn may_join(&self) -> bool {
        let slides = self.groups.as_ref().is_some_and(|groups| groups.slides());
        table(self.s.engine, 0).is_some() && !self.s.log_blocks && !slides && !self.s.chains.generated_is_shared()
    }

    /// Rows whose results are in, and that do not end, decode from the table from now on, if their
    /// passes will be whole ones.
    pub(super) fn join_verifying(&mut self, sampling: &[Sample], ending: &[u32], end_ps: i64) {
        let engine = self.s.engine;
        if engine.async_scheduling || !self.may_join() {
            return;
        }
        let mut joining: Vec<u32> = sampling.iter().map(|sample| sample.slot).collect();
        if self.drafts != self.decoding.drafts() {
            joining.extend(self.make_explicit(self.drafts, end_ps));
            self.decoding = decode_set(engine, self.drafts, self.s.step_time.prices_longest());
        }
        joining.retain(|slot| !ending.contains(slot));
        for slot in joining {
            self.join(slot, 0);
        }
    }

    /// An explicit row decodes from the table from now on, if its passes will be whole ones. Of its drafts on
    /// the way, `rejected` of the newest pass will be.
    pub(super) fn join(&mut self, slot: u32, rejected: u32) {
        let (engine, drafts, k) = (self.s.engine, self.drafts, self.k);
        let Some(draws) = table(engine, drafts) else { return };
        let row = &mut self.rows[slot as usize];
        let ahead = if engine.async_scheduling { 1 + engine.num_speculative_tokens } else { 0 };
        let given = row.delivered + row.placeholders - row.rejected;
        let whole = row.drafts == drafts
            && (engine.long_prefill_token_threshold == 0 || engine.long_prefill_token_threshold > drafts)
            && row.prompt + row.target + drafts + ahead <= engine.max_model_len;
        if !whole || row.state != State::Explicit || given >= row.target {
            return;
        }
        let burst = Burst::new(draws, draws.start(row.request) + row.verified, given, k);
        row.state = State::Decoding;
        row.drafts = 0;
        row.joined = k;
        row.finish_at = burst.finish_at(row.target, k);
        row.burst = Some(burst);
        let mut member = row.member(slot);
        member.held = self.pool.held(slot);
        if engine.async_scheduling {
            // What older passes reject is known by its first one here.
            row.first_computed = row.computed - (row.rejected - rejected);
            member.floor = Some(i64::from(row.first_computed + 1 + drafts + engine.num_lookahead_tokens));
        }
        self.decoding.insert(member);
        let position = self.explicit_before(self.rows[slot as usize].order);
        self.explicit.remove(position);
    }

    /// Takes all rows that verify drafts out of the decode set, with `drafts` to verify next; their last
    /// tokens come at `now_ps`.
    pub(super) fn make_explicit(&mut self, drafts: u32, now_ps: i64) -> Vec<u32> {
        if self.decoding.verify().is_none() {
            return Vec::new();
        }
        let slots = self.decoding.due(self.k).to_vec();
        for &slot in &slots {
            self.step_out(slot, drafts, now_ps);
        }
        let decodes = |slot: &&u32| self.rows[**slot as usize].state != State::Draining;
        self.explicit = self.running.iter().filter(decodes).copied().collect();
        slots
    }

    /// Takes one row out of the decode set. Who calls puts it among the explicit ones.
    pub(super) fn step_out(&mut self, slot: u32, drafts: u32, now_ps: i64) {
        let verified = self.decoding.drafts();
        let held = self.decoding.held(slot, 0, self.s.engine.block_size);
        self.decoding.remove(self.rows[slot as usize].member(slot));
        self.pool.settle(slot, held);
        let k = self.k;
        if self.s.engine.async_scheduling {
            self.note_unseen(slot, verified);
        }
        let row = &mut self.rows[slot as usize];
        let entered = if self.s.engine.async_scheduling {
            Some(row.tokens() - 1)
        } else {
            row.delivered = row.sampled(k);
            row.computed = row.computed_by(k);
            row.last_emit_ps = now_ps;
            (k > row.joined).then(|| row.prompt + row.sampled(k - 1))
        };
        row.furthest = row.furthest.max(row.computed);
        row.drafts = drafts;
        if verified > 0 {
            row.verified += k - row.joined;
        }
        row.burst = None;
        row.state = State::Explicit;
        if let Some(tokens) = entered.filter(|_| self.s.engine.enable_prefix_caching) {
            self.enter_hashes(slot, tokens / self.s.engine.block_size);
        }
    }
}
