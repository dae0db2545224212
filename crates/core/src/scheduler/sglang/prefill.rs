//! A prefill pass, or a mixed one: who is admitted.

use super::budget::Budget;
use super::promise::CLIP_TOKENS;
use super::row::{Row, State, Waiting};
use super::window::Hold;
use super::{Kind, Sglang};
use crate::kv::radix::{Match, ROOT};
use crate::record::NEVER;
use crate::scheduler::pass::Sample;
use crate::scheduler::{Pass, Results};
use crate::step_time::Features;

/// What came of trying to admit a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Continue,
    /// No memory is left.
    NoToken,
    /// Something else is spent: the pass's tokens.
    Other,
}

/// The part of a prompt that a pass computes; `output` is promised to it beyond.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extend {
    pub(super) tokens: u32,
    pub(super) output: i64,
    pub(super) is_chunk: bool,
}

impl<'a> Sglang<'a> {
    /// Prefills what may be admitted. False if there is nothing.
    pub(super) fn prefill(&mut self, results: &mut Results, pass: &mut Pass) -> bool {
        let engine = self.s.engine;
        if engine.preempts() || self.window.is_some() || self.running.is_empty() {
            self.batch_is_full = false;
        }
        if self.chunked.is_none() {
            if self.batch_is_full || self.waiting.is_empty() {
                return false;
            }
            if self.rows_taken() >= self.places() && !engine.preempts() {
                self.batch_is_full = true;
                return false;
            }
        }
        self.order_queue();
        let mut budget = self.budget();
        let mut batch: Vec<u32> = Vec::new();
        if let Some(slot) = self.chunked
            && self.continue_chunk(slot, &mut budget)
        {
            batch.push(slot);
        }
        self.open_log(pass);
        let preempted = self.admit(&mut budget, &mut batch, results, pass);
        for slot in preempted {
            self.requeue(slot);
        }
        if batch.is_empty() {
            return false;
        }
        if !self.take_prompts(&batch) {
            self.failure = Some("SGLang fails here: prefill out of memory");
            return false;
        }
        self.run_prefill(&batch, results, pass);
        true
    }

    /// The next part of the prompt that is being computed in parts. It takes no less than it can
    /// for being short of memory: only its end frees any. Where layers have windows, it waits: false.
    fn continue_chunk(&mut self, slot: u32, budget: &mut Budget) -> bool {
        let engine = self.s.engine;
        let chunk = budget.chunk.expect("a prompt is cut only where there is a chunk size").max(1);
        if engine.disable_radix_cache {
            // With overlap, the part before may still be computed.
            let behind = if engine.disable_overlap_schedule { 0 } else { engine.chunked_prefill_size.unwrap_or(0) };
            self.leave_window(slot, self.rows[slot as usize].prefix.saturating_sub(behind));
        }
        let left = self.whole_tokens_left(budget);
        if left <= 0 && self.window.is_some() {
            return false;
        }
        let most = if left > 0 { chunk.min(left) } else { chunk };
        let Some(most) = self.window_chunk(most, budget.windows) else { return false };
        let row = &mut self.rows[slot as usize];
        let rest = i64::from(row.tokens() - row.prefix);
        let tokens = rest.min(most) as u32;
        let output = if rest > most { 0 } else { i64::from(row.limit).min(CLIP_TOKENS) };
        row.extend_end = row.prefix + tokens;
        row.noted = row.tokens();
        if rest <= most {
            self.chunked = None;
        }
        self.charge(budget, tokens, output);
        true
    }

