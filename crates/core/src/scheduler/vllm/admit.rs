//! The waiting loop: who enters the batch.

use super::Vllm;
use super::load::Outside;
use super::row::{Planned, Row, State};
use crate::config::Role;
use crate::config::vllm::{Policy, Version};
use crate::kv::block_pool::{BlockPool, Hit};
use crate::record::NEVER;
use crate::scheduler::Results;
use crate::waiting::Waiting;

/// How far the waiting loop has come in each queue: those before stay where they are.
#[derive(Clone, Copy, Default)]
pub(super) struct Passed {
    pub(super) holding: usize,
    pub(super) waiting: usize,
}

/// What the batch leaves to the queue.
pub(super) struct Admission {
    pub(super) budget: i64,
    pub(super) threshold: u32,
    /// Whether a request of the batch has a place in this pass.
    pub(super) some_running: bool,
    /// Whether one of these was in the middle of its prompt.
    pub(super) some_prefilling: bool,
    pub(super) now_ps: i64,
}

impl<'a> Vllm<'a> {
    /// The waiting loop: admits from the head of the queue what fits.
    pub(super) fn admit(&mut self, pass: Admission, results: &mut Results) {
        let Admission { mut budget, threshold, some_running, some_prefilling, now_ps } = pass;
        let engine = self.s.engine;
        let block_size = engine.block_size;
        // Where rows free blocks, or take those that are cached, the head is looked at in each pass of its own.
        if self.head_blocked && self.groups.is_none() {
            return;
        }
        self.hash_generated(u64::MAX);
        if let Some(offload) = &mut self.offload {
            offload.forget_put_off();
        }
        let mut passed = Passed::default();
        while budget > 0 && self.running.len() < engine.max_num_seqs as usize {
            let Some((head, loaded)) = self.candidate(&mut passed) else { break };
            let request = head.request;
            let prompt = self.s.trace.input_tokens[request as usize];
            let known = prompt + head.slot.map_or(0, |slot| self.rows[slot as usize].delivered);
            let (path, private) = (self.s.chains.path(request), self.s.chains.private_segment(request));
            let mut hit = Hit::default();
            let mut alone = 0; // blocks that full attention has, other groups or not
            let (cached, has) = if let Some(slot) = loaded {
                (self.take_loaded(slot, known), self.pool.held(slot))
            } else {
                if engine.enable_prefix_caching {
                    hit = self.find_prefix(path, private, (known - 1) / block_size);
                    alone = hit.blocks;
                    hit = self.find_in_groups(request, hit);
                }
                (hit.blocks * block_size, hit.blocks)
            };
            let watermark = if self.running.is_empty() { 0 } else { engine.watermark_blocks };
            let fits = |pool: &BlockPool, blocks: u64| {
                blocks + u64::from(hit.unheld) + u64::from(watermark) <= u64::from(pool.free())
            };
            let others = self.groups.as_ref().map_or(0, |groups| groups.whole(known, has));
            let whole = u64::from(self.blocks_for(known).saturating_sub(has)) + u64::from(others);
            let whole_fits = !engine.scheduler_reserve_full_isl || fits(&self.pool, whole);
            let outside = if loaded.is_some() { Outside::Nothing } else { self.look_outside(head, known, has, now_ps) };
            match outside {
                Outside::Nothing => {}
                Outside::Later => {
                    passed.waiting += 1;
                    continue;
                }
                Outside::Host(blocks) | Outside::Remote(blocks) => {
                    if !whole_fits || !fits(&self.pool, u64::from(blocks) + self.promised_blocks()) {
                        self.head_blocked = self.stays_blocked(false, whole_fits, now_ps);
                        break;
                    }
                    self.waiting.take(passed.waiting);
                    self.start_load(head, hit.blocks, outside, now_ps, results);
                    continue;
                }
            }
            let mut new = known - cached;
            if self.cadence.defers && new > 1 {
                break;
            }
            let drafts = engine.num_speculative_tokens;
            let padded = drafts > 0
                && engine.version == Version::V0_32
                && engine.num_speculative_tokens_per_batch_size.is_empty()
                && new == 1
                && !some_prefilling
                && (some_running || cached > 0)
                && cached + 2 + drafts <= engine.max_model_len;
            if padded {
                if i64::from(1 + drafts) > budget {
                    break;
                }
                new = 1 + drafts;
            }
            if threshold > 0 {
                new = new.min(threshold);
            }
            // The same test gives the same answer until a release, if the same rows decode in each pass
            // and no threshold moves with the number of requests.
            let steady = engine.long_prefill_token_threshold == 0 && self.planned_nothing() && self.admitted.is_empty();
            if !engine.enable_chunked_prefill && i64::from(new) > budget {
                self.head_blocked = self.stays_blocked(steady, true, now_ps);
                break;
            }
            new = new.min(budget as u32);
            if let Some(groups) = &self.groups {
                let junction = if alone > hit.blocks { alone * block_size } else { 0 };
                new = self.clip((prompt, known), cached, new, junction);
                if new == 0 || groups.puts_off(self.content(request), hit.blocks) {
                    break;
                }
            }
            // Before 0.32 a request whose blocks are not filled from outside has them only from its next pass on.
            let looks_ahead = engine.version == Version::V0_32 || loaded.is_some() && cached > 0;
            let lookahead = if looks_ahead { engine.num_lookahead_tokens } else { 0 };
            let first = self.blocks_for(cached + new + lookahead).saturating_sub(has);
            let extra = self.groups.as_ref().map_or(0, |groups| groups.first(cached + new, lookahead, has));
            if !whole_fits || !fits(&self.pool, u64::from(first) + u64::from(extra)) {
                self.head_blocked = self.stays_blocked(steady, whole_fits, now_ps);
                break;
            }
            match loaded {
                Some(_) => self.holding.take(passed.holding),
                None => self.waiting.take(passed.waiting),
            }
            let slot = self.enter_batch(head, cached, now_ps, results);
            self.in_prompts.extend(loaded); // vLLM counts it among those that load until the pass is decided
            if hit.blocks > 0 {
                self.pool.hold_found(slot);
            }
            if let Some(groups) = &mut self.groups {
                groups.admit(&mut self.pool, slot, hit.blocks, alone);
                groups.grow(&mut self.pool, slot, cached + new, lookahead);
            }
            self.pool.allocate(slot, first);
            if padded {
                self.rows[slot as usize].drafts = drafts;
                self.rows[slot as usize].padded = true;
            }
            self.hash_scheduled(slot, new);
            self.admitted.push(Planned { slot, tokens: new, blocks: first });
            budget -= i64::from(new);
        }
    }

