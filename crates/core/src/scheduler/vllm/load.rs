//! Requests that wait for blocks to be filled from outside the GPU (vLLM: WAITING_FOR_REMOTE_KVS).
//!
//! Such a request holds all the blocks it loads, beside the queue, and others are admitted meanwhile.
//! Once all is there it is looked at before the queue, with at least one token to compute.

use super::Vllm;
use super::admit::Passed;
use super::row::{Planned, State};
use crate::config::vllm::{Place, Version};
use crate::scheduler::{Move, Results, Wanted};
use crate::waiting::Waiting;

/// What a request that waits can have from outside the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outside {
    Nothing,
    /// Some of it is being copied: others may pass.
    Later,
    /// From host memory, so many blocks after those the GPU has.
    Host(u32),
    /// All its prompt, from where it was computed; it needs so many blocks.
    Remote(u32),
}

impl Outside {
    pub(super) fn blocks(self) -> u32 {
        match self {
            Outside::Nothing | Outside::Later => 0,
            Outside::Host(blocks) | Outside::Remote(blocks) => blocks,
        }
    }
}

impl<'a> Vllm<'a> {
    /// What `head` can have of its `known` tokens, beyond the `local` blocks that the GPU has.
    pub(super) fn look_outside(&mut self, head: Waiting, known: u32, local: u32, now_ps: i64) -> Outside {
        if head.slot.is_none() && self.remote.contains_key(&head.request) {
            return Outside::Remote(self.blocks_for(known) - local);
        }
        self.look_at_host(head, known, local, now_ps)
    }

    /// The request to look at next, and its slot if it holds blocks.
    pub(super) fn candidate(&self, passed: &mut Passed) -> Option<(Waiting, Option<u32>)> {
        while let Some(waiting) = self.holding.get(passed.holding) {
            if waiting.slot.is_some_and(|slot| self.rows[slot as usize].state == State::Loaded) {
                return Some((waiting, waiting.slot));
            }
            passed.holding += 1;
        }
        loop {
            let waiting = self.waiting.get(passed.waiting)?;
            if !self.is_stale(waiting.slot) {
                return Some((waiting, None));
            }
            passed.waiting += 1;
        }
    }

    /// Whether a request that waits has all that it was to load.
    pub(super) fn some_loaded(&self) -> bool {
        let mut slots = self.holding.iter().filter_map(|waiting| waiting.slot);
        slots.any(|slot| self.rows[slot as usize].state == State::Loaded)
    }

    /// Enters loaded blocks into the cache. Returns the tokens that need not be computed: the last
    /// one is, for what comes after it.
    pub(super) fn take_loaded(&mut self, slot: u32, known: u32) -> u32 {
        let computed = self.rows[slot as usize].computed;
        if self.s.engine.enable_prefix_caching {
            self.enter_hashes(slot, computed / self.s.engine.block_size);
        }
        self.rows[slot as usize].computed = computed.min(known - 1);
        self.rows[slot as usize].computed
    }

    /// Blocks that requests in the middle of their prompts are yet to take. What loads cannot be
    /// preempted, so it is let in only beside these, and what its first drafts take; before 0.32 beside nothing.
    pub(super) fn promised_blocks(&self) -> u64 {
        if self.s.engine.version == Version::V0_19 {
            return 0;
        }
        // Those whose prompts end with this pass count still.
        let is_prefilling = |&slot: &u32| {
            let row = &self.rows[slot as usize];
            let goes_on = |planned: &Planned| planned.slot == slot && row.computed + planned.tokens < row.tokens();
            row.prefilling || self.in_prompts.contains(&slot) || self.admitted.iter().any(goes_on)
        };
        let prefilling = self.explicit.iter().copied().filter(is_prefilling);
        let engine = self.s.engine;
        let drafts = engine.num_speculative_tokens;
        let verified = if drafts > 0 { 1 + drafts + engine.num_lookahead_tokens } else { 0 };
        let missing = |slot: u32| {
            let tokens = self.rows[slot as usize].tokens() + verified;
            u64::from(self.blocks_for(tokens).saturating_sub(self.pool.held(slot)))
        };
        let promised: u64 = prefilling.chain(self.holding.iter().filter_map(|waiting| waiting.slot)).map(missing).sum();
        promised + u64::from(verified.div_ceil(engine.block_size))
    }

    /// Notes where the `tokens` come from that a request loads.
    fn note_sources(&mut self, request: u32, tokens: u32, results: &mut Results) {
        let block_size = self.s.engine.block_size;
        let Some(offload) = &mut self.offload else { return };
        let loaded = &mut results.requests.loaded;
        let mut of_host = tokens;
        for (place, blocks) in offload.sources(request, tokens.div_ceil(block_size)) {
            let from_there = (blocks * block_size).min(of_host);
            of_host -= from_there;
            match place {
                Place::Disk => loaded.disk[request as usize] = from_there,
                Place::Shared => loaded.shared[request as usize] = from_there,
            }
        }
        loaded.host[request as usize] = of_host;
    }

    /// Gives a request blocks for what it can have from outside, beyond the `local` ones that the GPU
    /// has: it waits until they are filled.
    pub(super) fn start_load(
        &mut self,
        waiting: Waiting,
        local: u32,
        outside: Outside,
        now_ps: i64,
        results: &mut Results,
    ) {
        let Waiting { request, slot } = waiting;
        let block_size = self.s.engine.block_size;
        let prompt = self.s.trace.input_tokens[request as usize];
        let blocks = outside.blocks();
        let (slot, computed) = match outside {
            Outside::Remote(_) => {
                let arrival_ps = self.remote.remove(&request).expect("a request that is computed elsewhere");
                let wanted = Wanted { id: request, kind: Move::Handover, tokens: blocks * block_size };
                results.wanted.push(wanted);
                (self.open_row(self.new_row(request, arrival_ps)), prompt)
            }
            _ => {
                let computed = (local + blocks) * block_size;
                let slot = slot.unwrap_or_else(|| {
                    // Of a prompt that is all there, the last token is computed again.
                    let cached = computed.min(prompt - 1);
                    self.note_sources(request, cached - local * block_size, results);
                    self.open_first_row(request, cached, results)
                });
                (slot, computed)
            }
        };
        if local > 0 {
            self.pool.hold_found(slot);
        }
        self.pool.allocate(slot, blocks);
        let row = &mut self.rows[slot as usize];
        row.state = State::Loading;
        row.computed = computed;
        let key = self.key(request, self.rows[slot as usize].arrival_ps);
        self.holding.push_arrival(key, Waiting { request, slot: Some(slot) });
        if let Outside::Host(_) = outside {
            self.load_from_host(slot, local, local + blocks, now_ps);
        }
    }
}
