//! A prompt computed on one replica and decoded on another.
//!
//! A prefill replica keeps a computed prompt's blocks until it is told that they were fetched. A
//! decode replica reserves blocks for the whole prompt before it asks for it; the request then stands
//! beside the queue (`WAITING_FOR_REMOTE_KVS`), and in front of it once all is there. Its last token
//! is computed again, for what comes after it.

use super::Vllm;
use super::row::Planned;
use crate::scheduler::{Move, Prefilled, Results, Wanted};
use crate::waiting::Waiting;

/// A request whose prompt another replica computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remote {
    /// Since then.
    Queued(i64),
    /// Its row holds blocks that are being filled.
    Loading(u32),
    /// They are.
    Here(u32),
}

impl Vllm<'_> {
    /// A prompt is computed, and its row has left the batch.
    pub(super) fn hold(&mut self, slot: u32, results: &mut Results) {
        let row = &self.rows[slot as usize];
        self.held.insert(row.request, slot);
        results.prefilled.push(Prefilled { request: row.request, tokens: row.prompt, done: true });
    }

    /// A computed prompt has been fetched.
    pub(super) fn let_go(&mut self, request: u32) {
        let Some(slot) = self.held.remove(&request) else { return };
        if self.s.engine.enable_prefix_caching {
            let whole = self.rows[slot as usize].prompt / self.s.engine.block_size;
            self.pool.release_ended(slot, self.s.chains.path(request), whole);
        } else {
            self.pool.release(slot);
        }
        self.vacant.push(slot);
        self.head_blocked = false;
    }

    /// Takes blocks for the prompt at the head of the queue, if there are enough, and asks for it.
    pub(super) fn reserve(&mut self, head: Waiting, results: &mut Results) -> bool {
        let engine = self.s.engine;
        let request = head.request;
        let prompt = self.s.trace.input_tokens[request as usize];
        let (path, private) = (self.s.chains.path(request), self.s.chains.private_segment(request));
        let hit = match engine.enable_prefix_caching {
            true => self.pool.find(path, private, (prompt - 1) / engine.block_size),
            false => Default::default(),
        };
        let wanted = self.blocks_for(prompt) - hit.blocks;
        let watermark = if self.running.is_empty() { 0 } else { engine.watermark_blocks };
        let needed = u64::from(wanted) + u64::from(hit.unheld) + u64::from(watermark);
        if needed > u64::from(self.pool.free()) {
            self.head_blocked = !self.s.chains.generated_is_shared();
            return false;
        }
        self.waiting.pop();
        let row = self.new_row(request, results.requests.handovers.decode_routed_ps[request as usize]);
        let slot = self.open_row(row);
        if hit.blocks > 0 {
            self.pool.hold_found(slot);
        }
        self.pool.allocate(slot, wanted);
        self.remote.insert(request, Remote::Loading(slot));
        let tokens = wanted * engine.block_size;
        results.wanted.push(Wanted { id: request, kind: Move::Handover, tokens });
        true
    }

    /// A prompt has arrived: the request is the next to be admitted.
    pub(super) fn load(&mut self, request: u32) {
        let Some(&Remote::Loading(slot)) = self.remote.get(&request) else { return };
        self.remote.insert(request, Remote::Here(slot));
        let key = self.key(request, self.rows[slot as usize].arrival_ps);
        self.waiting.push_preempted(key, Waiting { request, slot: None });
        self.head_blocked = false;
    }

    /// Admits a request whose prompt has arrived.
    pub(super) fn enter_loaded(&mut self, slot: u32) {
        let row = &self.rows[slot as usize];
        let (request, prompt) = (row.request, row.prompt);
        self.join_batch(slot, prompt - 1);
        if self.s.log_passes
            && let Some(entry) = self.log.last_mut()
        {
            entry.new.push(request);
        }
        self.hash_scheduled(slot, 1);
        self.admitted.push(Planned { slot, tokens: 1, blocks: 0 });
    }

    /// A prompt will not come: what was reserved for it is free.
    pub(super) fn give_up(&mut self, request: u32) {
        match self.remote.remove(&request) {
            Some(Remote::Loading(slot)) => {
                self.pool.release(slot);
                self.vacant.push(slot);
            }
            Some(Remote::Queued(arrival_ps)) => {
                let key = self.key(request, arrival_ps);
                self.waiting.remove(key, request);
            }
            Some(Remote::Here(_)) | None => {}
        }
        self.head_blocked = false;
    }

    pub(super) fn loading(&self) -> impl Iterator<Item = u32> {
        let loading = self.remote.iter().filter(|(_, state)| matches!(state, Remote::Loading(_)));
        loading.map(|(&request, _)| request)
    }
}
