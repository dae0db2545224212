//! A prefill replica's side of hand-overs: prompts are computed, sent as they are, and held until
//! they have arrived.
//!
//! A request comes here when a decode replica has reserved memory for it. Each part of its prompt
//! can be sent when its pass ends; what was cached, when its first pass begins. SGLang looks once a
//! turn of its loop who has come and whose KV has arrived.

use super::Sglang;
use super::hicache::Copies;
use super::row::{State, Waiting};
use crate::config::Role;
use crate::scheduler::{Pass, Prefilled, Results};
use std::collections::VecDeque;

/// SGLang's metadata buffers, a request that may run.
const BUFFERS_A_REQUEST: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Sender {
    /// Requests that have come and have no metadata buffer yet.
    pub(super) arrived: VecDeque<Waiting>,
    /// Rows whose prompt is computed, in that order.
    pub(super) sending: Vec<u32>,
    /// Requests among these whose KV has arrived.
    released: Vec<u32>,
    /// Overlap: cached prefixes that can be sent when the pass that executes has ended.
    early: Vec<Prefilled>,
}

impl Sender {
    /// Whether there is something to take notice of.
    pub(super) fn has_news(&self) -> bool {
        !self.arrived.is_empty() || !self.released.is_empty()
    }
}

impl Sglang<'_> {
    pub(super) fn is_prefill_replica(&self) -> bool {
        self.s.role == Role::Prefill
    }

    /// Notices who has come, and lets go of what has arrived.
    pub(super) fn look_at_transfers(&mut self) {
        self.batch_is_full = false;
        let sender = &mut self.sender;
        let released = std::mem::take(&mut sender.released);
        let (gone, sending) = sender
            .sending
            .iter()
            .partition::<Vec<u32>, _>(|&&slot| released.contains(&self.rows[slot as usize].request));
        sender.sending = sending;
        for slot in gone {
            let stored = self.rows[slot as usize].extend_end;
            self.store_row(slot, stored);
            self.vacant.push(slot);
        }
        let buffers = BUFFERS_A_REQUEST * self.s.engine.max_running_requests as usize;
        let mut held = self.waiting.len() + self.rows_held();
        while held < buffers
            && let Some(waiting) = self.sender.arrived.pop_front()
        {
            self.enqueue(waiting);
            held += 1;
        }
    }

    /// Rows of requests that are computed or sent, or that will be in the pass under way.
    pub(super) fn rows_held(&self) -> usize {
        self.joining.len() + self.sender.sending.len() + usize::from(self.chunked.is_some())
    }

    /// The prompt of a row is computed.
    pub(super) fn hold_for_transfer(&mut self, slot: u32, results: &mut Results) {
        self.joining.retain(|&other| other != slot);
        let row = &mut self.rows[slot as usize];
        row.state = State::Sending;
        let (request, stored) = (row.request, row.extend_end);
        self.checkpoint(slot, stored);
        self.sender.sending.push(slot);
        // A page is sent whole.
        results.prefilled.push(Prefilled { request, tokens: self.s.engine.ceil_page(stored), done: true });
    }

    /// The part of a prompt that a pass has computed can be sent, in whole pages.
    pub(super) fn send_part(&mut self, pass: &mut Pass, results: &mut Results) {
        let Some((request, end)) = pass.partial.take() else { return };
        if self.is_prefill_replica() {
            let tokens = self.s.engine.floor_page(end);
            results.prefilled.push(Prefilled { request, tokens, done: false });
        }
    }

    /// The cached prefixes of a pass's rows can be sent when it starts, unless some are still being
    /// loaded from the host.
    pub(super) fn send_cached(&mut self, batch: &[u32], pass: &Pass, results: &mut Results) {
        let is_loading = self.copies.as_ref().is_some_and(Copies::is_loading);
        if !self.is_prefill_replica() || is_loading {
            return;
        }
        let rows = batch.iter().map(|&slot| &self.rows[slot as usize]);
        let cached = rows.filter(|row| row.prefix > 0 && row.entered == 0);
        let early = cached.map(|row| Prefilled { request: row.request, tokens: row.prefix, done: false });
        if pass.start_ps == pass.decided_ps {
            results.prefilled.extend(early);
        } else {
            self.sender.early.extend(early);
        }
    }

    /// A pass has ended: those prefixes can be sent. Before what it computed: a rank that only kept
    /// others company when it decided this pass had none before it.
    pub(super) fn send_early(&mut self, results: &mut Results) {
        results.prefilled.append(&mut self.sender.early);
    }

    /// See [`crate::scheduler::Scheduler::release`].
    pub(super) fn note_release(&mut self, request: u32) {
        self.sender.released.push(request);
    }
}
