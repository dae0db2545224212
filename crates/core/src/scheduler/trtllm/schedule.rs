//! Deciding a pass, or a run of passes that are all alike.

use super::Trtllm;
use super::capacity::Fitting;
use super::row::{Context, Row, State};
use crate::config::Role;
use crate::config::trtllm::{CapacityPolicy, ChunkingPolicy};
use crate::log::PassRecord;
use crate::record::NEVER;
use crate::scheduler::Results;
use crate::scheduler::pass::{Pass, Sample};
use crate::step_time::Features;

/// An active request's place in the token budget.
#[derive(Clone, Copy)]
enum Share {
    Context(usize),
    Generation(u32),
}

impl Trtllm<'_> {
    /// See [`crate::scheduler::Scheduler::schedule`].
    pub(super) fn decide(&mut self, now_ps: i64, start_ps: i64, results: &mut Results, pass: &mut Pass) -> bool {
        pass.clear();
        pass.start_ps = start_ps;
        pass.decided_ps = now_ps;
        pass.waiting = self.pending.len() as u32;
        if self.s.role == Role::Decode {
            self.receive(now_ps, results);
        }
        self.choose_drafts();
        let passes = if self.micro.is_some() { 0 } else { self.run_length() };
        if passes > 0 {
            pass.begin_run(&self.decoding, self.s.step_time, self.k, passes);
        } else if !self.schedule_pass(results, pass) {
            return false;
        }
        pass.set_end();
        true
    }

    /// How many passes from here on only generate with the rows that generate now, and start nobody.
    fn run_length(&self) -> i64 {
        let starts = self.window() > 0 && !self.blocked;
        if starts || !self.contexts.is_empty() || !self.left_out.is_empty() {
            return 0;
        }
        let Some(finish_at) = self.decoding.first_finish() else { return 0 };
        let before_last = self.pending.front().is_some_and(|pending| {
            self.batch.last().is_some_and(|&slot| pending.order < self.rows[slot as usize].order)
        });
        if before_last && self.window() > 0 && self.s.engine.capacity_scheduler_policy == CapacityPolicy::MaxUtilization
        {
            return 0; // it pauses others to make room
        }
        let passes =
            (finish_at as i64 - self.k as i64).min((self.s.max_passes - self.passes).min(i64::MAX as u64) as i64);
        let wanted = if self.s.leap { passes } else { passes.min(1) };
        if wanted <= 0 { 0 } else { self.decoding.passes_within(self.k, i64::from(self.pool.free()), wanted) }
    }

    /// Takes the blocks of a run whose length is final.
    pub(super) fn take_run(&mut self, pass: &mut Pass) {
        if pass.settled {
            return;
        }
        pass.settled = true;
        if self.s.log_passes {
            self.log_run(pass);
        }
        pass.given = self.decoding.given(self.k, pass.passes);
        let demand = self.decoding.take(self.k, pass.passes);
        self.pool.take_unassigned(demand as u32);
        self.held += demand;
        self.k = pass.serial;
        self.passes += pass.passes as u64;
        self.leaps += u64::from(pass.passes > 1);
        self.idle_passes = 0;
        for stretch in &pass.times.stretches {
            self.gaps.push(stretch.first, stretch.step, stretch.count, pass.decoding);
        }
    }

    /// One pass by the rules: who may hold blocks, then who gets tokens.
    fn schedule_pass(&mut self, results: &mut Results, pass: &mut Pass) -> bool {
        if self.s.log_passes {
            pass.logged = Some(self.log.len());
            let (t_ps, scheduled_at_ps) = (pass.start_ps, pass.decided_ps);
            self.log.push(PassRecord { t_ps, scheduled_at_ps, ..PassRecord::default() });
        }
        let mut fitting = self.fitting(pass.start_ps, results);
        if self.micro.is_some() {
            fitting.contexts.truncate(self.s.engine.max_batch_size as usize - self.decoding.len());
        }
        let mut left_out = self.share_tokens(&mut fitting);
        let Fitting { mut contexts, blocked, paused, .. } = fitting;
        let decoding = self.decoding.len() - left_out.len();
        if !contexts.is_empty()
            && decoding > 0
            && self.waits(&contexts, decoding * (1 + self.decoding.drafts() as usize))
        {
            contexts.clear();
        }
        self.blocked = blocked && self.contexts.is_empty();
        if decoding == 0 && contexts.is_empty() && paused == 0 {
            if let Some(entry) = pass.logged.take() {
                self.log.truncate(entry);
            }
            return false;
        }
        let mut features = self.generation_features(&left_out);
        let computed: Vec<(u32, u32, u32)> = contexts.iter().map(|&c| self.compute(c, pass, results)).collect();
        pass.sampling.sort_unstable_by_key(|sample| self.rows[sample.slot as usize].order);
        for &(_, past, new) in &computed {
            let (past, new) = (i64::from(past), i64::from(new));
            features.add_prefill(past, new);
            features.context += past + new;
            features.sequences += 1;
        }
        for sample in &pass.sampling {
            features.ready_context += i64::from(self.rows[sample.slot as usize].computed);
            features.ready_rows += 1;
        }
        self.take_due(&left_out);
        if let Some(entry) = pass.logged {
            self.log_rows(entry, &left_out, &computed);
        }
        pass.given = self.decoding.given(self.k, 1);
        self.k += 1;
        self.leave_out(&mut left_out, pass);
        for index in 0..pass.sampling.len() {
            self.start_generating(pass.sampling[index].slot);
        }
        // A pass that only preempts takes no time.
        let time = if features.sequences == 0 { 0 } else { self.s.step_time.of(&features) };
        pass.begin_step(&features, time);
        pass.serial = self.k;
        pass.decoding = decoding as i64;
        self.passes += 1;
        self.idle_passes = if decoding > 0 || std::mem::take(&mut self.progress) { 0 } else { self.idle_passes + 1 };
        self.pausing = paused > 0;
        if let Some(entry) = pass.logged {
            let waiting = self.pending.len() as u32;
            let record = &mut self.log[entry];
            record.dt_ps = time;
            (record.free, record.running, record.waiting) = (self.pool.free(), self.batch.len() as u32, waiting);
        }
        true
    }

    // Tokens

    /// Shares the token budget; returns the rows in generation for which it does not suffice.
    fn share_tokens(&self, fitting: &mut Fitting) -> Vec<u32> {
        let engine = self.s.engine;
        let all = i64::from(engine.max_num_tokens);
        let each = 1 + i64::from(self.decoding.drafts());
        if engine.enable_chunked_prefill {
            let generating = fitting.mixed.as_ref().map_or(self.decoding.len(), Vec::len);
            self.share_chunks(&mut fitting.contexts, all - generating as i64 * each);
            return Vec::new();
        }
        let mut budget = all;
        let Some(mixed) = &fitting.mixed else {
            budget -= self.decoding.len() as i64 * each;
            let cut = fitting.contexts.iter().position(|context| {
                budget -= i64::from(context.tokens);
                budget < 0
            });
            // Another micro-batch may have more tokens to give.
            fitting.blocked |= cut == Some(0) && self.micro.is_none();
            fitting.contexts.truncate(cut.unwrap_or(usize::MAX));
            fitting.contexts.iter_mut().for_each(|context| context.chunk = context.tokens);
            return Vec::new();
        };
        let mut shares: Vec<(u64, Share)> =
            mixed.iter().map(|&(order, slot)| (order, Share::Generation(slot))).collect();
        shares.extend(fitting.contexts.iter().enumerate().map(|(index, c)| (c.order, Share::Context(index))));
        shares.sort_unstable_by_key(|&(order, _)| order);
        let cut = shares.iter().position(|&(_, share)| {
            budget -= match share {
                Share::Context(index) => i64::from(fitting.contexts[index].tokens),
                Share::Generation(_) => 1,
            };
            budget < 0
        });
        let without = &shares[cut.unwrap_or(shares.len())..];
        let contexts_left = without.iter().filter(|(_, share)| matches!(share, Share::Context(_))).count();
        fitting.contexts.truncate(fitting.contexts.len() - contexts_left);
        fitting.contexts.iter_mut().for_each(|context| context.chunk = context.tokens);
        let left_out = |&(_, share): &(u64, Share)| match share {
            Share::Generation(slot) => Some(slot),
            Share::Context(_) => None,
        };
        without.iter().filter_map(left_out).collect()
    }

    /// Chunks end on whole blocks, but for a context's last.
    fn share_chunks(&self, contexts: &mut Vec<Context>, mut budget: i64) {
        let unit = i64::from(self.s.engine.tokens_per_block);
        let wanted: i64 = contexts.iter().map(|context| i64::from(context.left)).sum();
        if wanted <= budget {
            contexts.iter_mut().for_each(|context| context.chunk = context.left);
        } else if self.s.engine.context_chunking_policy == ChunkingPolicy::FirstComeFirstServed {
            for context in contexts.iter_mut() {
                let left = i64::from(context.left);
                let chunk = if left <= budget { left } else { budget / unit * unit };
                context.chunk = chunk as u32;
                budget -= chunk;
            }
        } else {
            let mut progress = true;
            while budget > 0 && progress {
                progress = false;
                for context in contexts.iter_mut() {
                    let more = unit.min(i64::from(context.left - context.chunk));
                    if 0 < more && more <= budget {
                        context.chunk += more as u32;
                        budget -= more;
                        progress = true;
                    }
                }
            }
        }
        contexts.retain(|context| context.chunk > 0);
    }

    /// Whether contexts are held back while there are few of them.
    fn waits(&mut self, contexts: &[Context], generating: usize) -> bool {
        let engine = self.s.engine;
        if engine.batch_wait_timeout_iters == 0 {
            return false;
        }
        let tokens = contexts.iter().map(|context| u64::from(context.tokens)).sum::<u64>() + generating as u64;
        let over =
            self.waited_iters >= engine.batch_wait_timeout_iters || tokens >= u64::from(engine.batch_wait_tokens);
        self.waited_iters = if over { 0 } else { self.waited_iters + 1 };
        !over
    }

    // Carrying it out

    /// A context's part of the pass. Returns its slot, the tokens computed before, and in the pass.
    fn compute(&mut self, context: Context, pass: &mut Pass, results: &mut Results) -> (u32, u32, u32) {
        let slot = context.slot.unwrap_or_else(|| self.start(context, pass, results));
        self.note_computing(slot);
        let row = &mut self.rows[slot as usize];
        let past = row.computed;
        let new = context.chunk.min(row.tokens() - past);
        row.computed += new;
        if row.computed > row.furthest {
            row.furthest = row.computed;
            self.progress = true;
        }
        if row.computed == row.tokens() {
            pass.sampling.push(Sample::single(slot));
        }
        (slot, past, new)
    }

    /// A pending request takes what is cached of its context, and blocks for the rest.
    fn start(&mut self, context: Context, pass: &Pass, results: &mut Results) -> u32 {
        let place = self.pending_place(context.order);
        let pending = self.pending.remove(place).expect("it is pending until it starts");
        let request = pending.request;
        let slot = pending.slot.unwrap_or_else(|| self.new_row(pending.order, request));
        let cached = self.take_prompt_blocks(slot, context.tokens) * self.s.engine.tokens_per_block;
        let row = &mut self.rows[slot as usize];
        row.state = State::Context;
        row.computed = cached;
        let place = self.place(&self.batch, context.order);
        self.batch.insert(place, slot);
        let place = self.place(&self.contexts, context.order);
        self.contexts.insert(place, slot);
        if pending.slot.is_none() {
            results.requests.scheduled_ps[request as usize] = pass.decided_ps;
            results.requests.cached_tokens[request as usize] = cached;
        }
        if let Some(entry) = pass.logged {
            let entry = &mut self.log[entry];
            if pending.slot.is_some() { entry.resumed.push(request) } else { entry.new.push(request) }
        }
        slot
    }

    /// Takes blocks for a context of `tokens` tokens, those that are cached included. Returns how many are.
    pub(super) fn take_prompt_blocks(&mut self, slot: u32, tokens: u32) -> u32 {
        let request = self.rows[slot as usize].request;
        let (path, private) = (self.s.chains.path(request), self.s.chains.private_segment(request));
        let cached = if self.s.engine.enable_block_reuse {
            self.pool.find(path, private, (tokens - 1) / self.s.engine.tokens_per_block).blocks
        } else {
            0
        };
        if cached > 0 {
            self.pool.hold_found(slot);
        }
        self.pool.allocate(slot, self.blocks_for(tokens) - cached);
        cached
    }

    pub(super) fn new_row(&mut self, order: u64, request: u32) -> u32 {
        let limit = self.limit(request);
        let trace = self.s.trace;
        let row = Row {
            request,
            order,
            state: State::Paused,
            prompt: trace.input_tokens[request as usize],
            target: trace.output_tokens[request as usize].max(1).min(limit),
            delivered: 0,
            computed: 0,
            finish_at: 0,
            burst: None,
            joined: 0,
            verified: 0,
            last_emit_ps: NEVER,
            preempted: false,
            left_out_at: u64::MAX,
            micro_batch: 0,
            on_way: false,
            furthest: 0,
        };
        let slot = self.vacant.pop().unwrap_or(self.rows.len() as u32);
        if slot as usize == self.rows.len() {
            self.rows.push(row)
        } else {
            self.rows[slot as usize] = row
        }
        self.pool.open(slot);
        slot
    }

    /// Blocks for the next tokens of the decode set.
    fn take_due(&mut self, left_out: &[u32]) {
        let mut taken = self.decoding.take(self.k, 1);
        if self.decoding.verify().is_none() {
            taken -= self.decoding.due(self.k).iter().filter(|slot| left_out.contains(slot)).count() as i64;
        }
        self.pool.take_unassigned(taken as u32);
        self.held += taken;
    }

    /// A context that is computed whole gives its first token with this pass.
    fn start_generating(&mut self, slot: u32) {
        let place = self.place(&self.contexts, self.rows[slot as usize].order);
        self.contexts.remove(place);
        let turn = self.turn();
        let row = &mut self.rows[slot as usize];
        row.state = State::Generation;
        row.micro_batch = turn;
        row.finish_at = self.k + u64::from(row.target - row.delivered - 1);
        self.begin_bursts(slot, self.rows[slot as usize].delivered + 1);
        self.join_decode_set(slot);
    }

    /// Notes which rows the pass that was just counted left out, and which are back.
    fn leave_out(&mut self, left_out: &mut Vec<u32>, pass: &mut Pass) {
        for &slot in left_out.iter() {
            let row = &mut self.rows[slot as usize];
            let before = row.member(slot);
            row.finish_at += 1;
            if row.left_out_at != self.k - 1 {
                row.last_emit_ps = pass.start_ps;
            }
            row.left_out_at = self.k;
            let after = row.member(slot);
            self.decoding.remove(before);
            self.decoding.insert(after);
        }
        for &slot in &self.left_out {
            let row = &self.rows[slot as usize];
            if row.state == State::Generation && row.left_out_at == self.k - 1 {
                pass.returning.push(slot);
            }
        }
        self.left_out.clear();
        self.left_out.append(left_out);
    }

    fn generation_features(&self, left_out: &[u32]) -> Features {
        let rows = (self.decoding.len() - left_out.len()) as i64;
        let missing: i64 =
            left_out.iter().map(|&slot| i64::from(self.rows[slot as usize].computed_by(self.k)) + 1).sum();
        let longest = self.decoding.longest(self.k + 1, left_out);
        Features::verify(rows, self.decoding.context(self.k + 1) - missing, self.decoding.drafts())
            .with_longest(longest)
    }

    // The log

    /// Rows of a stepped pass, in order. Called before the counter is raised.
    fn log_rows(&mut self, entry: usize, left_out: &[u32], computed: &[(u32, u32, u32)]) {
        for &slot in &self.batch {
            let row = &self.rows[slot as usize];
            if row.state == State::Generation {
                if row.micro_batch == self.turn() && !left_out.contains(&slot) {
                    let drafts = self.decoding.drafts();
                    self.log[entry].push_decode(row.request, drafts, row.computed_by(self.k), row.gives(self.k));
                }
            } else if let Some(&(_, past, new)) = computed.iter().find(|&&(other, ..)| other == slot) {
                self.log[entry].scheduled.push((row.request, new, past, 0));
            }
        }
    }

    /// The passes of a run, one by one. Called before the counter is raised.
    fn log_run(&mut self, pass: &mut Pass) {
        let free_after = |passes: i64| self.pool.free() - self.decoding.demand(self.k, passes) as u32;
        for index in 0..pass.passes {
            let start_ps = pass.start_ps + pass.times.time(index);
            let mut record = PassRecord {
                t_ps: start_ps,
                dt_ps: pass.times.time(index + 1) - pass.times.time(index),
                scheduled_at_ps: start_ps,
                free: free_after(index + 1),
                // That of the last is known when its results are in.
                free_end: (index + 1 < pass.passes).then(|| free_after(index + 1)),
                running: self.batch.len() as u32,
                waiting: pass.waiting,
                ..PassRecord::default()
            };
            let k = self.k + index as u64;
            for row in self.batch.iter().map(|&slot| &self.rows[slot as usize]) {
                record.push_decode(row.request, self.decoding.drafts(), row.computed_by(k), row.gives(k));
            }
            self.log.push(record);
        }
        pass.logged = Some(self.log.len() - 1);
    }
}
