//! Taking in the results of a pass: tokens reach their clients, requests end.

use super::Vllm;
use super::row::State;
use crate::config::Role;
use crate::record::Status;
use crate::scheduler::Results;
use crate::scheduler::pass::{Pass, Sample};

impl Vllm<'_> {
    /// See [`crate::scheduler::Scheduler::update`].
    pub(super) fn take_results(&mut self, pass: &mut Pass, next: Option<&mut Pass>, results: &mut Results) {
        let end_ps = pass.end_ps;
        self.take_run(pass);
        self.updated = pass.serial;
        self.end_stale();
        while let Some(&(serial, slot)) = self.leaving.first()
            && serial <= pass.serial
        {
            self.leaving.remove(0);
            self.part_with(slot);
        }
        let speculative = self.s.engine.num_speculative_tokens > 0;
        let mut ending: Vec<u32> = Vec::new();
        let beyond = self.see(pass, &mut ending);
        if !pass.is_run {
            let steady = pass.decoding - pass.returning.len() as i64 - pass.dead;
            self.gaps.push_one(end_ps - pass.start_ps, steady);
        }
        self.count_bursts(pass, beyond);
        for &slot in &pass.returning {
            self.gaps.push_one(end_ps - self.rows[slot as usize].last_emit_ps, 1);
        }
        for &sample in &pass.sampling {
            if speculative {
                if self.deliver_verified(sample, end_ps, pass.logged, results) {
                    ending.push(sample.slot);
                }
            } else if self.rows[sample.slot as usize].state != State::Waiting {
                self.deliver(sample.slot, end_ps, 1, pass.logged, results);
            }
        }
        for index in (0..self.late.len()).rev() {
            let (slot, serial) = self.late[index];
            if serial <= pass.serial && self.rows[slot as usize].micro_batch as usize == self.turn() {
                self.late.remove(index);
                if pass.sampling.iter().any(|sample| sample.slot == slot) {
                    self.deliver(slot, end_ps, 1, pass.logged, results);
                }
                let row = &mut self.rows[slot as usize];
                row.delivered += 1;
                row.last_emit_ps = end_ps;
                if row.delivered == row.target {
                    ending.push(slot);
                }
            }
        }
        ending.extend(self.decoding.finishing_by(pass.serial));
        for &slot in &self.explicit {
            let row = &self.rows[slot as usize];
            if row.state == State::Draining && row.finish_at <= pass.serial {
                ending.push(slot);
            }
        }
        ending.sort_unstable_by_key(|&slot| self.rows[slot as usize].order);
        if speculative {
            self.join_verifying(&pass.sampling, &ending, end_ps);
        }
        let mut next = next;
        for &slot in &ending {
            self.end(slot, end_ps, next.as_deref_mut(), results);
        }
        if let Some(entry) = pass.logged {
            let unseen = match next {
                Some(next) if !next.settled => (self.demand(1), self.freed_by_windows(1)),
                _ => (0, 0),
            };
            self.log[entry].free_end = Some(self.pool.free() + unseen.1 - unseen.0);
            self.log[entry].finished.extend(ending.iter().map(|&slot| self.rows[slot as usize].request));
        }
    }

    /// A row's token reaches its client; the row has `delivered` of them already.
    fn deliver(&mut self, slot: u32, end_ps: i64, tokens: u32, logged: Option<usize>, results: &mut Results) {
        let row = &mut self.rows[slot as usize];
        let request = row.request as usize;
        if self.s.trace.output_tokens[request] == 0 || self.s.role == Role::Prefill {
            return;
        }
        if row.delivered == 0 {
            results.requests.first_token_ps[request] = end_ps;
            results.first_tokens.push(row.request);
        } else {
            let gap_ps = end_ps - row.last_emit_ps;
            self.gaps.push_one(gap_ps, 1);
            if row.preempted {
                results.requests.resumed(request, gap_ps);
            }
        }
        row.preempted = false;
        if tokens > 1 {
            self.gaps.push_within_bursts(i64::from(tokens) - 1);
        }
        if let Some(entry) = logged {
            self.log[entry].emitted.push((row.request, tokens));
        }
    }

    /// Speculation: delivers the accepted drafts and one more token. Returns whether the row ends.
    fn deliver_verified(&mut self, sample: Sample, end_ps: i64, logged: Option<usize>, results: &mut Results) -> bool {
        let Sample { slot, drafts, .. } = sample;
        if sample.verifies {
            self.speculated.add(1, drafts.into(), u64::from(sample.tokens - 1));
        }
        let row = &self.rows[slot as usize];
        let tokens = sample.tokens.min(row.target - row.delivered);
        let request = row.request;
        self.deliver(slot, end_ps, tokens, logged, results);
        let ends = self.take_back(sample, end_ps);
        if drafts > 0
            && self.s.trace.output_tokens[request as usize] > 0
            && let Some(entry) = logged
        {
            self.log[entry].accepted.push((request, tokens - 1));
        }
        ends
    }

    /// Frees the blocks of a row that ended, once no pass under way may write to them where loads could as
    /// well: the last it was in raised the counter to `serial`. Others may find them in the cache before that.
    fn part_with_after(&mut self, serial: u64, slot: u32) {
        if serial > self.updated && self.loads_blocks() {
            self.enter_ended(slot);
            self.leaving.push((serial, slot));
        } else {
            self.part_with(slot);
        }
    }

    /// Frees the blocks of a row that decoded to its end.
    fn part_with(&mut self, slot: u32) {
        self.free_in_order(slot, |vllm| vllm.release_ended(slot));
        self.vacant.push(slot);
        self.head_blocked = false;
    }

    fn release_ended(&mut self, slot: u32) {
        self.enter_ended(slot);
        self.pool.release(slot);
    }

    /// Enters all that an ended row has computed into the cache.
    fn enter_ended(&mut self, slot: u32) {
        let row = &self.rows[slot as usize];
        if self.s.engine.enable_prefix_caching {
            let computed = match row.burst {
                // What its last pass gave was not known when blocks were entered into the cache.
                Some(_) if !self.s.engine.async_scheduling => row.prompt + row.sampled(row.finish_at - 1),
                _ => row.prompt + row.target - 1,
            };
            let whole = computed / self.s.engine.block_size;
            self.pool.hash_ended(slot, self.s.chains.path(row.request), whole);
        }
    }

    /// A request is complete: its row leaves, wherever it is.
    fn end(&mut self, slot: u32, end_ps: i64, next: Option<&mut Pass>, results: &mut Results) {
        let row = &self.rows[slot as usize];
        let request = row.request;
        match row.state {
            State::Waiting => {
                let key = self.key(request, row.arrival_ps);
                self.waiting.remove(key, request);
                self.vacant.push(slot);
            }
            State::Loading | State::Loaded => unreachable!("no token of a request that loads is on its way"),
            State::Explicit => {
                let last_pass = row.last_pass;
                if let Some(next) = next {
                    next.sampling.retain(|sample| sample.slot != slot);
                }
                self.leave_batch(slot);
                if self.s.role == Role::Prefill {
                    self.hold(slot, results);
                    return;
                }
                if self.s.engine.async_scheduling {
                    self.part_with_after(last_pass, slot);
                } else {
                    self.free_in_order(slot, |vllm| vllm.pool.release(slot));
                    self.vacant.push(slot);
                }
            }
            State::Decoding | State::Draining => {
                let mut held = row.prompt + row.target - 1;
                let mut written_by = self.updated;
                if row.state == State::Decoding && (row.burst.is_none() || self.s.engine.async_scheduling) {
                    let left_out = row.was_left_out_dead(self.k);
                    held = row.computed_by(self.k) - u32::from(left_out);
                    if self.k > self.updated
                        && !left_out
                        && let Some(next) = next
                    {
                        written_by = next.serial;
                        next.dead += 1;
                        next.given -= row.burst.map_or(1, |burst| i64::from(burst.gives(self.k - 1)));
                        next.returning.retain(|&other| other != slot);
                        if let Some(entry) = next.logged {
                            self.log[entry].emitted.retain(|&(other, _)| other != request);
                        }
                    }
                }
                let stored = held;
                let held = match row.burst {
                    Some(_) => self.decoding.held(slot, held, self.s.engine.block_size),
                    None => self.blocks_for(held),
                };
                self.part_from_groups(slot, stored);
                self.leave_batch(slot);
                self.pool.settle(slot, held);
                if self.s.role == Role::Prefill {
                    self.hold(slot, results);
                    return;
                }
                self.part_with_after(written_by, slot);
            }
        }
        self.head_blocked = false;
        if let Some(offload) = &mut self.offload {
            let prompt = self.rows[slot as usize].prompt.min(self.s.engine.max_model_len);
            let prompt_blocks = prompt / self.s.engine.block_size;
            offload.end(slot, request, prompt_blocks, end_ps);
        }
        results.ended.push(request);
        let (requests, request) = (&mut *results.requests, request as usize);
        let output = self.s.trace.output_tokens[request].min(self.rows[slot as usize].target);
        requests.output_tokens[request] = output;
        if output > 0 {
            requests.last_token_ps[request] = end_ps;
        }
        requests.end_ps[request] = end_ps;
        requests.status[request] = Status::Completed as u8;
    }
}
