//! Layers that do not keep every token: vLLM's other KV cache groups.
//!
//! A group of layers with a sliding window gives blocks back once they have left it; a layer with a state
//! needs the last one, as if it looked back two tokens, and its prompts are computed up to where a state is
//! to be kept. Their blocks are in the pool with those of full attention, and a prefix is used as far as all
//! groups have what the next token needs (vllm/v1/core/kv_cache_coordinator.py and
//! single_type_kv_cache_manager.py).
//!
//! A run of decodes frees and takes blocks without a hash only, in whatever order: what is cached stays as it
//! is. All else is a pass of its own ([`super::group_tables`]).

use super::Vllm;
use super::row::State;
use crate::config::vllm::{Groups, Vllm as Engine};
use crate::kv::block_pool::Hit;
use crate::kv::tier::Content;

impl Groups {
    /// Tokens that a layer looks back, itself among them.
    pub(super) fn window(&self) -> u32 {
        if self.has_state { 2 } else { self.window }
    }

    /// Blocks before a token that must be there for it to be computed.
    pub(super) fn needed(&self, block_size: u32) -> u32 {
        (self.window() - 1).div_ceil(block_size)
    }

    /// Blocks of a request and group for a state that stays where it is, and for those after each draft.
    pub(super) fn fixed(&self, engine: &Engine) -> Option<u32> {
        (self.has_state && !engine.enable_prefix_caching).then_some(1 + engine.num_speculative_tokens)
    }

    /// The most tokens in a window or under way (VllmConfig.max_in_flight_tokens).
    pub(super) fn at_once(&self, engine: &Engine) -> u32 {
        let passes = 1 + u32::from(engine.async_scheduling);
        (self.window() - 1).saturating_add(passes.saturating_mul(engine.max_num_batched_tokens))
    }

    /// The most blocks of these groups that a request of `tokens` tokens holds (max_memory_usage_bytes).
    pub(super) fn most(&self, engine: &Engine, tokens: u32) -> u64 {
        let blocks = match self.fixed(engine) {
            Some(fixed) => fixed,
            None if self.has_state => 2,
            None => (self.at_once(engine).div_ceil(engine.block_size) + 1).min(tokens.div_ceil(engine.block_size)),
        };
        u64::from(self.count) * u64::from(blocks)
    }
}

impl<'a> Vllm<'a> {
    /// Shortens a prefix of `hit` blocks to what all groups have.
    pub(super) fn find_in_groups(&mut self, request: u32, hit: Hit) -> Hit {
        let Some(groups) = &self.groups else { return hit };
        let Content { path, private } = self.content(request);
        let blocks = self.pool.reach_of_others(path, private, hit.blocks, groups.needed);
        let mut hit = if blocks < hit.blocks { self.pool.find(path, private, blocks) } else { hit };
        let from = groups.skipped(blocks * self.s.engine.block_size).min(blocks);
        hit.unheld += self.pool.find_others(path, private, from, blocks);
        hit
    }

    /// Tokens of a row's passes under way.
    fn in_flight(&self, slot: u32) -> u32 {
        let row = &self.rows[slot as usize];
        if self.updated >= self.k || row.left_out_at == self.k {
            0
        } else if row.state == State::Decoding && row.last_pass != self.k {
            1
        } else if row.last_pass == self.k {
            self.groups.as_ref().map_or(0, |groups| groups.last_tokens(slot))
        } else {
            0
        }
    }

    /// A row is about to compute `tokens` more: what it sees no more is free. Returns the blocks of these groups that
    /// it needs.
    pub(super) fn slide(&mut self, slot: u32, tokens: u32) -> u32 {
        let (k, in_flight) = (self.k, self.in_flight(slot));
        let ahead = self.s.engine.num_lookahead_tokens;
        let row = &self.rows[slot as usize];
        let Some(groups) = &mut self.groups else { return 0 };
        if row.state != State::Decoding {
            if groups.slides() {
                groups.give_up(&mut self.pool, slot, row.computed - in_flight);
            }
            return groups.more(slot, row.computed + tokens, ahead);
        }
        let computed = row.computed_by(k);
        if groups.slides() {
            groups.look_at(&mut self.pool, row.member(slot), k, computed - in_flight);
        }
        let due = computed.is_multiple_of(self.s.engine.block_size);
        if due { groups.taken_at_once() - 1 } else { 0 }
    }