    /// Admits from the head of the queue what fits. Returns the rows that had to make way.
    fn admit(&mut self, budget: &mut Budget, batch: &mut Vec<u32>, results: &mut Results, pass: &Pass) -> Vec<u32> {
        let engine = self.s.engine;
        let mut states = None;
        let mut preempted = Vec::new();
        let mut admitted = 0;
        while admitted < self.waiting.len() {
            if budget.is_spent() && self.has_capacity(budget) {
                break;
            }
            if batch.len() + self.rows_taken() >= self.places() {
                self.batch_is_full = true;
            }
            if self.batch_is_full
                && !(engine.preempts() && self.preempt_for(admitted, budget, &mut preempted, results, pass))
            {
                break;
            }
            let mut hit = self.look_up(admitted);
            let on_device = hit.tokens;
            let locked_from = self.hold(hit.node);
            let extend = if engine.ignore_eos && engine.disable_radix_cache {
                let states = states.get_or_insert_with(Vec::new);
                self.extend_ignoring_eos(admitted, budget, states, batch)
            } else {
                let is_first = batch.is_empty();
                match self.extend(admitted, hit, budget, is_first) {
                    Ok(_) if hit.host_tokens > 0 && !self.load_back(&mut hit) => {
                        self.extend(admitted, hit, budget, is_first)
                    }
                    extend => extend,
                }
            };
            let verdict = match extend {
                Ok(extend) => {
                    self.charge(budget, extend.tokens, extend.output);
                    let Waiting { request, slot, .. } = self.waiting[admitted];
                    if slot.is_none()
                        && results.requests.end_ps[request as usize] == NEVER
                        && let Some(loaded) = results.requests.loaded.host.get_mut(request as usize)
                    {
                        *loaded = hit.tokens - on_device;
                    }
                    let slot = self.enter(admitted, hit, extend, results, pass);
                    self.rows[slot as usize].window.locked_from = locked_from;
                    batch.push(slot);
                    admitted += 1;
                    self.verdict(budget)
                }
                Err(verdict) => {
                    self.let_go(hit.node, locked_from);
                    verdict
                }
            };
            if verdict == Verdict::NoToken {
                self.batch_is_full = !batch.is_empty() || !self.running.is_empty();
            }
            if verdict != Verdict::Continue {
                break;
            }
        }
        self.waiting.drain(..admitted);
        preempted
    }

    /// The cached prefix of a waiting request: at most all but its last token.
    fn look_up(&mut self, index: usize) -> Match {
        let waiting = &mut self.waiting[index];
        waiting.noted = waiting.tokens;
        if self.s.engine.disable_radix_cache {
            return Match::NOTHING;
        }
        let hit = self.tree.find(waiting.request, waiting.tokens - 1);
        waiting.prefix = hit.tokens;
        hit
    }

    /// How much of a waiting request to compute, its prefix on the device being locked.
    fn extend(&self, index: usize, hit: Match, budget: &mut Budget, is_first: bool) -> Result<Extend, Verdict> {
        let engine = self.s.engine;
        let waiting = self.waiting[index];
        let limit = self.limit(waiting.request);
        let prefix = hit.tokens + hit.host_tokens;
        let rest = waiting.tokens - prefix;
        let given = waiting.tokens - self.prompt(waiting.request);
        let output = i64::from(limit.saturating_sub(given)).min(CLIP_TOKENS);
        // What is loaded from the host needs room as well.
        let tokens = i64::from(waiting.tokens - hit.tokens);
        if !self.fits(budget, tokens + output + i64::from(engine.page_size)) {
            return Err(Verdict::NoToken);
        }
        let paged = i64::from(engine.ceil_page(rest));
        let chunk = self.window_fits(paged, output, budget.chunk, budget.windows).ok_or(Verdict::NoToken)?;
        let output = i64::from(limit).min(CLIP_TOKENS);
        match chunk {
            None if !is_first && paged >= budget.input => Err(Verdict::Other),
            Some(chunk) if paged > chunk => {
                let end = engine.floor_page(prefix + engine.floor_page(chunk.max(0) as u32));
                if end <= prefix {
                    return Err(Verdict::Other);
                }
                Ok(Extend { tokens: end - prefix, output: 0, is_chunk: true })
            }
            _ => Ok(Extend { tokens: rest, output, is_chunk: false }),
        }
    }

    pub(super) fn verdict(&self, budget: &mut Budget) -> Verdict {
        if !self.has_capacity(budget) {
            Verdict::NoToken
        } else if budget.is_spent() {
            Verdict::Other
        } else {
            Verdict::Continue
        }
    }

    /// Makes a waiting request a row of this pass.
    fn enter(&mut self, index: usize, hit: Match, extend: Extend, results: &mut Results, pass: &Pass) -> u32 {
        let waiting = self.waiting[index];
        let request = waiting.request;
        let slot = waiting.slot.unwrap_or_else(|| {
            let requests = &mut *results.requests;
            if requests.end_ps[request as usize] == NEVER {
                requests.scheduled_ps[request as usize] = pass.decided_ps;
                requests.cached_tokens[request as usize] = hit.tokens;
            } // else its hand-over has taken too long: it is computed for nobody
            self.place_row(self.new_row(request))
        });
        let row = &mut self.rows[slot as usize];
        row.state = State::Prefilling;
        row.entry = waiting.entry;
        row.prefix = hit.tokens;
        row.protected = hit.tokens;
        row.node = hit.node;
        row.window.branch = if hit.stored > hit.tokens { hit.stored } else { 0 };
        row.extend_end = hit.tokens + extend.tokens;
        row.noted = waiting.tokens;
        if extend.is_chunk {
            self.chunked = Some(slot);
        }
        slot
    }

