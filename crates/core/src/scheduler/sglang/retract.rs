//! Taking requests out of the batch when their next tokens find no room.

use super::ratio::RETRACT_DECODE_STEPS;
use super::row::{State, Waiting};
use super::{OnWay, Sglang};
use crate::record::{Reason, Status};
use crate::scheduler::{Pass, Results};

impl Sglang<'_> {
    /// Retracts rows until the others' next tokens fit: those with the fewest outputs first, of
    /// these the longest prompts. Costs the batch, as in the engine: the rows that stay are left in
    /// that order.
    pub(super) fn retract(&mut self, pass: &mut Pass, results: &mut Results) {
        let key = |slot: u32| (self.known(slot), std::cmp::Reverse(self.rows[slot as usize].prompt));
        let mut kept = self.running.clone();
        kept.sort_by_key(|&slot| std::cmp::Reverse(key(slot)));
        let mut requeued = Vec::new();
        while kept.len() > 1 && (requeued.is_empty() || !self.has_room_for(&kept)) {
            let Some(slot) = kept.pop() else { break };
            self.take_out(slot, kept.len(), results);
            requeued.push(slot);
        }
        if kept.len() == 1 && !self.has_room_for(&kept) {
            kept.drain(..).for_each(|slot| self.abort_row(slot, pass, results)); // others hold what it needs
        }
        self.reorder(&kept);
        let (mut given, mut limits) = (0, 0);
        for &slot in &kept {
            given += u64::from(self.known(slot));
            limits += u64::from(self.rows[slot as usize].limit);
        }
        self.ratio.retracted(kept.len() as u64, given, limits);
        for &slot in &requeued {
            self.log_retracted(pass, slot);
            self.requeue(slot);
        }
        self.batch_is_full = false;
    }

    /// Ends a row for want of memory. Its slot stays taken, for a pass under way may still name it.
    fn abort_row(&mut self, slot: u32, pass: &Pass, results: &mut Results) {
        self.take_out(slot, 0, results);
        let row = &self.rows[slot as usize];
        let (request, requests) = (row.request as usize, &mut *results.requests);
        requests.output_tokens[request] = row.given;
        requests.last_token_ps[request] = row.last_emit_ps;
        requests.status[request] = Status::Rejected as u8;
        requests.reason[request] = Reason::OutOfMemory as u8;
        requests.end_ps[request] = pass.decided_ps;
        results.ended.push(row.request);
    }

    /// Whether the next tokens of these rows find room.
    fn has_room_for(&mut self, slots: &[u32]) -> bool {
        let page_size = self.s.engine.page_size;
        let k = self.k;
        let demand = |&slot: &u32| self.decoding.demand_of(slot, self.rows[slot as usize].stored(k), page_size, k);
        let pages = slots.iter().map(|slot| demand(slot) as usize).sum();
        self.make_room(self.tokens_of(pages))
    }

    /// Frees what a row of the batch has stored, without entering it into the tree, and makes some
    /// room for the `others`. The row stays on the list.
    pub(super) fn take_out(&mut self, slot: u32, others: usize, results: &mut Results) {
        let (stored, known) = (self.rows[slot as usize].stored(self.k), self.known(slot));
        self.vacated = true;
        self.stop_decoding(slot);
        self.free_row(slot, stored);
        self.make_room(others as u32 * RETRACT_DECODE_STEPS);
        let fresh = self.fresh.iter().position(|&other| other == slot);
        let row = &mut self.rows[slot as usize];
        let loses_token = known < row.sampled(self.k);
        if let Some(position) = fresh {
            self.fresh.remove(position);
        } else if !(loses_token && row.joined + 1 == self.k) {
            // Not if the token it loses would have been its first of this batch.
            row.last_emit_ps = self.last_decode_ps;
        }
        if loses_token {
            self.dropped.push(row.request);
            if let Some(burst) = row.burst.filter(|_| row.joined < self.k) {
                self.dropped_bursts.0 += 1;
                self.dropped_bursts.1 += burst.given(self.k) - burst.given(self.k - 1);
            }
        }
        if let Some((k, decision, on_way)) = self.mixed_at
            && row.joined_by <= decision
        {
            row.noted = row.prompt + row.sampled(k) - u32::from(row.is_on_way(decision, on_way));
        }
        row.given = known;
        row.entered = 0;
        row.state = State::Waiting;
        row.preempted = true;
        results.requests.preemptions[row.request as usize] += 1;
    }

    /// Puts a row that was taken out at the end of the queue.
    pub(super) fn requeue(&mut self, slot: u32) {
        if self.is_decode_replica() {
            self.receiver.retracted.push_back(slot);
            return;
        }
        let row = &self.rows[slot as usize];
        let (request, tokens, noted) = (row.request, row.tokens(), row.noted);
        self.enqueue(Waiting { request, slot: Some(slot), tokens, entry: 0, noted, prefix: 0 });
        self.rows[slot as usize].entry = self.entries - 1;
    }

    /// Gives the batch a new order.
    fn reorder(&mut self, kept: &[u32]) {
        for &slot in kept {
            self.note_pages(slot);
            self.decoding.remove(self.rows[slot as usize].member(slot));
            if self.on_way != OnWay::Nothing {
                self.places_on_way.push((slot, self.rows[slot as usize].order));
            }
            self.rows[slot as usize].order = self.next_order;
            self.next_order += 1;
            self.decoding.insert(self.rows[slot as usize].member(slot));
        }
        self.running.clear();
        self.running.extend(kept);
    }
}
