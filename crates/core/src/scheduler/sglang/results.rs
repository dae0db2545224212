//! Taking in the results of a pass: tokens reach their clients, requests end.

use super::Sglang;
use super::row::State;
use crate::record::{NEVER, Status};
use crate::scheduler::pass::Sample;
use crate::scheduler::{Pass, Results};

impl Sglang<'_> {
    /// See [`crate::scheduler::Scheduler::update`].
    pub(super) fn take_results(&mut self, pass: &mut Pass, mut next: Option<&mut Pass>, results: &mut Results) {
        self.take_run(pass);
        self.in_flight -= 1;
        self.end_copies(pass.last_start_ps); // of a turn in which nothing was decided
        let end_ps = pass.end_ps;
        let ended = results.ended.len();
        self.send_early(results);
        if pass.decoding > 0 {
            let taken_out = |slot: u32| self.rows[slot as usize].state == State::Waiting;
            let others = pass.returning.iter().copied().chain(pass.sampling.iter().map(|sample| sample.slot));
            let dropped = self.dropped.len() - others.filter(|&slot| taken_out(slot)).count();
            let steady = pass.decoding - pass.returning.len() as i64 - pass.dead - dropped as i64;
            self.gaps.push_one(end_ps - self.last_decode_ps, steady);
            for &slot in &pass.returning {
                let row = &mut self.rows[slot as usize];
                if row.state != State::Waiting {
                    let gap_ps = end_ps - row.last_emit_ps;
                    self.gaps.push_one(gap_ps, 1);
                    if std::mem::take(&mut row.preempted) {
                        results.requests.resumed(row.request as usize, gap_ps);
                    }
                }
            }
        }
        self.count_bursts(pass);
        if pass.decoding > 0 {
            self.last_decode_ps = end_ps;
        }
        for &Sample { slot, .. } in &pass.sampling {
            if self.rows[slot as usize].state != State::Waiting {
                self.deliver_prefilled(slot, end_ps, next.as_deref_mut(), results);
            }
        }
        let mut ending: Vec<u32> = self.decoding.finishing_by(pass.serial).chain(self.draining.drain(..)).collect();
        let place = |slot: u32| {
            let before = self.places_on_way.iter().find(|&&(other, _)| other == slot);
            before.map_or(self.rows[slot as usize].order, |&(_, order)| order)
        };
        ending.sort_unstable_by_key(|&slot| place(slot));
        self.places_on_way.clear();
        for slot in ending {
            self.end(slot, end_ps, next.as_deref_mut(), results);
        }
        self.last_end_ps = end_ps;
        self.send_part(pass, results);
        // With overlap, copies to the host wait for the pass that has been launched meanwhile.
        self.submit_backups(next.as_deref().map_or(end_ps, |next| next.start_ps + next.times.time(1)));
        self.close_log(pass, next.as_deref(), &results.ended[ended..]);
        self.dropped.clear();
    }

    /// Notes what rows that verify drafts gave, but for those taken out meanwhile.
    fn count_bursts(&mut self, pass: &mut Pass) {
        let ending = self.decoding.finishing_by(pass.serial).chain(self.draining.iter().copied());
        let ending = ending.map(|slot| &self.rows[slot as usize]);
        let beyond = ending.filter_map(|row| Some(row.burst?.given(pass.serial) - i64::from(row.target))).sum();
        let (rows, tokens) = std::mem::take(&mut self.dropped_bursts);
        pass.given -= tokens;
        pass.count_bursts(self.decoding.verify(), rows, beyond, &mut self.gaps, &mut self.speculated);
    }

    /// The token that ends a prefill.
    fn deliver_prefilled(&mut self, slot: u32, end_ps: i64, next: Option<&mut Pass>, results: &mut Results) {
        if self.is_prefill_replica() {
            self.hold_for_transfer(slot, results);
            return;
        }
        let row = &mut self.rows[slot as usize];
        let request = row.request as usize;
        if results.requests.first_token_ps[request] == NEVER {
            results.requests.first_token_ps[request] = end_ps;
            results.first_tokens.push(request as u32);
        } else {
            let gap_ps = end_ps - row.last_emit_ps;
            self.gaps.push_one(gap_ps, 1);
            if row.preempted {
                results.requests.resumed(request, gap_ps);
            }
        }
        row.preempted = false;
        row.last_emit_ps = end_ps;
        if row.given == row.target {
            self.draining.retain(|&other| other != slot);
            self.end(slot, end_ps, next, results);
        } else {
            let stored = row.extend_end;
            self.checkpoint(slot, stored);
        }
    }

    /// A request is complete.
    pub(super) fn end(&mut self, slot: u32, end_ps: i64, next: Option<&mut Pass>, results: &mut Results) {
        let row = &self.rows[slot as usize];
        let (request, output) = (row.request as usize, row.target);
        let mut stored = row.prompt + output - 1;
        match row.state {
            State::Decoding => {
                // Overlap: if it stopped early, it is in the next pass as well, for nothing.
                if self.k > row.finish_at
                    && let Some(next) = next
                {
                    match row.burst {
                        None => stored += 1,
                        Some(burst) => next.given -= burst.given(self.k) - burst.given(self.k - 1),
                    }
                    next.dead += 1;
                    next.returning.retain(|&other| other != slot);
                    if let Some(entry) = next.logged {
                        self.log[entry].emitted.retain(|&other| other as usize != request);
                    }
                }
                self.leave_batch(slot);
                if self.is_decode_replica() {
                    self.note_departure(slot);
                }
            }
            State::Prefilling => self.joining.retain(|&other| other != slot),
            State::Draining | State::Waiting | State::Sending | State::Reserved | State::Ready => {}
        }
        self.store_row(slot, stored);
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
