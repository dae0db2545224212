//! Taking in the results of a pass: tokens reach their clients, requests end.

use super::Trtllm;
use crate::config::Role;
use crate::config::trtllm::CapacityPolicy;
use crate::record::Status;
use crate::scheduler::Results;
use crate::scheduler::pass::Pass;

impl Trtllm<'_> {
    /// See [`crate::scheduler::Scheduler::update`].
    pub(super) fn take_results(&mut self, pass: &mut Pass, results: &mut Results) {
        let end_ps = pass.end_ps;
        self.take_run(pass);
        self.end_computing();
        if !pass.is_run {
            self.gaps.push_one(end_ps - pass.start_ps, pass.decoding - pass.returning.len() as i64);
        }
        let ending = self.decoding.finishing_by(pass.serial).map(|slot| &self.rows[slot as usize]);
        let beyond = ending.filter_map(|row| Some(row.burst?.given(pass.serial) - i64::from(row.target))).sum();
        pass.count_bursts(self.decoding.verify(), 0, beyond, &mut self.gaps, &mut self.speculated);
        for &slot in &pass.returning {
            self.gaps.push_one(end_ps - self.rows[slot as usize].last_emit_ps, 1);
        }
        for sample in &pass.sampling {
            let tokens = self.rows[sample.slot as usize].tokens();
            self.enter_hashes(sample.slot, tokens / self.s.engine.tokens_per_block);
            self.deliver(sample.slot, end_ps, pass.logged, results);
        }
        let mut ending: Vec<u32> = self.decoding.finishing_by(pass.serial).collect();
        ending.sort_unstable_by_key(|&slot| self.rows[slot as usize].order);
        for &slot in &ending {
            self.end(slot, end_ps, results);
        }
        if let Some(entry) = pass.logged {
            self.log[entry].free_end = Some(self.pool.free());
            self.log[entry].finished.extend(&results.ended[results.ended.len() - ending.len()..]);
        }
    }

    /// The first token after a context reaches its client.
    fn deliver(&mut self, slot: u32, end_ps: i64, logged: Option<usize>, results: &mut Results) {
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
        if let Some(entry) = logged {
            self.log[entry].emitted.push((row.request, 1));
        }
    }

    fn end(&mut self, slot: u32, end_ps: i64, results: &mut Results) {
        let row = &self.rows[slot as usize];
        let (request, target) = (row.request, row.target);
        let computed = row.computed_by(self.k);
        let held = self.leave_decode_set(slot, computed);
        let unused = self.whole(request) - held;
        self.leave_batch(slot);
        self.pool.settle(slot, held);
        if self.s.role == Role::Prefill {
            self.hold(slot, results);
            return;
        }
        self.free_row(slot, computed);
        self.complete(request, target, unused, end_ps, results);
    }

    /// A request has given all its tokens, and left `unused` blocks that it might have come to.
    pub(super) fn complete(&self, request: u32, target: u32, unused: u32, end_ps: i64, results: &mut Results) {
        results.ended.push(request);
        let (requests, request) = (&mut *results.requests, request as usize);
        let output = self.s.trace.output_tokens[request].min(target);
        requests.output_tokens[request] = output;
        if self.s.engine.capacity_scheduler_policy != CapacityPolicy::MaxUtilization {
            requests.unused_blocks[request] = unused;
        }
        if output > 0 {
            requests.last_token_ps[request] = end_ps;
        }
        requests.end_ps[request] = end_ps;
        requests.status[request] = Status::Completed as u8;
    }
}
