//! Taking in the results of a pass: tokens reach their clients, requests end.

use super::Sglang;
use crate::record::Status;
use crate::scheduler::{Pass, Results};

impl Sglang<'_> {
    /// See [`crate::scheduler::Scheduler::update`].
    pub(super) fn take_results(&mut self, pass: &mut Pass, results: &mut Results) {
        self.take_run(pass);
        let end_ps = pass.end_ps;
        let ended = results.ended.len();
        if pass.decoding > 0 && !pass.is_run {
            let steady = pass.decoding - pass.returning.len() as i64;
            self.gaps.push_one(end_ps - self.last_decode_ps, steady);
            for &slot in &pass.returning {
                self.gaps.push_one(end_ps - self.rows[slot as usize].last_emit_ps, 1);
            }
        }
        if pass.decoding > 0 {
            self.last_decode_ps = end_ps;
        }
        for index in 0..pass.sampling.len() {
            self.deliver_prefilled(pass.sampling[index].slot, end_ps, results);
        }
        let mut ending: Vec<u32> = self.decoding.finishing_by(pass.serial).collect();
        ending.sort_unstable_by_key(|&slot| self.rows[slot as usize].order);
        for slot in ending {
            let position = self.position(self.rows[slot as usize].order);
            self.running.remove(position);
            self.stop_decoding(slot);
            self.end(slot, end_ps, results);
        }
        self.last_end_ps = end_ps;
        self.close_log(pass, &results.ended[ended..]);
    }

    /// The token that ends a prefill.
    fn deliver_prefilled(&mut self, slot: u32, end_ps: i64, results: &mut Results) {
        let row = &mut self.rows[slot as usize];
        let request = row.request as usize;
        if row.delivered == 0 {
            results.requests.first_token_ps[request] = end_ps;
        } else {
            self.gaps.push_one(end_ps - row.last_emit_ps, 1);
        }
        row.delivered += 1;
        row.last_emit_ps = end_ps;
        if row.delivered == row.target {
            self.joining.retain(|&other| other != slot);
            self.end(slot, end_ps, results);
        } else {
            let stored = row.extend_end;
            self.checkpoint(slot, stored);
        }
    }

    /// A request is complete.
    fn end(&mut self, slot: u32, end_ps: i64, results: &mut Results) {
        let row = &self.rows[slot as usize];
        let (request, stored) = (row.request as usize, row.prompt + row.target - 1);
        let output = row.target;
        self.checkpoint(slot, stored);
        self.release(slot, stored);
        self.batch_is_full = false;
        self.vacant.push(slot);
        results.ended.push(request as u32);
        let requests = &mut *results.requests;
        requests.output_tokens[request] = output;
        requests.last_token_ps[request] = end_ps;
        requests.end_ps[request] = end_ps;
        requests.status[request] = Status::Completed as u8;
    }
}
