//! Deciding a pass, or a run of decodes that are all alike.

use super::hicache::Copies;
use super::{Kind, OnWay, Sglang};
use crate::config::Role;
use crate::scheduler::{Pass, Results};

impl Sglang<'_> {
    /// See [`crate::scheduler::Scheduler::schedule`].
    pub(super) fn decide(&mut self, now_ps: i64, start_ps: i64, results: &mut Results, pass: &mut Pass) -> bool {
        pass.clear();
        pass.start_ps = if self.micro.is_none() { start_ps } else { now_ps };
        pass.decided_ps = now_ps;
        self.decision += 1;
        self.submit_backups(now_ps);
        self.end_copies(now_ps);
        self.on_way = match self.last {
            _ if self.in_flight == 0 => OnWay::Nothing,
            Kind::Prefill => OnWay::Prefills,
            Kind::Decode if self.is_decode_replica() => OnWay::Decodes,
            Kind::Mixed | Kind::Decode => OnWay::All,
        };
        self.decoding.set_unknown(matches!(self.on_way, OnWay::All | OnWay::Decodes));
        match self.s.role {
            Role::Aggregated => {}
            Role::Prefill => self.look_at_transfers(),
            Role::Decode => self.receive(now_ps, results),
        }
        let merges = self.merges_prefill();
        self.join_batch();
        pass.waiting = self.waiting.len() as u32;
        let passes = if self.micro.is_some() { 0 } else { self.run_length() };
        if passes > 0 {
            pass.begin_run(&self.decoding, self.s.step_time, self.k, passes);
        } else if !self.schedule_pass(results, pass) {
            if merges {
                self.failure = Some("SGLang fails here: a micro-batch lost all its rows right after a prefill");
            }
            return false;
        }
        pass.set_end();
        self.in_flight += 1;
        true
    }

    /// One pass by the rules: a prefill, else a decode.
    fn schedule_pass(&mut self, results: &mut Results, pass: &mut Pass) -> bool {
        loop {
            self.vacated = false;
            if self.prefill(results, pass) || self.failure.is_none() && self.decode(results, pass) {
                return true;
            }
            // The engine's loop comes round at once, unless it has results to wait for, or others have their turn.
            let others = self.on_way != OnWay::Nothing || self.micro.is_some();
            if self.failure.is_some() || !self.vacated || others {
                return false;
            }
            if self.is_decode_replica() {
                self.receive(pass.decided_ps, results);
            }
        }
    }

    /// Puts what the last pass computed where it belongs: an open chunk into the tree, completed
    /// prompts into the batch.
    fn join_batch(&mut self) {
        if let Some(slot) = self.chunked {
            let end = self.rows[slot as usize].extend_end;
            // Where windows were short, its last pass computed nothing of it.
            if end > self.rows[slot as usize].prefix {
                self.checkpoint(slot, end);
                self.rows[slot as usize].prefix = end;
            }
        }
        if std::mem::take(&mut self.was_cut) {
            self.batch_is_full = false;
        }
        let mixed = self.last == Kind::Mixed;
        if self.joining.is_empty() || self.is_prefill_replica() {
            return;
        }
        if mixed || self.running.is_empty() {
            self.batch_is_full = false; // the pass's batch is the batch from now on
        }
        let joining = std::mem::take(&mut self.joining);
        let count = joining.len() as u64;
        // In a mixed pass the decoding rows come after the others.
        if mixed {
            self.first_order -= count;
        }
        let first = if mixed { self.first_order } else { self.next_order };
        for (index, &slot) in joining.iter().enumerate() {
            self.rows[slot as usize].order = first + index as u64;
            self.start_decoding(slot);
        }
        self.fresh.extend(&joining);
        if mixed {
            self.running.splice(0..0, joining.iter().copied());
        } else {
            self.next_order += count;
            self.running.extend(&joining);
        }
        self.joining = joining;
        self.joining.clear();
    }

    /// How many passes from here on only decode the rows that decode now, evict nothing, and admit nobody.
    fn run_length(&mut self) -> i64 {
        let engine = self.s.engine;
        let full = self.running.len() >= engine.max_running_requests as usize;
        let retries = engine.preempts() || self.window.is_some() && !full;
        let admits = !self.waiting.is_empty() && (retries || !self.batch_is_full && !full);
        // Gaps differ in the first decode after a prefill.
        let follows_decode = self.last == Kind::Decode && self.fresh.is_empty();
        if admits || !follows_decode || self.chunked.is_some() {
            return 0;
        }
        let Some(finish_at) = self.decoding.first_finish() else { return 0 };
        let passes =
            (finish_at as i64 - self.k as i64).min((self.s.max_passes - self.passes).min(i64::MAX as u64) as i64);
        // A log shows in each pass what may be evicted.
        let leaps = self.s.leap && !(self.s.log_passes && self.copies.as_ref().is_some_and(Copies::are_under_way));
        let passes = if self.is_decode_replica() { self.passes_without_receiving(passes) } else { passes };
        let wanted = if leaps { passes } else { passes.min(1) };
        if wanted <= 0 { 0 } else { self.passes_within_memory(wanted) }
    }

    /// The most passes, up to `wanted`, in which nothing is evicted nor retracted. A decode pass
    /// begins by making room for a page a row, whatever it needs.
    fn passes_within_memory(&self, wanted: i64) -> i64 {
        let pages = i64::from(self.available / self.s.engine.page_size);
        if self.decoding.verify().is_some() {
            let spare = if self.s.engine.page_size == 1 { pages } else { pages - self.decoding.len() as i64 };
            return if spare < 0 { 0 } else { self.decoding.passes_within(self.k, spare, wanted) };
        }
        if self.tree.unused() == 0 {
            return self.decoding.passes_within(self.k, pages, wanted);
        }
        let spare = pages - self.decoding.len() as i64;
        if spare < 0 { 0 } else { (self.decoding.passes_within(self.k, spare, wanted) + 1).min(wanted) }
    }

    /// Takes the pages of a run whose length is final.
    pub(super) fn take_run(&mut self, pass: &mut Pass) {
        if pass.settled {
            return;
        }
        pass.settled = true;
        if self.s.log_passes {
            self.log_run(pass);
        }
        pass.given = self.decoding.given(self.k, pass.passes);
        self.available -= self.decoding.take(self.k, pass.passes) as u32 * self.s.engine.page_size;
        self.ratio.decay(pass.passes);
        self.count_turns(pass.passes - 1);
        self.k = pass.serial;
        self.last_decode_ps = pass.last_start_ps; // with overlap, the tokens of all but its last pass are out
        self.passes += pass.passes as u64;
        self.leaps += u64::from(pass.passes > 1);
        // With overlap, a row may be taken out before the tokens of the last pass are out: see `take_results`.
        let mut before_last = pass.passes - 1;
        for stretch in &pass.times.stretches {
            let count = stretch.count.min(before_last);
            self.gaps.push(stretch.first, stretch.step, count, pass.decoding);
            before_last -= count;
        }
    }
}
