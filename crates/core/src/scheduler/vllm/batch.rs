//! The requests that run: who gets how many tokens and blocks, and who is preempted.

use super::row::{Planned, State};
use super::{PreemptionKey, Vllm};
use crate::config::vllm::{Policy, Version};
use crate::scheduler::Results;
use crate::waiting::Waiting;

/// What came of the requests that run.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) preempted: u32,
    /// Decoding rows that got no token: the budget was spent, or a row before them could not be fitted.
    pub(super) left_out: Vec<u32>,
}

impl Vllm<'_> {
    /// Plans the batch if the budget and the free blocks suffice for all of it: then the order in
    /// which rows take them does not matter. Costs the explicit rows.
    pub(super) fn plan_batch(&mut self, threshold: u32) -> Option<Batch> {
        self.planned.clear();
        self.cut = u64::MAX;
        if self.s.log_blocks || self.groups.is_some() {
            return None;
        }
        let budget = i64::from(self.s.engine.max_num_batched_tokens);
        let due = self.decoding.demand(self.k, 1) as u32;
        let each = 1 + i64::from(self.decoding.drafts());
        let (mut used, mut blocks) = (0, due);
        for (index, &slot) in self.explicit.iter().enumerate() {
            let row = &self.rows[slot as usize];
            if row.state == State::Draining {
                continue;
            }
            let decoding_before = match self.micro {
                None => (self.position(row.order) - index) as i64,
                Some(_) => self.decoding_before(row.order),
            };
            let left = budget - used - decoding_before * each;
            if left <= 0 {
                return None;
            }
            let tokens = self.wanted_tokens(slot, threshold, left);
            if tokens > 0 {
                let more = self.blocks_for_pass(row.computed + tokens).saturating_sub(self.pool.held(slot));
                self.planned.push(Planned { slot, tokens, blocks: more });
                used += i64::from(tokens);
                blocks += more;
            }
        }
        if used + self.decoding.len() as i64 * each > budget || blocks > self.pool.free() {
            return None;
        }
        self.pool.take_unassigned(due);
        self.decoding.take(self.k, 1);
        for &Planned { slot, blocks, .. } in &self.planned {
            self.pool.allocate(slot, blocks);
        }
        Some(Batch::default())
    }

    /// Fits the batch row by row, preempting where blocks run out. Costs the rows that need
    /// something, those preempted and those left out.
    pub(super) fn fit_batch(&mut self, threshold: u32, start_ps: i64, results: &mut Results) -> Batch {
        self.planned.clear();
        self.make_explicit(self.decoding.drafts(), start_ps);
        let mut batch = Batch::default();
        let mut items: Vec<u32> = self.explicit.iter().chain(self.decoding.due(self.k)).copied().collect();
        if let Some(groups) = &self.groups {
            groups.add_due(self.k, &mut items);
        }
        items.sort_unstable_by_key(|&slot| self.rows[slot as usize].order);
        items.dedup();
        let budget = i64::from(self.s.engine.max_num_batched_tokens);
        let mut used = 0;
        let mut cut = u64::MAX;
        // vLLM 0.19: when a row is removed that was skipped before this one, the loop passes over the next.
        let mut passed_over: Vec<u32> = Vec::new();
        'items: for slot in items {
            if self.rows[slot as usize].state == State::Waiting || passed_over.contains(&slot) {
                continue;
            }
            let order = self.rows[slot as usize].order;
            let decoding_before = self.decoding_before(order);
            let left = budget - used - decoding_before + passed_over.len() as i64;
            if left <= 0 {
                break;
            }
            let decodes = self.rows[slot as usize].state == State::Decoding;
            let (tokens, blocks) = if decodes {
                (1, u32::from(self.is_due(slot)))
            } else {
                let row = &self.rows[slot as usize];
                let tokens = self.wanted_tokens(slot, threshold, left);
                let more = self.blocks_for_pass(row.computed + tokens).saturating_sub(self.pool.held(slot));
                (tokens, more)
            };
            if tokens == 0 {
                continue;
            }
            let extra = self.slide(slot, tokens);
            while blocks + extra > self.pool.free() {
                let victim = self.victim();
                if self.keeps_blocks(victim) {
                    cut = order; // preempting it would free nothing yet
                    break 'items;
                }
                let victim_order = self.rows[victim as usize].order;
                batch.preempted += 1;
                if victim == slot {
                    self.preempt(victim, false, start_ps, results);
                    cut = order;
                    break 'items;
                }
                let undone = self.planned.iter().position(|p| p.slot == victim);
                if let Some(index) = undone {
                    used -= i64::from(self.planned.remove(index).tokens);
                }
                let scheduled = undone.is_some() || victim_order < order && self.decodes_here(victim);
                if victim_order < order && !scheduled && self.s.engine.version == Version::V0_19 {
                    passed_over.extend(self.running.get(self.position(order) + 1));
                }
                self.preempt(victim, scheduled, start_ps, results);
            }
            if decodes && !self.s.log_blocks {
                self.pool.take_unassigned(blocks + extra);
            } else {
                self.pool.allocate(slot, blocks);
            }
            self.has_slid(slot, tokens);
            if !decodes {
                self.hash_scheduled(slot, tokens); // at once: these hashes stay even if the row is preempted in this pass
                self.planned.push(Planned { slot, tokens, blocks });
                used += i64::from(tokens);
            }
        }
        cut = cut.min(self.budget_cut(budget - used + passed_over.len() as i64));
        let decodes = |slot: &u32| self.decodes_here(*slot);
        let after_cut = self.running[self.position(cut)..].iter().copied();
        batch.left_out.extend(after_cut.filter(decodes));
        passed_over.retain(|slot| decodes(slot) && self.rows[*slot as usize].order < cut);
        batch.left_out.extend(passed_over);
        self.cut = cut;
        batch
    }

    /// Whether a decoding row needs a block in the pass being decided.
    fn is_due(&self, slot: u32) -> bool {
        self.groups.is_none() || self.rows[slot as usize].computed_by(self.k).is_multiple_of(self.s.engine.block_size)
    }

    /// The order of the first decoding row for which a budget of `tokens` does not suffice.
    fn budget_cut(&self, tokens: i64) -> u64 {
        if self.decoding.len() as i64 <= tokens {
            return u64::MAX;
        }
        if let Some(order) = self.member_order(tokens) {
            return order;
        }
        let (mut low, mut high) = (0, self.running.len() - 1);
        while low < high {
            let middle = (low + high) / 2;
            let order = self.rows[self.running[middle] as usize].order;
            let decoding_upto = (middle + 1 - self.explicit_before(order + 1)) as i64;
            if decoding_upto > tokens { high = middle } else { low = middle + 1 }
        }
        self.rows[self.running[low] as usize].order
    }

    /// Whether a pass under way may still write to a row's blocks where loads could write as well:
    /// these blocks are not given away before that pass has ended.
    fn keeps_blocks(&self, slot: u32) -> bool {
        let row = &self.rows[slot as usize];
        let in_last_pass = match row.state {
            State::Decoding => row.left_out_at != self.k,
            State::Draining => row.finish_at > self.updated,
            _ => row.last_pass == self.k,
        };
        self.loads_blocks() && self.updated < self.k && in_last_pass
    }

    fn victim(&self) -> u32 {
        match self.s.engine.scheduling_policy {
            Policy::Fcfs => *self.running.last().expect("a row that lacks blocks is in the batch"),
            Policy::Priority => self.by_priority.last().expect("a row that lacks blocks is in the batch").3,
        }
    }

    /// Takes a row out of the batch and all its blocks away. `scheduled`: it already had a place
    /// in this pass.
    fn preempt(&mut self, slot: u32, scheduled: bool, start_ps: i64, results: &mut Results) {
        self.in_its_turn(slot, |vllm| vllm.preempt_here(slot, scheduled, start_ps, results));
    }

    fn preempt_here(&mut self, slot: u32, scheduled: bool, start_ps: i64, results: &mut Results) {
        let mut on_way = 0;
        if matches!(self.rows[slot as usize].state, State::Decoding | State::Draining) {
            let row = &mut self.rows[slot as usize];
            let left_out_before = row.left_out_at == self.k;
            on_way = u32::from(self.updated < self.k && !left_out_before);
            let sampled = match row.state {
                State::Draining => row.target,
                _ => row.sampled(self.k),
            };
            let computed = row.prompt + sampled - 1 + u32::from(scheduled);
            row.delivered = sampled - on_way;
            if !left_out_before && on_way == 0 {
                row.last_emit_ps = start_ps;
            }
            let unknown = if self.s.engine.async_scheduling { on_way } else { 0 };
            self.bring_up_to_date(slot, computed, computed - unknown);
            self.part_from_groups(slot, computed);
        }
        self.leave_batch(slot);
        self.free_in_order(slot, |vllm| vllm.pool.release(slot));
        if let Some(offload) = &mut self.offload {
            offload.preempt(slot);
        }
        let row = &mut self.rows[slot as usize];
        row.state = State::Waiting;
        row.computed = 0;
        row.drafts = 0;
        (row.placeholders, row.rejected) = (0, 0);
        row.prefilling = false;
        row.preempted = true;
        if on_way > 0 {
            self.late.push((slot, self.k));
        }
        let (request, arrival_ps) = (row.request, row.arrival_ps);
        let key = self.key(request, arrival_ps);
        self.waiting.push_preempted(key, Waiting { request, slot: Some(slot) });
        self.note_stale(slot, on_way > 0);
        self.head_blocked = false;
        results.requests.preemptions[request as usize] += 1;
        if self.s.log_passes
            && let Some(entry) = self.log.last_mut()
        {
            entry.preempted.push(request);
        }
    }

    /// Tells the pool what a decoding row holds by now: blocks for `computed` tokens, of which
    /// the first `known` have hashes.
    pub(super) fn bring_up_to_date(&mut self, slot: u32, computed: u32, known: u32) {
        self.pool.settle(slot, self.blocks_for(computed));
        if self.s.engine.enable_prefix_caching {
            self.enter_hashes(slot, known / self.s.engine.block_size);
        }
    }

    /// Enters the first `blocks` blocks of a row into the cache.
    pub(super) fn enter_hashes(&mut self, slot: u32, blocks: u32) {
        let request = self.rows[slot as usize].request;
        let (path, private) = (self.s.chains.path(request), self.s.chains.private_segment(request));
        self.pool.hash_upto(slot, path, private, blocks);
    }

    pub(super) fn leave_batch(&mut self, slot: u32) {
        let row = &self.rows[slot as usize];
        let order = row.order;
        if row.state == State::Decoding {
            self.decoding.remove(row.member(slot));
            self.forget_member(slot);
        } else {
            let position = self.explicit_before(order);
            self.explicit.remove(position);
        }
        let position = self.position(order);
        self.running.remove(position);
        if self.s.engine.scheduling_policy == Policy::Priority {
            let key = self.preemption_key(slot);
            self.by_priority.remove(&key);
        }
    }

    /// The greatest goes first; of equals, the first in the batch.
    pub(super) fn preemption_key(&self, slot: u32) -> PreemptionKey {
        let row = &self.rows[slot as usize];
        let priority = self.s.trace.priority[row.request as usize];
        (priority, row.arrival_ps, std::cmp::Reverse(row.order), slot)
    }

    /// The tokens an explicit row takes of a budget of `left`.
    fn wanted_tokens(&self, slot: u32, threshold: u32, left: i64) -> u32 {
        let row = &self.rows[slot as usize];
        if row.state == State::Draining || row.prefilling && self.cadence.defers {
            return 0;
        }
        // Its token on the way is its last for certain.
        if row.placeholders > 0 && row.delivered + 1 >= row.limit {
            return 0;
        }
        let mut tokens = row.tokens() + row.placeholders + row.drafts - row.computed;
        if threshold > 0 {
            tokens = tokens.min(threshold);
        }
        let context_left = self.s.engine.max_model_len.saturating_sub(row.computed + 1);
        let tokens = tokens.min(left.min(i64::from(u32::MAX)) as u32).min(context_left);
        match &self.groups {
            Some(groups) => self.clip((row.prompt, row.tokens()), row.computed, tokens, groups.junction(slot)),
            None => tokens,
        }
    }

    /// Blocks for `tokens` tokens, and for those that a drafting head computes ahead.
    pub(super) fn blocks_for_pass(&self, tokens: u32) -> u32 {
        self.blocks_for(tokens + self.s.engine.num_lookahead_tokens)
    }

    pub(super) fn blocks_for(&self, tokens: u32) -> u32 {
        tokens.min(self.s.engine.max_model_len.max(1)).div_ceil(self.s.engine.block_size)
    }
}
