//! Context-only and generation-only requests, as TensorRT-LLM's disaggregated serving splits a request.
//!
//! Read from the executor's loop of the PyTorch backend (`_torch/pyexecutor/py_executor.py`) and the C++
//! capacity scheduler, not recorded. A context replica pins a computed prompt's blocks until they are sent.
//! A generation replica reserves blocks as if it computed the prompt itself, and counts what the request
//! may come to; it looks once a pass who has arrived, whose client gets the first token then: it was
//! sampled with the context and comes along.

use super::Trtllm;
use super::row::State;
use crate::scheduler::{Move, Prefilled, Results, Wanted};

/// What has come from outside to a generation replica.
#[derive(Clone, Copy, Debug)]
pub(super) enum News {
    /// The KV of a request.
    Arrived(u32),
    /// It will not come.
    Lost(u32),
}

impl Trtllm<'_> {
    /// A context-only request is computed, and its row has left the batch.
    pub(super) fn hold(&mut self, slot: u32, results: &mut Results) {
        let row = &self.rows[slot as usize];
        self.sending.insert(row.request, slot);
        results.prefilled.push(Prefilled { request: row.request, tokens: row.prompt, done: true });
    }

    /// Its KV has been sent.
    pub(super) fn let_go(&mut self, request: u32) {
        let Some(slot) = self.sending.remove(&request) else { return };
        self.free_row(slot, self.rows[slot as usize].prompt);
    }

    /// Frees the blocks of a row that has left the batch with `computed` tokens.
    pub(super) fn free_row(&mut self, slot: u32, computed: u32) {
        if self.s.engine.enable_block_reuse {
            let path = self.s.chains.path(self.rows[slot as usize].request);
            self.pool.release_ended(slot, path, computed / self.s.engine.tokens_per_block);
        } else {
            self.pool.release(slot);
        }
        self.vacant.push(slot);
        self.blocked = false;
    }

    /// Generation replica: what comes before a pass is decided.
    pub(super) fn receive(&mut self, now_ps: i64, results: &mut Results) {
        for news in std::mem::take(&mut self.news) {
            match news {
                News::Arrived(request) => {
                    if let Some(slot) = self.stop_receiving(request) {
                        self.join_arrived(slot, now_ps, results);
                    }
                }
                News::Lost(request) => {
                    self.pending.retain(|pending| pending.request != request);
                    if let Some(slot) = self.stop_receiving(request) {
                        self.pool.release(slot);
                        self.vacant.push(slot);
                    }
                    self.blocked = false;
                }
            }
        }
        self.reserve(results);
    }

    fn stop_receiving(&mut self, request: u32) -> Option<u32> {
        let place = self.receiving.iter().position(|&slot| self.rows[slot as usize].request == request)?;
        let slot = self.receiving.remove(place);
        self.promised -= self.promise(slot);
        Some(slot)
    }

    /// Blocks that a request whose KV is on its way will still take at most.
    pub(super) fn promise(&self, slot: u32) -> i64 {
        i64::from(self.whole(self.rows[slot as usize].request)) - i64::from(self.pool.held(slot))
    }

    /// In order, as long as each could run to its limit beside all others.
    fn reserve(&mut self, results: &mut Results) {
        let block = self.s.engine.tokens_per_block;
        while !self.blocked && self.window() > 0 {
            let pending = self.pending[0];
            let available = i64::from(self.pool.free()) - (self.reserved - self.held) - self.promised;
            if i64::from(self.whole(pending.request)) > available {
                self.blocked = true;
                return;
            }
            self.pending.pop_front();
            let slot = self.new_row(pending.order, pending.request);
            let prompt = self.rows[slot as usize].prompt;
            let cached = self.take_prompt_blocks(slot, prompt);
            self.rows[slot as usize].state = State::Receiving;
            self.promised += self.promise(slot);
            self.receiving.push(slot);
            let tokens = (self.blocks_for(prompt) - cached) * block;
            results.wanted.push(Wanted { id: pending.request, kind: Move::Handover, tokens });
        }
    }

    /// A request's KV is all there.
    fn join_arrived(&mut self, slot: u32, now_ps: i64, results: &mut Results) {
        let row = &mut self.rows[slot as usize];
        row.last_emit_ps = now_ps;
        let (request, prompt, target) = (row.request, row.prompt, row.target);
        self.enter_hashes(slot, prompt / self.s.engine.tokens_per_block);
        if self.s.trace.output_tokens[request as usize] > 0 {
            results.requests.first_token_ps[request as usize] = now_ps;
            results.first_tokens.push(request);
        }
        if target == 1 {
            let unused = self.promise(slot) as u32;
            self.free_row(slot, prompt);
            self.complete(request, target, unused, now_ps, results);
            return;
        }
        let row = &mut self.rows[slot as usize];
        row.state = State::Generation;
        row.finish_at = self.k + u64::from(target - 1);
        let place = self.place(&self.batch, self.rows[slot as usize].order);
        self.batch.insert(place, slot);
        self.begin_bursts(slot, 1);
        self.join_decode_set(slot);
    }
}