    fn planned_nothing(&self) -> bool {
        self.explicit.iter().all(|&slot| self.rows[slot as usize].state == State::Draining)
    }

    /// Whether a request that does not fit will not until blocks are freed: the test is `steady`, or
    /// not even all its blocks together fit. With an offload only the latter counts: what is cached of
    /// the request gets less as others grow, and then it may load, or be passed by if that is being
    /// copied.
    fn stays_blocked(&self, steady: bool, whole_fits: bool, now_ps: i64) -> bool {
        let unshared = !self.s.chains.generated_is_shared();
        match &self.offload {
            None => unshared && (steady || !whole_fits),
            Some(offload) => unshared && !whole_fits && !offload.has_below() && !offload.is_copying(now_ps),
        }
    }

    pub(super) fn open_row(&mut self, row: Row<'a>) -> u32 {
        let request = row.request;
        let slot = self.vacant.pop().unwrap_or(self.rows.len() as u32);
        if slot as usize == self.rows.len() {
            self.rows.push(row)
        } else {
            self.rows[slot as usize] = row
        }
        self.pool.open(slot);
        if let Some(offload) = &mut self.offload {
            offload.open(slot, request);
        }
        slot
    }

    /// A row for a request that has been on no replica yet, and begins with `cached` tokens.
    pub(super) fn open_first_row(&mut self, request: u32, cached: u32, results: &mut Results) -> u32 {
        results.requests.cached_tokens[request as usize] = cached;
        self.open_row(self.new_row(request, results.requests.routed_ps[request as usize]))
    }

    fn enter_batch(&mut self, waiting: Waiting, cached: u32, now_ps: i64, results: &mut Results) -> u32 {
        let request = waiting.request;
        let slot = waiting.slot.unwrap_or_else(|| self.open_first_row(request, cached, results));
        if results.requests.scheduled_ps[request as usize] == NEVER {
            results.requests.scheduled_ps[request as usize] = now_ps;
        }
        let row = &mut self.rows[slot as usize];
        row.state = State::Explicit;
        row.order = self.next_order;
        row.computed = cached;
        row.padded = false;
        row.logged_blocks = 0;
        self.next_order += 1;
        self.running.push(slot);
        self.explicit.push(slot);
        if self.s.engine.scheduling_policy == Policy::Priority {
            let key = self.preemption_key(slot);
            self.by_priority.insert(key);
        }
        if self.s.log_passes
            && let Some(entry) = self.log.last_mut()
        {
            let resumed = results.requests.preemptions[request as usize] > 0;
            let list = if resumed { &mut entry.resumed } else { &mut entry.new };
            list.push(request);
        }
        slot
    }

    pub(super) fn new_row(&self, request: u32, arrival_ps: i64) -> Row<'a> {
        let trace = self.s.trace;
        let prompt = trace.input_tokens[request as usize];
        let context_left = self.s.engine.max_model_len.saturating_sub(prompt).max(1);
        let limit = match self.s.role {
            Role::Prefill => 1,
            _ => trace.max_output_tokens[request as usize].max(1).min(context_left),
        };
        Row {
            request,
            arrival_ps,
            state: State::Explicit,
            order: 0,
            prompt,
            target: trace.output_tokens[request as usize].max(1).min(limit),
            limit,
            delivered: 0,
            computed: 0,
            drafts: 0,
            padded: false,
            placeholders: 0,
            rejected: 0,
            prefilling: false,
            finish_at: 0,
            micro_batch: 0,
            last_emit_ps: NEVER,
            preempted: false,
            last_pass: u64::MAX,
            left_out_at: u64::MAX,
            verified: 0,
            burst: None,
            joined: 0,
            first_computed: 0,
            furthest: 0,
            logged_blocks: 0,
        }
    }

    /// Enters the generated blocks of the decoding rows before `order` into the cache, where others
    /// may hit them; those before the cut have their place in the pass. Costs the batch, and is done
    /// only for contents in which prompts repeat what was generated.
    pub(super) fn hash_generated(&mut self, order: u64) {
        if !self.s.chains.generated_is_shared() {
            return;
        }
        for index in 0..self.position(order) {
            let slot = self.running[index];
            let row = &self.rows[slot as usize];
            if row.state == State::Decoding {
                let (k, updated) = self.counters_of(slot);
                let in_pass = row.order < self.cut && self.decodes_here(slot);
                let computed = row.computed_by(k + u64::from(in_pass));
                let unknown = self.s.engine.async_scheduling && updated < k && row.left_out_at != k;
                let on_way = u32::from(unknown);
                self.bring_up_to_date(slot, computed, computed - on_way);
            }
        }
    }
}
