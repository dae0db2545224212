//! A stepped decode pass.

use super::row::State;
use super::{Kind, OnWay, Sglang};
use crate::scheduler::{Pass, Results};
use crate::step_time::Features;

impl Sglang<'_> {
    /// One more token for each row of the batch. False if there is none.
    pub(super) fn decode(&mut self, results: &mut Results, pass: &mut Pass) -> bool {
        if self.running.is_empty() {
            self.close_log_without_pass(pass);
            return false;
        }
        self.open_log(pass);
        let drained = self.drain_ending_rows();
        if !self.running.is_empty() {
            if self.make_room_for_tokens() {
                self.ratio.decay(1);
            } else if drained {
                self.close_log_without_pass(pass); // what these rows free comes with their results
                return false;
            } else {
                self.retract(pass, results);
            }
        }
        if self.failure.is_some() {
            return false;
        }
        if self.running.is_empty() {
            self.close_log_without_pass(pass);
            return false;
        }
        self.take_tokens();
        let rows = self.decoding.len() as i64;
        let features = Features::verify(rows, self.decoding.context(self.k + 1), self.decoding.drafts())
            .with_longest(self.decoding.longest(self.k + 1, &[]));
        self.log_decodes(pass);
        self.advance_rows(pass);
        self.last = Kind::Decode;
        self.finish_pass(&features, pass);
        true
    }

    /// Overlap: rows whose token on its way fills their limit take part in no further pass; but on a decode
    /// replica, whose loop does not ask (`enable_skip_finishing_decode` in managers/scheduler.py).
    /// Returns whether there were any.
    pub(super) fn drain_ending_rows(&mut self) -> bool {
        let none_ends = self.decoding.first_finish().is_none_or(|at| at > self.k);
        if self.on_way == OnWay::Nothing || none_ends || self.is_decode_replica() {
            return false;
        }
        let ends = |&slot: &u32| {
            let row = &self.rows[slot as usize];
            row.is_on_way(self.decision, self.on_way) && row.limit <= self.known(slot) + 1
        };
        let ending: Vec<u32> = self.decoding.finishing_by(self.k).filter(ends).collect();
        for &slot in &ending {
            self.leave_batch(slot);
            self.rows[slot as usize].state = State::Draining;
            self.draining.push(slot);
        }
        if !ending.is_empty() {
            self.batch_is_full = false;
        }
        !ending.is_empty()
    }

    /// Takes a row off the batch.
    pub(super) fn leave_batch(&mut self, slot: u32) {
        let position = self.position(self.rows[slot as usize].order);
        self.running.remove(position);
        self.stop_decoding(slot);
        self.fresh.retain(|&other| other != slot);
    }

    /// Whether the rows' next tokens find room.
    pub(super) fn make_room_for_tokens(&mut self) -> bool {
        let pages = self.decoding.demand(self.k, 1) as usize;
        self.make_room(self.tokens_of(pages))
    }

    /// The tokens that the engine makes room for before it takes the rows' next pages: a page a row;
    /// where they verify drafts, and pages are longer than a token, that beside the tokens themselves.
    fn room_for_tokens(&self) -> u32 {
        let (rows, page_size) = (self.running.len(), self.s.engine.page_size);
        if self.decoding.verify().is_none() {
            return self.tokens_of(rows);
        }
        let pages = self.decoding.demand(self.k, 1) as usize;
        if pages == 0 || page_size == 1 {
            return self.tokens_of(pages);
        }
        // What a prefill left of its last page is not taken anew.
        let left = |&slot: &u32| {
            let stored = self.rows[slot as usize].stored(self.k);
            self.s.engine.ceil_page(stored) - stored
        };
        self.tokens_of(pages + rows).saturating_add(self.fresh.iter().map(left).sum())
    }

    /// Takes the pages of the rows' next tokens. The engine makes room for more first.
    pub(super) fn take_tokens(&mut self) {
        self.make_room(self.room_for_tokens());
        let pages = self.decoding.take(self.k, 1) as usize;
        self.available -= self.tokens_of(pages);
    }

    /// The decoding rows' part of a pass.
    pub(super) fn advance_rows(&mut self, pass: &mut Pass) {
        pass.decoding = self.decoding.len() as i64;
        pass.given = self.decoding.given(self.k, 1);
        pass.returning.append(&mut self.fresh);
        self.k += 1;
    }

    /// A stepped pass is decided.
    pub(super) fn finish_pass(&mut self, features: &Features, pass: &mut Pass) {
        let time = self.with_copies(self.s.step_time.of(features), pass.start_ps);
        pass.begin_step(features, time);
        pass.serial = self.k;
        self.passes += 1;
        self.log_state(pass, time);
    }
}
