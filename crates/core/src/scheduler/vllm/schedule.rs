//! Deciding a pass, or a run of passes that are all alike.

use super::Vllm;
use super::admit::Admission;
use super::offload::Offload;
use super::row::{Planned, State};
use crate::config::vllm::Version;
use crate::log::PassRecord;
use crate::scheduler::Results;
use crate::scheduler::pass::{Pass, Sample};
use crate::step_time::Features;

impl Vllm<'_> {
    /// See [`crate::scheduler::Scheduler::schedule`].
    pub(super) fn decide(&mut self, now_ps: i64, start_ps: i64, results: &mut Results, pass: &mut Pass) -> bool {
        pass.clear();
        pass.start_ps = start_ps;
        pass.decided_ps = now_ps;
        pass.waiting = (self.holding.len() + self.waiting.len()) as u32;
        if let Some(groups) = &mut self.groups {
            groups.begin_pass();
        }
        self.take_news();
        self.catch_up(now_ps);
        if self.s.engine.async_scheduling {
            self.drain_ending_rows(start_ps);
        }
        pass.drafts = self.decoding.drafts();
        self.begin_cadence();
        let passes = if self.micro.is_some() { 0 } else { self.run_length() };
        if passes > 0 {
            pass.begin_run(&self.decoding, self.s.step_time, self.k, passes);
        } else if !self.schedule_pass(results, pass) {
            self.offload_pass(None, now_ps);
            return false;
        }
        pass.set_end();
        self.offload_pass(Some(pass), now_ps);
        if let Some(end_ps) = self.offload.as_ref().and_then(Offload::first_load_end_ps) {
            pass.truncate(end_ps, i64::from(self.s.engine.async_scheduling));
        }
        true
    }

    /// Async: rows that are certain to end with a token on its way take part in no further pass.
    fn drain_ending_rows(&mut self, start_ps: i64) {
        if self.decoding.verify().is_some() {
            return self.step_out_before_pass(start_ps);
        }
        if self.decoding.first_finish().is_none_or(|at| at > self.k) {
            return;
        }
        let certain = |&slot: &u32| self.rows[slot as usize].limit == self.rows[slot as usize].target;
        let ending: Vec<u32> = self.decoding.finishing_by(self.k).filter(certain).collect();
        for slot in ending {
            self.part_from_groups(slot, self.rows[slot as usize].computed_by(self.k));
            self.decoding.remove(self.rows[slot as usize].member(slot));
            self.forget_member(slot);
            self.rows[slot as usize].state = State::Draining;
            let order = self.rows[slot as usize].order;
            let position = self.explicit_before(order);
            self.explicit.insert(position, slot);
            if !self.s.engine.enable_chunked_prefill {
                self.head_blocked = false; // a whole prompt may fit the budget now
            }
        }
    }

    /// How many passes from here on only decode the rows that decode now, and admit nobody.
    fn run_length(&self) -> i64 {
        let engine = self.s.engine;
        let full = self.running.len() >= engine.max_num_seqs as usize;
        let some_wait = !self.waiting.is_empty() || self.some_loaded();
        let admits = some_wait && !self.head_blocked && !full;
        if admits
            || self.offload.as_ref().is_some_and(Offload::must_step)
            || !self.explicit.is_empty()
            || !self.late.is_empty()
            || !self.left_out.is_empty()
            || !self.leaving.is_empty()
            || self.decoding.len() * (1 + self.decoding.drafts() as usize) > engine.max_num_batched_tokens as usize
            || self.s.log_blocks
            || self.s.chains.generated_is_shared()
            || engine.drafts_after(self.decoding.len()) != self.decoding.drafts()
        {
            return 0;
        }
        let Some(finish_at) = self.decoding.first_finish() else { return 0 };
        let passes =
            (finish_at as i64 - self.k as i64).min((self.s.max_passes - self.passes).min(i64::MAX as u64) as i64);
        let wanted = if self.s.leap { passes } else { passes.min(1) };
        if let Some(groups) = &self.groups {
            let wanted = groups.quiet_passes(self.k, wanted, some_wait && !full);
            let blocks = i64::from(self.pool.unhashed() / groups.taken_at_once());
            return if wanted <= 0 { 0 } else { self.decoding.passes_within(self.k, blocks, wanted) };
        }
        if wanted <= 0 { 0 } else { self.decoding.passes_within(self.k, i64::from(self.pool.free()), wanted) }
    }

    /// Takes the blocks of a run whose length is final.
    pub(super) fn take_run(&mut self, pass: &mut Pass) {
        if pass.settled {
            return;
        }
        pass.settled = true;
        if self.s.log_passes {
            self.log_run(pass);
        }
        self.pool.take_unassigned(self.decoding.take(self.k, pass.passes) as u32 * self.taken_at_once());
        if self.groups.is_some() {
            self.pool.give_back(self.freed_by_windows(pass.passes));
        }
        pass.given = self.decoding.given(self.k, pass.passes);
        self.k = pass.serial;
        self.passes += pass.passes as u64;
        self.leaps += u64::from(pass.passes > 1);
        self.idle_passes = 0;
        self.note_run(pass.passes);
        for stretch in &pass.times.stretches {
            self.gaps.push(stretch.first, stretch.step, stretch.count, pass.decoding);
        }
    }

    /// One pass by the rules: the batch in order, then the queue.
    fn schedule_pass(&mut self, results: &mut Results, pass: &mut Pass) -> bool {
        if self.s.log_passes {
            pass.logged = Some(self.log.len());
            self.log.push(PassRecord {
                t_ps: pass.start_ps,
                scheduled_at_ps: pass.decided_ps,
                ..PassRecord::default()
            });
        }
        let threshold = self.long_prefill_threshold();
        let mut batch = match self.plan_batch(threshold) {
            Some(batch) => batch,
            None => self.fit_batch(threshold, pass.start_ps, results),
        };
        let decoding = self.decoding.len() - batch.left_out.len();
        let used = decoding as i64 * (1 + i64::from(self.decoding.drafts()))
            + self.planned.iter().map(|p| i64::from(p.tokens)).sum::<i64>();
        let mut features = self.decode_features(&batch.left_out);
        let some_prefilling = self.planned.iter().any(|p| self.rows[p.slot as usize].prefilling);
        let planned = std::mem::take(&mut self.planned);
        self.in_prompts.clear();
        if self.loads_blocks() {
            let slots = planned.iter().map(|planned| planned.slot);
            self.in_prompts.extend(slots.filter(|&slot| self.rows[slot as usize].prefilling));
        }
        for &row in &planned {
            self.advance(row, &mut features, pass);
        }
        self.admitted.clear();
        if batch.preempted == 0 {
            let budget = i64::from(self.s.engine.max_num_batched_tokens) - used;
            let now_ps = pass.decided_ps;
            let admission = Admission { budget, threshold, some_running: used > 0, some_prefilling, now_ps };
            self.admit(admission, results);
            self.note_admissions();
        }
        let admitted = std::mem::take(&mut self.admitted);
        for &row in &admitted {
            self.advance(row, &mut features, pass);
        }
        let empty = decoding == 0 && planned.is_empty() && admitted.is_empty();
        if empty && batch.preempted == 0 {
            if let Some(entry) = pass.logged.take() {
                self.log.truncate(entry);
            }
            self.planned = planned;
            self.admitted = admitted;
            return false;
        }
        if let Some(entry) = pass.logged {
            self.log_rows(entry, &batch.left_out, &planned, &admitted);
        }
        self.planned = planned;
        self.admitted = admitted;

        pass.given = self.decoding.given(self.k, 1);
        self.k += 1;
        self.drafts = self.s.engine.drafts_after(decoding + self.planned.len() + self.admitted.len());
        self.leave_out(&mut batch.left_out, pass);
        if self.s.engine.num_speculative_tokens == 0 {
            self.join_decode_set(&pass.sampling);
        } else if self.s.engine.async_scheduling {
            self.go_on_unseen(&pass.sampling);
        }
        // A pass that only preempts takes no time, but for copies that have to be waited for.
        let flush = self.offload.as_mut().map_or(0, |offload| offload.take_flush(pass.start_ps));
        let time = flush + if features.sequences == 0 { 0 } else { self.s.step_time.of(&features) };
        pass.begin_step(&features, time);
        pass.serial = self.k;
        pass.decoding = decoding as i64;
        self.passes += 1;
        self.idle_passes = if decoding > 0 || std::mem::take(&mut self.progress) { 0 } else { self.idle_passes + 1 };
        self.preempting = batch.preempted > 0;
        if let Some(entry) = pass.logged {
            self.log_state(entry, time);
        }
        true
    }

    fn long_prefill_threshold(&self) -> u32 {
        let engine = self.s.engine;
        let requests = (self.running.len() + self.holding.len() + self.waiting.len()) as u32;
        if engine.long_prefill_token_threshold == 0 || (engine.version == Version::V0_32 && requests <= 1) {
            0
        } else if engine.long_prefill_token_threshold_adaptive {
            engine.long_prefill_token_threshold.max(engine.max_num_batched_tokens / requests)
        } else {
            engine.long_prefill_token_threshold
        }
    }

    fn decode_features(&self, left_out: &[u32]) -> Features {
        let rows = (self.decoding.len() - left_out.len()) as i64;
        let missing: i64 =
            left_out.iter().map(|&slot| self.rows[slot as usize].member(slot).offset + self.k as i64 + 1).sum();
        let context = self.decoding.context(self.k + 1) - missing;
        let longest = self.decoding.longest(self.k + 1, left_out);
        Features::verify(rows, context, self.decoding.drafts()).with_longest(longest)
    }

    /// Carries out an explicit row's part of the pass.
    fn advance(&mut self, planned: Planned, features: &mut Features, pass: &mut Pass) {
        let Planned { slot, tokens: new, .. } = planned;
        self.hash_scheduled(slot, new);
        let last_pass = self.pass_mark();
        let row = &mut self.rows[slot as usize];
        let known = row.tokens() + row.placeholders;
        let past = row.computed;
        // What passes under way reject is taken back by the time that this one runs.
        let reached = past + new - row.rejected;
        if known > row.prompt && past + 1 >= known {
            features.decode_rows += 1;
            features.longest = features.longest.max(i64::from(reached));
            features.draft_tokens += i64::from(new - 1);
        } else {
            features.add_prefill(i64::from(past), i64::from(new));
        }
        row.computed += new;
        row.last_pass = last_pass;
        row.drafts = 0;
        row.prefilling = row.computed < known;
        features.context += i64::from(reached);
        features.sequences += 1;
        if !row.prefilling {
            features.ready_context += i64::from(reached);
            features.ready_rows += 1;
        }
        let computed = row.computed.min(known);
        if computed > row.furthest {
            row.furthest = computed;
            self.progress = true;
        }
        if !row.prefilling {
            let drafts = row.computed - known;
            pass.sampling.push(self.sample(slot, drafts));
        }
        if let Some(groups) = &mut self.groups {
            groups.table(slot).last_tokens = new;
        }
    }

    /// Enters blocks filled by `new` more tokens into the cache: at once, before they are computed.
    pub(super) fn hash_scheduled(&mut self, slot: u32, new: u32) {
        if !self.s.engine.enable_prefix_caching {
            return;
        }
        self.hash_generated(self.rows[slot as usize].order);
        self.store_in_groups(slot, new);
        let row = &self.rows[slot as usize];
        let blocks = (row.computed + new).min(row.tokens()) / self.s.engine.block_size;
        if blocks > self.pool.hashed(slot) {
            self.enter_hashes(slot, blocks);
            self.head_blocked = false; // the head of the queue may hit these blocks
        }
    }

    /// Notes which decoding rows the pass that was just counted left out, and which are back.
    fn leave_out(&mut self, left_out: &mut Vec<u32>, pass: &mut Pass) {
        for &slot in left_out.iter() {
            let row = &mut self.rows[slot as usize];
            if row.finish_at < self.k {
                row.left_out_at = self.k; // its last token is on its way: it ends before anything else
                continue;
            }
            let computed = row.computed_by(self.k - 1);
            self.part_from_groups(slot, computed);
            let row = &mut self.rows[slot as usize];
            self.decoding.remove(row.member(slot));
            row.finish_at += 1;
            self.decoding.insert(row.member(slot));
            self.join_groups(slot);
            let row = &mut self.rows[slot as usize];
            if row.left_out_at != self.k - 1 {
                row.last_emit_ps = pass.start_ps;
            }
            row.left_out_at = self.k;
        }
        for &slot in &self.left_out {
            let row = &self.rows[slot as usize];
            if row.state == State::Decoding && row.left_out_at == self.k - 1 {
                pass.returning.push(slot);
            }
        }
        self.left_out.clear();
        self.left_out.append(left_out);
    }

    /// Rows that get their first token (since they entered the batch) decode from now on.
    fn join_decode_set(&mut self, sampling: &[Sample]) {
        for &Sample { slot, .. } in sampling {
            let position = self.explicit_before(self.rows[slot as usize].order);
            self.explicit.remove(position);
            let row = &mut self.rows[slot as usize];
            row.state = State::Decoding;
            row.finish_at = self.k + u64::from(row.target - row.delivered - 1);
            self.decoding.insert(row.member(slot));
            self.note_member(slot);
            self.join_groups(slot);
        }
    }
}