    /// Requests that have a place, but for those of the batch being made.
    pub(super) fn rows_taken(&self) -> usize {
        self.running.len() + self.joining.len() + self.sender.sending.len()
    }

    pub(super) fn place_row(&mut self, row: Row<'a>) -> u32 {
        let slot = self.vacant.pop().unwrap_or(self.rows.len() as u32);
        if slot as usize == self.rows.len() {
            self.rows.push(row)
        } else {
            self.rows[slot as usize] = row
        }
        slot
    }

    pub(super) fn new_row(&self, request: u32) -> Row<'a> {
        let limit = self.limit(request);
        let trace = self.s.trace;
        let aborted =
            self.s.engine.prompt(trace.input_tokens[request as usize]) != trace.input_tokens[request as usize];
        let output = if aborted { 1 } else { trace.output_tokens[request as usize] };
        Row {
            request,
            state: State::Prefilling,
            order: 0,
            entry: 0,
            prompt: self.prompt(request),
            target: output.min(limit).max(1),
            limit,
            given: 0,
            prefix: 0,
            extend_end: 0,
            protected: 0,
            node: ROOT,
            entered: 0,
            window: Hold::default(),
            joined: 0,
            joined_by: 0,
            finish_at: 0,
            burst: None,
            verified: 0,
            pages: 0,
            noted: 0,
            last_emit_ps: NEVER,
            preempted: false,
        }
    }

    pub(super) fn prompt(&self, request: u32) -> u32 {
        self.s.engine.prompt(self.s.trace.input_tokens[request as usize])
    }

    pub(super) fn limit(&self, request: u32) -> u32 {
        let trace = self.s.trace;
        if self.is_prefill_replica() {
            return 1;
        }
        self.s.engine.limit(trace.input_tokens[request as usize], trace.max_output_tokens[request as usize])
    }

    /// Takes the pages of the pass's prompts. False if there are too few: the engine goes on with a cut
    /// prompt without asking whether the decodes that share its passes have left enough.
    fn take_prompts(&mut self, batch: &[u32]) -> bool {
        let engine = self.s.engine;
        let (mut extend, mut pages) = (0, 0);
        for &slot in batch {
            let row = &self.rows[slot as usize];
            extend += row.extend_end - row.prefix;
            pages += engine.ceil_page(row.extend_end) - engine.ceil_page(row.prefix);
        }
        // The engine makes room for a page too many a row.
        let slack = if engine.page_size > 1 { self.tokens_of(batch.len()) } else { 0 };
        self.make_room(slack.saturating_add(extend));
        if self.window.is_some() {
            self.make_window_room(slack.saturating_add(extend));
            for &slot in batch {
                let row = &self.rows[slot as usize];
                self.take_window(slot, engine.ceil_page(row.extend_end) - engine.ceil_page(row.prefix));
            }
        }
        if pages > self.available {
            return false;
        }
        self.available -= pages;
        true
    }

    fn run_prefill(&mut self, batch: &[u32], results: &mut Results, pass: &mut Pass) {
        let mut features = Features::default();
        for &slot in batch {
            let row = &mut self.rows[slot as usize];
            let (new, past) = (i64::from(row.extend_end - row.prefix), i64::from(row.prefix));
            features.add_prefill(past, new);
            features.context += past + new;
            features.sequences += 1;
            if self.chunked != Some(slot) {
                features.ready_context += past + new;
                features.ready_rows += 1;
                row.given += 1;
                pass.sampling.push(Sample::single(slot));
                self.joining.push(slot);
            } else {
                pass.partial = Some((row.request, row.extend_end));
                self.was_cut = true;
            }
        }
        self.send_cached(batch, pass, results);
        self.log_prefills(batch, pass);
        let mixes = self.s.engine.mixes() && !self.running.is_empty();
        if mixes {
            self.drain_ending_rows();
        }
        let mixed = mixes && !self.running.is_empty() && self.make_room_for_tokens();
        self.last = if mixed { Kind::Mixed } else { Kind::Prefill };
        if mixed {
            self.take_tokens();
            let (rows, context) = (self.decoding.len() as i64, self.decoding.context(self.k + 1));
            features.decode_rows = rows;
            features.longest = self.decoding.longest(self.k + 1, &[]).unwrap_or(0);
            features.context += context;
            features.sequences += rows;
            features.ready_context += context;
            features.ready_rows += rows;
            self.log_decodes(pass);
            self.mixed_at = Some((self.k, self.decision, self.on_way));
            self.advance_rows(pass);
        }
        self.finish_pass(&features, pass);
    }
}