    /// It has blocks for them.
    pub(super) fn has_slid(&mut self, slot: u32, tokens: u32) {
        let (k, in_flight) = (self.k, self.in_flight(slot));
        let row = &self.rows[slot as usize];
        let content = self.content(row.request);
        let ahead = self.s.engine.num_lookahead_tokens;
        let Some(groups) = &mut self.groups else { return };
        if row.state == State::Decoding {
            let known = row.computed_by(k) + 1 - in_flight.min(1);
            groups.note_state(slot, content, row.prompt, known);
        } else {
            groups.grow(&mut self.pool, slot, row.computed + tokens, ahead);
        }
    }

    /// Enters blocks filled by `new` more tokens into the cache, those of these groups.
    pub(super) fn store_in_groups(&mut self, slot: u32, new: u32) {
        if self.groups.is_none() {
            return;
        }
        let row = &self.rows[slot as usize];
        let content = self.content(row.request);
        if let Some(groups) = &mut self.groups {
            let known = (row.computed + new).min(row.tokens());
            groups.store(&mut self.pool, slot, content, row.prompt, known);
        }
    }

    /// The part of `tokens` tokens from `start` on, of a request with a prompt and `known` tokens, that ends where a
    /// state is to be kept: at the end of a block (Scheduler._mamba_block_aligned_split).
    pub(super) fn clip(&self, (prompt, known): (u32, u32), start: u32, tokens: u32, junction: u32) -> u32 {
        let engine = self.s.engine;
        let size = engine.block_size;
        let prefill_end = prompt.max(known - 1);
        if !self.groups.as_ref().is_some_and(|groups| groups.aligned) || tokens == 0 || start >= prefill_end {
            return tokens;
        }
        let mut end = start + tokens;
        if end < prefill_end {
            let threshold = engine.long_prefill_token_threshold;
            let most = if threshold > 0 { threshold } else { u32::MAX }.min(engine.max_num_batched_tokens);
            let whole = end / size * size;
            if whole > start || size <= most {
                end = whole;
            }
        }
        let aligned = |at: u32| if (start + 1..end).contains(&at) { at } else { end };
        let mut stop = aligned((known - 1) / size * size);
        if !start.is_multiple_of(size) {
            stop = stop.min(aligned((start / size + 1) * size));
        }
        if start < junction && junction < end {
            stop = stop.min(aligned(start + (junction - start) / size * size));
        }
        stop.saturating_sub(start)
    }

    /// A row frees its blocks, `release` those of full attention, in the order of the groups.
    pub(super) fn free_in_order(&mut self, slot: u32, release: impl FnOnce(&mut Self)) {
        let Some(groups) = &mut self.groups else { return release(self) };
        if groups.come_first {
            groups.release(&mut self.pool, slot);
            return release(self);
        }
        release(self);
        if let Some(groups) = &mut self.groups {
            groups.release(&mut self.pool, slot);
        }
    }

    /// Blocks that a decoding row takes where a token falls into a new one.
    pub(super) fn taken_at_once(&self) -> u32 {
        self.groups.as_ref().map_or(1, |groups| groups.taken_at_once())
    }

    /// Rows join the decode set, or leave it with `computed` tokens.
    #[inline]
    pub(super) fn join_groups(&mut self, slot: u32) {
        if let Some(groups) = self.groups.as_mut().filter(|groups| groups.slides()) {
            groups.join(slot, self.k);
        }
    }

    pub(super) fn part_from_groups(&mut self, slot: u32, computed: u32) {
        if let Some(groups) = self.groups.as_mut().filter(|groups| groups.slides()) {
            let row = &self.rows[slot as usize];
            if row.state == State::Decoding {
                groups.part(row.member(slot), computed);
            }
        }
    }

    /// Blocks that leave windows in the first `passes` passes of an unsettled run.
    pub(super) fn freed_by_windows(&self, passes: i64) -> u32 {
        self.groups.as_ref().map_or(0, |groups| groups.freed(self.k, passes))
    }

    /// For tests: blocks without a hash that rows hold in these groups.
    pub(super) fn held_in_groups(&self) -> u32 {
        let Some(groups) = &self.groups else { return 0 };
        let held = |&slot: &u32| {
            let row = &self.rows[slot as usize];
            let (k, _) = self.counters_of(slot);
            let decodes = row.state == State::Decoding;
            groups.unhashed(slot, decodes.then(|| row.computed_by(k) - u32::from(row.was_left_out_dead(k))))
        };
        self.running.iter().map(held).sum()
    }
}
