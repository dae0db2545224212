//! A prompt computed on one replica and decoded on another, as vLLM's NIXL connector does it.
//!
//! Read from `vllm/distributed/kv_transfer/kv_connector/v1/nixl/` of 0.32, not recorded. A prefill
//! replica keeps a computed prompt's blocks until it is told that they were fetched. A decode replica
//! asks for a prompt once it has blocks for all of it that its own cache lacks ([`super::load`]).
//! What comes from outside is taken in by the next decision, as in vLLM.

use super::Vllm;
use super::row::State;
use crate::scheduler::{LastPass, Pass, Prefilled, Results};

/// What has come from outside.
#[derive(Clone, Copy, Debug)]
pub(super) enum News {
    /// To a decode replica: the prompt of a request.
    Arrived(u32),
    /// To a prefill replica: its prompt is where it is decoded.
    Fetched(u32),
    /// To a decode replica: its prompt will not come.
    Lost(u32),
}

impl Vllm<'_> {
    /// A prompt is computed, and its row has left the batch.
    pub(super) fn hold(&mut self, slot: u32, results: &mut Results) {
        let row = &self.rows[slot as usize];
        self.held.insert(row.request, slot);
        results.prefilled.push(Prefilled { request: row.request, tokens: row.prompt, done: true });
    }

    /// See [`crate::scheduler::Scheduler::note_last_passes`].
    pub(super) fn note_ending_prompts(&self, pass: &Pass, start_ps: i64, end_ps: i64, results: &mut Results) {
        let ending = pass.sampling.iter().map(|sample| self.rows[sample.slot as usize].request);
        results.last_passes.extend(ending.map(|request| LastPass { request, start_ps, end_ps }));
    }

    pub(super) fn take_news(&mut self) {
        for news in std::mem::take(&mut self.news) {
            self.head_blocked = false;
            match news {
                News::Arrived(request) => {
                    if let Some(slot) = self.loading(request) {
                        self.rows[slot as usize].state = State::Loaded;
                    }
                }
                News::Fetched(request) => self.let_go(request),
                News::Lost(request) => self.give_up(request),
            }
        }
    }

    /// The row of a request that holds blocks that are being filled.
    fn loading(&self, request: u32) -> Option<u32> {
        let slot = self.holding.iter().find(|waiting| waiting.request == request)?.slot;
        slot.filter(|&slot| self.rows[slot as usize].state == State::Loading)
    }

    /// A computed prompt has been fetched.
    fn let_go(&mut self, request: u32) {
        let Some(slot) = self.held.remove(&request) else { return };
        if self.s.engine.enable_prefix_caching {
            let whole = self.rows[slot as usize].prompt / self.s.engine.block_size;
            self.pool.release_ended(slot, self.s.chains.path(request), whole);
        } else {
            self.pool.release(slot);
        }
        self.vacant.push(slot);
    }

    /// A prompt will not come: what was reserved for it is free.
    fn give_up(&mut self, request: u32) {
        if let Some(arrival_ps) = self.remote.remove(&request) {
            let key = self.key(request, arrival_ps);
            self.waiting.remove(key, request);
        } else if let Some(slot) = self.loading(request) {
            let key = self.key(request, self.rows[slot as usize].arrival_ps);
            self.holding.remove(key, request);
            self.pool.release(slot);
            self.vacant.push(slot);
        }
    }
}
