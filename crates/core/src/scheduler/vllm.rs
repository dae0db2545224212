//! vLLM V1's scheduler: one replica's requests, batch and blocks.
//!
//! `schedule` decides a pass, `update` takes in its results; when they are called is the clock's
//! business ([`crate::worker`]). Rows that decode one token a pass live in the [`DecodeSet`] and
//! are not touched in each pass; all others (prefilling, speculating, about to end) are *explicit*.
//!
//! The rules are those of the recordings, read in `notes` of the reference scheduler in Python,
//! which this must equal in every record.

use crate::chain::Chains;
use crate::config::{Acceptance, Engine, Policy, Version};
use crate::decode_set::{DecodeSet, Member};
use crate::gaps::GapList;
use crate::kv::block_pool::{BlockPool, FreeRule};
use crate::log::PassRecord;
use crate::random;
use crate::record::{NEVER, Reason, Requests, Status};
use crate::step_time::{Features, StepTime, Stretch, Timeline};
use crate::trace::Trace;
use crate::waiting::{Key, Queue, Waiting};
use std::collections::BTreeSet;

/// What all replicas share.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    pub trace: &'a Trace,
    pub chains: &'a Chains,
    pub engine: &'a Engine,
    pub step_time: &'a StepTime,
    pub leap: bool,
    pub log_passes: bool,
    pub log_blocks: bool,
}

/// Where results go.
pub struct Results<'a> {
    pub requests: &'a mut Requests,
    /// Requests that ended, in order.
    pub ended: &'a mut Vec<u32>,
}

/// One pass, or a run of passes that only decode and in which nothing else happens.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    pub start_ps: i64,
    pub end_ps: i64,
    /// Start of the last pass of a run.
    pub last_start_ps: i64,
    pub passes: i64,
    /// The decode counter after the (last) pass.
    serial: u64,
    /// Whether blocks and counter know of it already. A run is only settled when its length is.
    settled: bool,
    /// Whether its rows all decode and its gaps are noted when it is settled.
    is_run: bool,
    decided_ps: i64,
    /// Requests in the queue when it was decided.
    waiting: u32,
    times: Timeline,
    /// Rows of the decode set.
    decoding: i64,
    /// Explicit rows that get tokens.
    sampling: Vec<Sample>,
    /// Rows that decode again after passes they were left out of.
    returning: Vec<u32>,
    /// Rows whose request ended before this pass did: their token is dropped.
    dead: i64,
    /// Its entries in the log: the first, if there is a log.
    logged: Option<usize>,
}

impl Pass {
    fn set_end(&mut self) {
        self.end_ps = self.start_ps + self.times.time(self.passes);
        self.last_start_ps = self.start_ps + self.times.time(self.passes - 1);
    }

    /// Passes of it decided by `time_ps`; see [`Vllm::truncate`] for `ahead`.
    pub fn decided_by(&self, time_ps: i64, ahead: i64) -> i64 {
        (self.times.started_before(time_ps + 1 - self.start_ps) + ahead).clamp(1, self.passes)
    }

    pub fn is_settled(&self) -> bool {
        self.settled
    }

    fn clear(&mut self) {
        self.times.clear();
        self.sampling.clear();
        self.returning.clear();
        self.dead = 0;
        self.is_run = false;
        self.logged = None;
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    slot: u32,
    drafts: u32,
}

/// What came of the requests that run.
#[derive(Default)]
struct Batch {
    preempted: u32,
    /// Decoding rows that got no token: the budget was spent, or a row before them could not be fitted.
    left_out: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// In the decode set.
    Decoding,
    Explicit,
    /// In the batch, its last token on the way: takes part in no pass any more.
    Draining,
}

#[derive(Clone, Debug)]
struct Row {
    request: u32,
    arrival_ps: i64,
    state: State,
    /// Position in the batch: greater is later.
    order: u64,
    prompt: u32,
    /// Tokens it will give, at least 1: what is sampled after the prompt of a request without output is dropped.
    target: u32,
    /// Tokens it would give for all the scheduler knows.
    limit: u32,
    /// Tokens delivered; of a decoding row, those before it joined the set.
    delivered: u32,
    /// Explicit rows: tokens whose KV is computed or scheduled.
    computed: u32,
    drafts: u32,
    /// Of a padded row: they are dummies, and none will be accepted.
    padded: bool,
    /// Whether its last pass left part of the known tokens uncomputed.
    prefilling: bool,
    /// Decoding rows: the counter after the pass that gives the last token.
    finish_at: u64,
    last_emit_ps: i64,
    /// The counter after the last pass it was left out of while decoding.
    left_out_at: u64,
    /// Passes so far in which drafts were verified.
    verified: u64,
    /// The most tokens ever computed: that it grows is progress.
    furthest: u32,
    logged_blocks: usize,
}

impl Row {
    fn tokens(&self) -> u32 {
        self.prompt + self.delivered
    }

    fn member(&self, slot: u32) -> Member {
        let offset = i64::from(self.prompt) + i64::from(self.target) - self.finish_at as i64 - 1;
        Member { slot, order: self.order, offset, finish_at: self.finish_at }
    }

    /// Tokens sampled in passes scheduled so far, of a decoding row.
    fn sampled(&self, k: u64) -> u32 {
        (i64::from(self.target) - (self.finish_at as i64 - k as i64)) as u32
    }
}

#[derive(Clone, Copy, Debug)]
struct Planned {
    slot: u32,
    tokens: u32,
    blocks: u32,
}

type PreemptionKey = (i32, i64, std::cmp::Reverse<u64>, u32);

pub struct Vllm<'a> {
    s: Setting<'a>,
    pool: BlockPool,
    rows: Vec<Row>,
    vacant: Vec<u32>,
    waiting: Queue,
    /// The batch, in order.
    running: Vec<u32>,
    /// Those of the batch that are not in the decode set, in order.
    explicit: Vec<u32>,
    decoding: DecodeSet,
    /// Under the priority policy: who would be preempted first, last.
    by_priority: BTreeSet<PreemptionKey>,
    /// Preempted rows with a token on its way, and the pass it comes with.
    late: Vec<(u32, u64)>,
    /// Rows left out of the last passes while decoding.
    left_out: Vec<u32>,
    /// The counter: passes scheduled.
    k: u64,
    /// The counter after the last pass whose results are in.
    updated: u64,
    next_order: u64,
    /// The head of the queue did not fit, and nothing has happened since that could help it.
    head_blocked: bool,
    idle_passes: u64,
    progress: bool,
    planned: Vec<Planned>,
    admitted: Vec<Planned>,
    pub gaps: GapList,
    pub passes: u64,
    pub leaps: u64,
    pub log: Vec<PassRecord>,
}

impl<'a> Vllm<'a> {
    pub fn new(setting: Setting<'a>, gap_limit: usize) -> Self {
        let engine = setting.engine;
        let rule = match engine.version {
            Version::V0_32 => FreeRule::UnhashedFirst,
            Version::V0_19 => FreeRule::AllLast,
        };
        Vllm {
            s: setting,
            pool: BlockPool::new(engine.num_gpu_blocks, rule, setting.log_blocks),
            rows: Vec::new(),
            vacant: Vec::new(),
            waiting: match engine.scheduling_policy {
                Policy::Fcfs => Queue::Fcfs(Default::default()),
                Policy::Priority => Queue::Priority(Default::default()),
            },
            running: Vec::new(),
            explicit: Vec::new(),
            decoding: DecodeSet::new(engine.block_size),
            by_priority: BTreeSet::new(),
            late: Vec::new(),
            left_out: Vec::new(),
            k: 0,
            updated: 0,
            next_order: 0,
            head_blocked: false,
            idle_passes: 0,
            progress: false,
            planned: Vec::new(),
            admitted: Vec::new(),
            gaps: GapList::new(gap_limit),
            passes: 0,
            leaps: 0,
            log: Vec::new(),
        }
    }

    pub fn has_work(&self) -> bool {
        !self.running.is_empty() || !self.waiting.is_empty()
    }

    pub fn running(&self) -> u32 {
        self.running.len() as u32
    }

    pub fn waiting(&self) -> u32 {
        self.waiting.len() as u32
    }

    /// Blocks held once the first `passes` passes of an unsettled run are scheduled.
    pub fn used_blocks(&self, passes: i64) -> u32 {
        let demand = if passes > 0 { self.decoding.demand(self.k, passes) } else { 0 };
        self.pool.usable() - self.pool.free() + demand as u32
    }

    /// Passes since a request last got further than ever before.
    pub fn idle_passes(&self) -> u64 {
        self.idle_passes
    }

    /// The requests that wait or run, in the order of the batch, then of the queue.
    pub fn unfinished(&self) -> Vec<u32> {
        let running = self.running.iter().map(|&slot| self.rows[slot as usize].request);
        running.chain(self.waiting.iter().map(|waiting| waiting.request)).collect()
    }

    pub fn waiting_requests(&self) -> Vec<u32> {
        self.waiting.iter().map(|waiting| waiting.request).collect()
    }

    /// Why this request could never run here.
    pub fn refusal(&self, request: u32) -> Option<Reason> {
        let engine = self.s.engine;
        let prompt = u64::from(self.s.trace.input_tokens[request as usize]);
        let limit = u64::from(self.s.trace.max_output_tokens[request as usize].max(1));
        let output = u64::from(self.s.trace.output_tokens[request as usize].max(1));
        if prompt + limit > u64::from(engine.max_model_len) {
            Some(Reason::Context)
        } else if (prompt + output - 1).div_ceil(u64::from(engine.block_size)) > u64::from(self.pool.usable()) {
            Some(Reason::Pool)
        } else if !engine.enable_chunked_prefill && prompt > u64::from(engine.max_num_batched_tokens) {
            Some(Reason::Budget)
        } else {
            None
        }
    }

    /// Adds a request to the queue. Returns whether the next pass could now differ from those of a
    /// run in progress.
    pub fn arrive(&mut self, request: u32, arrival_ps: i64) -> bool {
        let key = self.key(request, arrival_ps);
        let head = self.waiting.head();
        self.waiting.push_arrival(key, Waiting { request, slot: None });
        if self.waiting.head() != head {
            self.head_blocked = false;
        }
        // A log shows the queue's length in each pass.
        self.s.log_passes || !self.head_blocked && self.running.len() < self.s.engine.max_num_seqs as usize
    }

    fn key(&self, request: u32, arrival_ps: i64) -> Key {
        let rank = self.s.engine.id_ranks.as_ref().map_or(request, |ranks| ranks[request as usize]);
        (self.s.trace.priority[request as usize], arrival_ps, rank)
    }

    // Scheduling

    /// Decides the next pass, or run of passes, starting at `start_ps`. `now_ps` is the time of the
    /// decision. False if there is nothing to do.
    pub fn schedule(&mut self, now_ps: i64, start_ps: i64, results: &mut Results, pass: &mut Pass) -> bool {
        pass.clear();
        pass.start_ps = start_ps;
        pass.decided_ps = now_ps;
        pass.waiting = self.waiting.len() as u32;
        if self.s.engine.async_scheduling {
            self.drain_ending_rows();
        }
        let passes = self.run_length();
        if passes > 0 {
            self.schedule_run(passes, pass);
        } else if !self.schedule_pass(results, pass) {
            return false;
        }
        pass.set_end();
        true
    }

    /// Async: rows that are certain to end with a token on its way take part in no further pass.
    fn drain_ending_rows(&mut self) {
        if self.decoding.first_finish().is_none_or(|at| at > self.k) {
            return;
        }
        let certain = |&slot: &u32| self.rows[slot as usize].limit == self.rows[slot as usize].target;
        let ending: Vec<u32> = self.decoding.finishing_by(self.k).filter(certain).collect();
        for slot in ending {
            self.decoding.remove(self.rows[slot as usize].member(slot));
            self.rows[slot as usize].state = State::Draining;
            let order = self.rows[slot as usize].order;
            let position = self.explicit_before(order);
            self.explicit.insert(position, slot);
            if !self.s.engine.enable_chunked_prefill {
                self.head_blocked = false; // a whole prompt may fit the budget now
            }
        }
    }

    /// How many passes from here on only decode the rows that decode now, and admit nobody.
    fn run_length(&self) -> i64 {
        let engine = self.s.engine;
        let full = self.running.len() >= engine.max_num_seqs as usize;
        let admits = !self.waiting.is_empty() && !self.head_blocked && !full;
        if admits
            || !self.explicit.is_empty()
            || !self.late.is_empty()
            || !self.left_out.is_empty()
            || self.decoding.len() > engine.max_num_batched_tokens as usize
            || self.s.log_blocks
        {
            return 0;
        }
        let Some(finish_at) = self.decoding.first_finish() else { return 0 };
        let passes = finish_at as i64 - self.k as i64;
        let wanted = if self.s.leap { passes } else { passes.min(1) };
        if wanted <= 0 { 0 } else { self.decoding.passes_within(self.k, i64::from(self.pool.free()), wanted) }
    }

    fn schedule_run(&mut self, passes: i64, pass: &mut Pass) {
        let rows = self.decoding.len() as i64;
        self.s.step_time.decode_stretches(rows, self.decoding.context(self.k + 1), passes, &mut pass.times);
        pass.passes = passes;
        pass.serial = self.k + passes as u64;
        pass.decoding = rows;
        pass.is_run = true;
        pass.settled = false;
    }

    /// Ends a run after the passes that are decided before `time_ps`. `ahead` is 1 if a pass is
    /// decided when the one before it starts (async), 0 if when that one has ended.
    pub fn truncate(&self, pass: &mut Pass, time_ps: i64, ahead: i64) {
        if pass.settled || pass.passes == 1 {
            return;
        }
        let passes = (pass.times.started_before(time_ps - pass.start_ps) + ahead).clamp(1, pass.passes);
        if passes < pass.passes {
            pass.times.truncate(passes);
            pass.passes = passes;
            pass.serial = self.k + passes as u64;
            pass.set_end();
        }
    }

    /// Takes the blocks of a run whose length is final.
    pub fn settle(&mut self, pass: &mut Pass) {
        if pass.settled {
            return;
        }
        pass.settled = true;
        if self.s.log_passes {
            self.log_run(pass);
        }
        self.pool.take_unassigned(self.decoding.demand(self.k, pass.passes) as u32);
        self.k = pass.serial;
        self.passes += pass.passes as u64;
        self.leaps += u64::from(pass.passes > 1);
        self.idle_passes = 0;
        for stretch in &pass.times.stretches {
            self.gaps.push(stretch.first, stretch.step, stretch.count, pass.decoding);
        }
    }

    /// One pass by the rules: the batch in order, then the queue.
    fn schedule_pass(&mut self, results: &mut Results, pass: &mut Pass) -> bool {
        if self.s.log_passes {
            pass.logged = Some(self.log.len());
            self.log.push(PassRecord {
                t_ps: pass.start_ps,
                scheduled_at_ps: pass.decided_ps,
                ..PassRecord::default()
            });
        }
        let threshold = self.long_prefill_threshold();
        let mut batch = match self.plan_batch(threshold) {
            Some(batch) => batch,
            None => self.fit_batch(threshold, pass.start_ps, results),
        };
        let decoding = self.decoding.len() - batch.left_out.len();
        let used = decoding as i64 + self.planned.iter().map(|p| i64::from(p.tokens)).sum::<i64>();
        let mut features = self.decode_features(&batch.left_out);
        let some_prefilling = self.planned.iter().any(|p| self.rows[p.slot as usize].prefilling);
        let planned = std::mem::take(&mut self.planned);
        for &row in &planned {
            self.advance(row, &mut features, pass);
        }
        self.admitted.clear();
        if batch.preempted == 0 {
            let budget = i64::from(self.s.engine.max_num_batched_tokens) - used;
            self.admit(budget, threshold, used > 0, some_prefilling, &batch.left_out, pass.decided_ps, results);
        }
        let admitted = std::mem::take(&mut self.admitted);
        for &row in &admitted {
            self.advance(row, &mut features, pass);
        }
        let empty = decoding == 0 && planned.is_empty() && admitted.is_empty();
        if empty && batch.preempted == 0 {
            if let Some(entry) = pass.logged.take() {
                self.log.truncate(entry);
            }
            self.planned = planned;
            self.admitted = admitted;
            return false;
        }
        if let Some(entry) = pass.logged {
            self.log_rows(entry, &batch.left_out, &planned, &admitted);
        }
        self.planned = planned;
        self.admitted = admitted;

        self.k += 1;
        self.leave_out(&mut batch.left_out, pass);
        if self.s.engine.num_speculative_tokens == 0 {
            self.join_decode_set(&pass.sampling);
        }
        let time = if empty { 0 } else { self.s.step_time.of(&features) };
        pass.times.push(Stretch { count: 1, first: time, step: 0 });
        pass.passes = 1;
        pass.serial = self.k;
        pass.decoding = decoding as i64;
        pass.settled = true;
        self.passes += 1;
        self.idle_passes = if decoding > 0 || std::mem::take(&mut self.progress) { 0 } else { self.idle_passes + 1 };
        if let Some(entry) = pass.logged {
            self.log_state(entry, time);
        }
        true
    }

    fn long_prefill_threshold(&self) -> u32 {
        let engine = self.s.engine;
        let requests = (self.running.len() + self.waiting.len()) as u32;
        if engine.long_prefill_token_threshold == 0 || (engine.version == Version::V0_32 && requests <= 1) {
            0
        } else if engine.long_prefill_token_threshold_adaptive {
            engine.long_prefill_token_threshold.max(engine.max_num_batched_tokens / requests)
        } else {
            engine.long_prefill_token_threshold
        }
    }

    /// The tokens an explicit row takes of a budget of `left`.
    fn wanted_tokens(&self, row: &Row, threshold: u32, left: i64) -> u32 {
        if row.state == State::Draining {
            return 0;
        }
        let mut tokens = row.tokens() + row.drafts - row.computed;
        if threshold > 0 {
            tokens = tokens.min(threshold);
        }
        let context_left = self.s.engine.max_model_len.saturating_sub(row.computed + 1);
        tokens.min(left.min(i64::from(u32::MAX)) as u32).min(context_left)
    }

    fn blocks_for(&self, tokens: u32) -> u32 {
        tokens.min(self.s.engine.max_model_len.max(1)).div_ceil(self.s.engine.block_size)
    }

    fn position(&self, order: u64) -> usize {
        self.running.partition_point(|&slot| self.rows[slot as usize].order < order)
    }

    fn explicit_before(&self, order: u64) -> usize {
        self.explicit.partition_point(|&slot| self.rows[slot as usize].order < order)
    }

    /// Plans the batch if the budget and the free blocks suffice for all of it: then the order in
    /// which rows take them does not matter. Costs the explicit rows.
    fn plan_batch(&mut self, threshold: u32) -> Option<Batch> {
        self.planned.clear();
        if self.s.log_blocks {
            return None;
        }
        let budget = i64::from(self.s.engine.max_num_batched_tokens);
        let due = self.decoding.due(self.k).len() as u32;
        let (mut used, mut blocks) = (0, due);
        for (index, &slot) in self.explicit.iter().enumerate() {
            let row = &self.rows[slot as usize];
            let decoding_before = (self.position(row.order) - index) as i64;
            let left = budget - used - decoding_before;
            if left <= 0 {
                return None;
            }
            let tokens = self.wanted_tokens(row, threshold, left);
            if tokens > 0 {
                let more = self.blocks_for(row.computed + tokens).saturating_sub(self.pool.held(slot));
                self.planned.push(Planned { slot, tokens, blocks: more });
                used += i64::from(tokens);
                blocks += more;
            }
        }
        if used + self.decoding.len() as i64 > budget || blocks > self.pool.free() {
            return None;
        }
        self.pool.take_unassigned(due);
        for planned in &self.planned {
            self.pool.allocate(planned.slot, planned.blocks);
        }
        Some(Batch::default())
    }

    /// Fits the batch row by row, preempting where blocks run out. Costs the rows that need
    /// something, those preempted and those left out.
    fn fit_batch(&mut self, threshold: u32, start_ps: i64, results: &mut Results) -> Batch {
        self.planned.clear();
        let mut batch = Batch::default();
        let mut items: Vec<u32> = self.explicit.iter().chain(self.decoding.due(self.k)).copied().collect();
        items.sort_unstable_by_key(|&slot| self.rows[slot as usize].order);
        let budget = i64::from(self.s.engine.max_num_batched_tokens);
        let mut used = 0;
        let mut cut = u64::MAX;
        'items: for slot in items {
            if self.rows[slot as usize].state == State::Waiting || batch.left_out.contains(&slot) {
                continue;
            }
            let order = self.rows[slot as usize].order;
            let decoding_before = (self.position(order) - self.explicit_before(order)) as i64;
            let left = budget - used - decoding_before + batch.left_out.len() as i64;
            if left <= 0 {
                break;
            }
            let decodes = self.rows[slot as usize].state == State::Decoding;
            let (tokens, blocks) = if decodes {
                (1, 1)
            } else {
                let row = &self.rows[slot as usize];
                let tokens = self.wanted_tokens(row, threshold, left);
                (tokens, self.blocks_for(row.computed + tokens).saturating_sub(self.pool.held(slot)))
            };
            if tokens == 0 {
                continue;
            }
            while blocks > self.pool.free() {
                let victim = self.victim();
                let victim_order = self.rows[victim as usize].order;
                batch.preempted += 1;
                if victim == slot {
                    self.preempt(victim, false, start_ps, results);
                    cut = order;
                    break 'items;
                }
                let undone = self.planned.iter().position(|p| p.slot == victim);
                if let Some(index) = undone {
                    used -= i64::from(self.planned.remove(index).tokens);
                }
                let scheduled =
                    undone.is_some() || victim_order < order && self.rows[victim as usize].state == State::Decoding;
                if victim_order < order && !scheduled && self.s.engine.version == Version::V0_19 {
                    self.pass_over(order, &mut batch);
                }
                self.preempt(victim, scheduled, start_ps, results);
            }
            if decodes && !self.s.log_blocks {
                self.pool.take_unassigned(1);
            } else {
                self.pool.allocate(slot, blocks);
            }
            if !decodes {
                self.hash_scheduled(slot, tokens); // at once: these hashes stay even if the row is preempted in this pass
                self.planned.push(Planned { slot, tokens, blocks });
                used += i64::from(tokens);
            }
        }
        cut = cut.min(self.budget_cut(budget - used + batch.left_out.len() as i64));
        for &slot in self.running.iter().rev() {
            let row = &self.rows[slot as usize];
            if row.order < cut {
                break;
            }
            if row.state == State::Decoding && !batch.left_out.contains(&slot) {
                batch.left_out.push(slot);
            }
        }
        batch
    }

    /// vLLM 0.19: removing a row that was skipped, before the row at `order`, makes the loop pass
    /// over the row after that one.
    fn pass_over(&self, order: u64, batch: &mut Batch) {
        if let Some(&slot) = self.running.get(self.position(order) + 1) {
            batch.left_out.push(slot);
        }
    }

    /// The order of the first decoding row for which a budget of `tokens` does not suffice.
    fn budget_cut(&self, tokens: i64) -> u64 {
        if self.decoding.len() as i64 <= tokens {
            return u64::MAX;
        }
        let (mut low, mut high) = (0, self.running.len() - 1);
        while low < high {
            let middle = (low + high) / 2;
            let order = self.rows[self.running[middle] as usize].order;
            let decoding_upto = (middle + 1 - self.explicit_before(order + 1)) as i64;
            if decoding_upto > tokens { high = middle } else { low = middle + 1 }
        }
        self.rows[self.running[low] as usize].order
    }

    fn victim(&self) -> u32 {
        match self.s.engine.scheduling_policy {
            Policy::Fcfs => *self.running.last().expect("a row that lacks blocks is in the batch"),
            Policy::Priority => self.by_priority.last().expect("a row that lacks blocks is in the batch").3,
        }
    }

    /// Takes a row out of the batch and all its blocks away. `scheduled`: it already had a place
    /// in this pass.
    fn preempt(&mut self, slot: u32, scheduled: bool, start_ps: i64, results: &mut Results) {
        let mut on_way = 0;
        if matches!(self.rows[slot as usize].state, State::Decoding | State::Draining) {
            let row = &mut self.rows[slot as usize];
            let left_out_before = row.left_out_at == self.k;
            on_way = u32::from(self.updated < self.k && !left_out_before);
            let sampled = match row.state {
                State::Draining => row.target,
                _ => row.sampled(self.k),
            };
            let computed = row.prompt + sampled - 1 + u32::from(scheduled);
            row.delivered = sampled - on_way;
            if !left_out_before && on_way == 0 {
                row.last_emit_ps = start_ps;
            }
            self.bring_up_to_date(slot, computed, computed - on_way);
        }
        self.leave_batch(slot);
        self.pool.release(slot);
        let row = &mut self.rows[slot as usize];
        row.state = State::Waiting;
        row.computed = 0;
        row.drafts = 0;
        row.prefilling = false;
        if on_way > 0 {
            self.late.push((slot, self.k));
        }
        let (request, arrival_ps) = (row.request, row.arrival_ps);
        let key = self.key(request, arrival_ps);
        self.waiting.push_preempted(key, Waiting { request, slot: Some(slot) });
        self.head_blocked = false;
        results.requests.preemptions[request as usize] += 1;
        if self.s.log_passes
            && let Some(entry) = self.log.last_mut()
        {
            entry.preempted.push(request);
        }
    }

    /// Tells the pool what a decoding row holds by now: blocks for `computed` tokens, of which
    /// the first `known` have hashes.
    fn bring_up_to_date(&mut self, slot: u32, computed: u32, known: u32) {
        self.pool.settle(slot, computed.div_ceil(self.s.engine.block_size));
        if self.s.engine.enable_prefix_caching {
            let request = self.rows[slot as usize].request;
            let (path, private) = (self.s.chains.path(request), self.s.chains.private_segment(request));
            self.pool.hash_upto(slot, path, private, known / self.s.engine.block_size);
        }
    }

    fn leave_batch(&mut self, slot: u32) {
        let row = &self.rows[slot as usize];
        let order = row.order;
        if row.state == State::Decoding {
            self.decoding.remove(row.member(slot));
        } else {
            let position = self.explicit_before(order);
            self.explicit.remove(position);
        }
        let position = self.position(order);
        self.running.remove(position);
        if self.s.engine.scheduling_policy == Policy::Priority {
            let key = self.preemption_key(slot);
            self.by_priority.remove(&key);
        }
    }

    /// The greatest goes first; of equals, the first in the batch.
    fn preemption_key(&self, slot: u32) -> PreemptionKey {
        let row = &self.rows[slot as usize];
        let priority = self.s.trace.priority[row.request as usize];
        (priority, row.arrival_ps, std::cmp::Reverse(row.order), slot)
    }

    fn decode_features(&self, left_out: &[u32]) -> Features {
        let rows = (self.decoding.len() - left_out.len()) as i64;
        let missing: i64 =
            left_out.iter().map(|&slot| self.rows[slot as usize].member(slot).offset + self.k as i64 + 1).sum();
        let context = self.decoding.context(self.k + 1) - missing;
        Features {
            decode_rows: rows,
            context,
            sequences: rows,
            ready_context: context,
            ready_rows: rows,
            ..Features::default()
        }
    }

    /// Carries out an explicit row's part of the pass.
    fn advance(&mut self, planned: Planned, features: &mut Features, pass: &mut Pass) {
        let Planned { slot, tokens: new, .. } = planned;
        self.hash_scheduled(slot, new);
        let row = &mut self.rows[slot as usize];
        let known = row.tokens();
        let past = row.computed;
        if row.delivered > 0 && past + 1 >= known {
            features.decode_rows += 1;
        } else {
            features.prefill_tokens += i64::from(new);
            features.prefill_work += i64::from(new) * (2 * i64::from(past) + i64::from(new));
        }
        row.computed += new;
        row.prefilling = row.computed < known;
        features.context += i64::from(row.computed);
        features.sequences += 1;
        if !row.prefilling {
            features.ready_context += i64::from(row.computed);
            features.ready_rows += 1;
            pass.sampling.push(Sample { slot, drafts: row.computed - known });
        }
        if !row.padded {
            row.drafts = 0;
        }
        let computed = row.computed.min(known);
        if computed > row.furthest {
            row.furthest = computed;
            self.progress = true;
        }
    }

    /// Enters blocks filled by `new` more tokens into the cache: at once, before they are computed.
    fn hash_scheduled(&mut self, slot: u32, new: u32) {
        if !self.s.engine.enable_prefix_caching {
            return;
        }
        let row = &self.rows[slot as usize];
        let blocks = (row.computed + new).min(row.tokens()) / self.s.engine.block_size;
        if blocks > self.pool.hashed(slot) {
            let (path, private) = (self.s.chains.path(row.request), self.s.chains.private_segment(row.request));
            self.pool.hash_upto(slot, path, private, blocks);
            self.head_blocked = false; // the head of the queue may hit these blocks
        }
    }

    /// The waiting loop: admits from the head of the queue what fits.
    #[allow(clippy::too_many_arguments)]
    fn admit(
        &mut self,
        mut budget: i64,
        threshold: u32,
        some_running: bool,
        some_prefilling: bool,
        left_out: &[u32],
        now_ps: i64,
        results: &mut Results,
    ) {
        let engine = self.s.engine;
        let block_size = engine.block_size;
        if self.head_blocked {
            return;
        }
        if self.s.chains.generated_is_shared() && !self.waiting.is_empty() {
            self.hash_generated(left_out);
        }
        while budget > 0 && self.running.len() < engine.max_num_seqs as usize {
            let Some(head) = self.waiting.head() else { break };
            let request = head.request;
            let prompt = self.s.trace.input_tokens[request as usize];
            let known = prompt + head.slot.map_or(0, |slot| self.rows[slot as usize].delivered);
            let (path, private) = (self.s.chains.path(request), self.s.chains.private_segment(request));
            let hit = if engine.enable_prefix_caching {
                self.pool.find(path, private, (known - 1) / block_size)
            } else {
                Default::default()
            };
            let cached = hit.blocks * block_size;
            let mut new = known - cached;
            let drafts = engine.num_speculative_tokens;
            let padded = drafts > 0
                && engine.version == Version::V0_32
                && new == 1
                && !some_prefilling
                && (some_running || hit.blocks > 0)
                && cached + 2 + drafts <= engine.max_model_len;
            if padded {
                if i64::from(1 + drafts) > budget {
                    break;
                }
                new = 1 + drafts;
            }
            if threshold > 0 {
                new = new.min(threshold);
            }
            // The same test gives the same answer until a release, if the same rows decode in each pass
            // and no threshold moves with the number of requests.
            let steady = engine.long_prefill_token_threshold == 0 && self.planned_nothing() && self.admitted.is_empty();
            if !engine.enable_chunked_prefill && i64::from(new) > budget {
                self.head_blocked = steady && !self.s.chains.generated_is_shared();
                break;
            }
            new = new.min(budget as u32);
            let watermark = if self.running.is_empty() { 0 } else { engine.watermark_blocks };
            let whole = self.blocks_for(known).saturating_sub(hit.blocks);
            let first = self.blocks_for(cached + new).saturating_sub(hit.blocks);
            let fits = |blocks: u32| {
                u64::from(blocks) + u64::from(hit.unheld) + u64::from(watermark) <= u64::from(self.pool.free())
            };
            let whole_fits = !engine.scheduler_reserve_full_isl || fits(whole);
            if !whole_fits || !fits(first) {
                self.head_blocked = (steady || !whole_fits) && !self.s.chains.generated_is_shared();
                break;
            }
            self.waiting.pop();
            let slot = self.enter_batch(head, cached, now_ps, results);
            if hit.blocks > 0 {
                self.pool.hold_found(slot);
            }
            self.pool.allocate(slot, first);
            if padded {
                self.rows[slot as usize].drafts = drafts;
                self.rows[slot as usize].padded = true;
            }
            self.hash_scheduled(slot, new);
            self.admitted.push(Planned { slot, tokens: new, blocks: first });
            budget -= i64::from(new);
        }
    }

    fn planned_nothing(&self) -> bool {
        self.explicit.iter().all(|&slot| self.rows[slot as usize].state == State::Draining)
    }

    fn enter_batch(&mut self, waiting: Waiting, cached: u32, now_ps: i64, results: &mut Results) -> u32 {
        let request = waiting.request;
        let order = self.next_order;
        self.next_order += 1;
        let slot = waiting.slot.unwrap_or_else(|| {
            let row = self.new_row(request, results.requests.arrival_ps[request as usize]);
            let slot = self.vacant.pop().unwrap_or(self.rows.len() as u32);
            if slot as usize == self.rows.len() {
                self.rows.push(row)
            } else {
                self.rows[slot as usize] = row
            }
            self.pool.open(slot);
            results.requests.scheduled_ps[request as usize] = now_ps;
            results.requests.cached_tokens[request as usize] = cached;
            slot
        });
        let row = &mut self.rows[slot as usize];
        row.state = State::Explicit;
        row.order = order;
        row.computed = cached;
        row.padded = false;
        row.logged_blocks = 0;
        self.running.push(slot);
        self.explicit.push(slot);
        if self.s.engine.scheduling_policy == Policy::Priority {
            let key = self.preemption_key(slot);
            self.by_priority.insert(key);
        }
        if self.s.log_passes
            && let Some(entry) = self.log.last_mut()
        {
            let list = if waiting.slot.is_some() { &mut entry.resumed } else { &mut entry.new };
            list.push(request);
        }
        slot
    }

    fn new_row(&self, request: u32, arrival_ps: i64) -> Row {
        let trace = self.s.trace;
        let prompt = trace.input_tokens[request as usize];
        let context_left = self.s.engine.max_model_len.saturating_sub(prompt).max(1);
        let limit = trace.max_output_tokens[request as usize].max(1).min(context_left);
        Row {
            request,
            arrival_ps,
            state: State::Explicit,
            order: 0,
            prompt,
            target: trace.output_tokens[request as usize].max(1).min(limit),
            limit,
            delivered: 0,
            computed: 0,
            drafts: 0,
            padded: false,
            prefilling: false,
            finish_at: 0,
            last_emit_ps: NEVER,
            left_out_at: u64::MAX,
            verified: 0,
            furthest: 0,
            logged_blocks: 0,
        }
    }

    /// Enters the generated blocks of decoding rows into the cache, where others may hit them.
    fn hash_generated(&mut self, left_out: &[u32]) {
        let on_way = u32::from(self.updated < self.k);
        for index in 0..self.running.len() {
            let slot = self.running[index];
            let row = &self.rows[slot as usize];
            if row.state == State::Decoding {
                let scheduled = u32::from(!left_out.contains(&slot));
                let computed = row.prompt + row.sampled(self.k) - 1 + scheduled;
                self.bring_up_to_date(slot, computed, computed - on_way);
            }
        }
    }

    /// Notes which decoding rows the pass that was just counted left out, and which are back.
    fn leave_out(&mut self, left_out: &mut Vec<u32>, pass: &mut Pass) {
        for &slot in left_out.iter() {
            let row = &mut self.rows[slot as usize];
            if row.finish_at < self.k {
                row.left_out_at = self.k; // its last token is on its way: it ends before anything else
                continue;
            }
            self.decoding.remove(row.member(slot));
            row.finish_at += 1;
            self.decoding.insert(row.member(slot));
            if row.left_out_at != self.k - 1 {
                row.last_emit_ps = pass.start_ps;
            }
            row.left_out_at = self.k;
        }
        for &slot in &self.left_out {
            let row = &self.rows[slot as usize];
            if row.state == State::Decoding && row.left_out_at == self.k - 1 {
                pass.returning.push(slot);
            }
        }
        self.left_out.clear();
        self.left_out.append(left_out);
    }

    /// Rows that get their first token (since they entered the batch) decode from now on.
    fn join_decode_set(&mut self, sampling: &[Sample]) {
        for &Sample { slot, .. } in sampling {
            let position = self.explicit_before(self.rows[slot as usize].order);
            self.explicit.remove(position);
            let row = &mut self.rows[slot as usize];
            row.state = State::Decoding;
            row.finish_at = self.k + u64::from(row.target - row.delivered - 1);
            self.decoding.insert(row.member(slot));
        }
    }

    // Results

    /// Takes in the results of a pass at its end. `next` is the pass that was scheduled after it,
    /// if one was.
    pub fn update(&mut self, pass: &mut Pass, next: Option<&mut Pass>, results: &mut Results) {
        let end_ps = pass.end_ps;
        self.settle(pass);
        self.updated = pass.serial;
        let speculative = self.s.engine.num_speculative_tokens > 0;
        let mut ending: Vec<u32> = Vec::new();
        if !pass.is_run {
            let steady = pass.decoding - pass.returning.len() as i64 - pass.dead;
            self.gaps.push_one(end_ps - pass.start_ps, steady);
        }
        for &slot in &pass.returning {
            self.gaps.push_one(end_ps - self.rows[slot as usize].last_emit_ps, 1);
        }
        for index in 0..pass.sampling.len() {
            let sample = pass.sampling[index];
            if speculative {
                if self.deliver_verified(sample, end_ps, pass.logged, results) {
                    ending.push(sample.slot);
                }
            } else if self.rows[sample.slot as usize].state != State::Waiting {
                self.deliver(sample.slot, end_ps, 1, pass.logged, results);
            }
        }
        for index in (0..self.late.len()).rev() {
            let (slot, serial) = self.late[index];
            if serial <= pass.serial {
                self.late.remove(index);
                if pass.sampling.iter().any(|sample| sample.slot == slot) {
                    self.deliver(slot, end_ps, 1, pass.logged, results);
                }
                let row = &mut self.rows[slot as usize];
                row.delivered += 1;
                row.last_emit_ps = end_ps;
                if row.delivered == row.target {
                    ending.push(slot);
                }
            }
        }
        ending.extend(self.decoding.finishing_by(pass.serial));
        for &slot in &self.explicit {
            let row = &self.rows[slot as usize];
            if row.state == State::Draining && row.finish_at <= pass.serial {
                ending.push(slot);
            }
        }
        ending.sort_unstable_by_key(|&slot| self.rows[slot as usize].order);
        let mut next = next;
        for &slot in &ending {
            self.end(slot, end_ps, next.as_deref_mut(), results);
        }
        if let Some(entry) = pass.logged {
            let unseen = match next {
                Some(next) if !next.settled => self.decoding.demand(self.k, 1) as u32,
                _ => 0,
            };
            self.log[entry].free_end = Some(self.pool.free() - unseen);
            self.log[entry].finished.extend(&results.ended[results.ended.len() - ending.len()..]);
        }
    }

    /// A row's token reaches its client; the row has `delivered` of them already.
    fn deliver(&mut self, slot: u32, end_ps: i64, tokens: u32, logged: Option<usize>, results: &mut Results) {
        let row = &self.rows[slot as usize];
        let request = row.request as usize;
        if self.s.trace.output_tokens[request] == 0 {
            return;
        }
        if row.delivered == 0 {
            results.requests.first_token_ps[request] = end_ps;
        } else {
            self.gaps.push_one(end_ps - row.last_emit_ps, 1);
        }
        if tokens > 1 {
            self.gaps.push_one(0, i64::from(tokens) - 1);
        }
        if let Some(entry) = logged {
            self.log[entry].emitted.push((row.request, tokens));
        }
    }

    /// Speculation: delivers the accepted drafts and one more token. Returns whether the row ends.
    fn deliver_verified(&mut self, sample: Sample, end_ps: i64, logged: Option<usize>, results: &mut Results) -> bool {
        let Sample { slot, drafts } = sample;
        let accepted = if self.rows[slot as usize].padded { 0 } else { self.accepted(slot, drafts) };
        let row = &mut self.rows[slot as usize];
        row.computed -= drafts - accepted;
        let tokens = (accepted + 1).min(row.target - row.delivered);
        let request = row.request;
        self.deliver(slot, end_ps, tokens, logged, results);
        let row = &mut self.rows[slot as usize];
        row.delivered += tokens;
        row.last_emit_ps = end_ps;
        row.padded = false;
        row.drafts = self.s.engine.num_speculative_tokens;
        let ends = row.delivered == row.target;
        if drafts > 0
            && self.s.trace.output_tokens[request as usize] > 0
            && let Some(entry) = logged
        {
            self.log[entry].accepted.push((request, tokens - 1));
        }
        ends
    }

    fn accepted(&mut self, slot: u32, drafts: u32) -> u32 {
        let row = &mut self.rows[slot as usize];
        let Some(acceptance) = self.s.engine.acceptance.as_ref().filter(|_| drafts > 0) else { return 0 };
        let ordinal = row.verified;
        row.verified += 1;
        match acceptance {
            Acceptance::Cycle { pattern } => {
                pattern.get(ordinal as usize % pattern.len().max(1)).map_or(0, |&accepted| accepted.min(drafts))
            }
            Acceptance::Conditional { thresholds, seed } => (0..drafts)
                .take_while(|&position| {
                    let keys = [u64::from(row.request), ordinal, u64::from(position)];
                    let threshold = thresholds.get(position as usize).or(thresholds.last());
                    threshold.is_some_and(|&threshold| random::draw(*seed, &keys) < threshold)
                })
                .count() as u32,
        }
    }

    /// A request is complete: its row leaves, wherever it is.
    fn end(&mut self, slot: u32, end_ps: i64, next: Option<&mut Pass>, results: &mut Results) {
        let row = &self.rows[slot as usize];
        let request = row.request;
        match row.state {
            State::Waiting => {
                let key = self.key(request, row.arrival_ps);
                self.waiting.remove(key, request);
            }
            State::Explicit => {
                self.leave_batch(slot);
                self.pool.release(slot);
            }
            State::Decoding | State::Draining => {
                let computed = row.prompt + row.target - 1;
                let mut held = computed;
                if row.state == State::Decoding {
                    let left_out = row.left_out_at == self.k && row.finish_at < self.k;
                    held = row.prompt + row.sampled(self.k) - 1 - u32::from(left_out);
                    if self.k > self.updated
                        && !left_out
                        && let Some(next) = next
                    {
                        next.dead += 1;
                        next.returning.retain(|&other| other != slot);
                        if let Some(entry) = next.logged {
                            self.log[entry].emitted.retain(|&(other, _)| other != request);
                        }
                    }
                }
                let block_size = self.s.engine.block_size;
                self.leave_batch(slot);
                self.pool.settle(slot, held.div_ceil(block_size));
                if self.s.engine.enable_prefix_caching {
                    self.pool.release_ended(slot, self.s.chains.path(request), computed / block_size);
                } else {
                    self.pool.release(slot);
                }
            }
        }
        self.head_blocked = false;
        self.vacant.push(slot);
        let output = self.s.trace.output_tokens[request as usize].min(self.rows[slot as usize].target);
        let requests = &mut *results.requests;
        let request_index = request as usize;
        requests.output_tokens[request_index] = output;
        if output > 0 {
            requests.last_token_ps[request_index] = end_ps;
        }
        requests.end_ps[request_index] = end_ps;
        requests.status[request_index] = Status::Completed as u8;
        results.ended.push(request);
    }

    // The log

    /// Rows of a stepped pass, in the batch's order. Called before the counter is raised.
    fn log_rows(&mut self, entry: usize, left_out: &[u32], planned: &[Planned], admitted: &[Planned]) {
        for &slot in &self.running {
            let row = &self.rows[slot as usize];
            if row.state == State::Decoding {
                if !left_out.contains(&slot) {
                    let computed = row.prompt + row.sampled(self.k) - 1;
                    self.log[entry].scheduled.push((row.request, 1, computed, 0));
                    self.log[entry].emitted.push((row.request, 1));
                }
            } else if let Some(p) = planned.iter().chain(admitted).find(|p| p.slot == slot) {
                let drafts = row.computed.saturating_sub(row.tokens());
                self.log[entry].scheduled.push((row.request, p.tokens, row.computed - p.tokens, drafts));
            }
        }
    }

    fn log_state(&mut self, entry: usize, time: i64) {
        self.log[entry].dt_ps = time;
        self.log[entry].free = self.pool.free();
        self.log[entry].running = self.running.len() as u32;
        self.log[entry].waiting = self.waiting.len() as u32;
        if self.s.log_blocks {
            for index in 0..self.running.len() {
                let slot = self.running[index];
                let numbers = self.pool.block_numbers(slot);
                let row = &mut self.rows[slot as usize];
                if numbers.len() > row.logged_blocks {
                    self.log[entry].blocks.push((row.request, numbers[row.logged_blocks..].to_vec()));
                    row.logged_blocks = numbers.len();
                }
            }
        }
    }

    /// The passes of a run, one by one. Called before the counter is raised.
    fn log_run(&mut self, pass: &mut Pass) {
        let ahead = i64::from(self.s.engine.async_scheduling);
        let free_after = |passes: i64| self.pool.free() - self.decoding.demand(self.k, passes) as u32;
        for index in 0..pass.passes {
            let start_ps = pass.start_ps + pass.times.time(index);
            let rows = self.running.iter().map(|&slot| {
                let row = &self.rows[slot as usize];
                (row.request, 1, row.prompt + row.sampled(self.k + index as u64) - 1, 0)
            });
            self.log.push(PassRecord {
                t_ps: start_ps,
                dt_ps: pass.times.time(index + 1) - pass.times.time(index),
                scheduled_at_ps: match (ahead, index) {
                    (0, _) => start_ps,
                    (_, 0) => pass.decided_ps,
                    _ => pass.start_ps + pass.times.time(index - 1),
                },
                scheduled: rows.collect(),
                free: free_after(index + 1),
                free_end: Some(free_after((index + 1 + ahead).min(pass.passes))),
                running: self.running.len() as u32,
                waiting: pass.waiting,
                emitted: self.running.iter().map(|&slot| (self.rows[slot as usize].request, 1)).collect(),
                ..PassRecord::default()
            });
        }
        pass.logged = Some(self.log.len() - 1);
    }

    /// Nothing runs and the head of the queue can never be admitted.
    pub fn log_stuck(&mut self, now_ps: i64) {
        let stuck = Some(self.waiting_requests());
        self.log.push(PassRecord { t_ps: now_ps, scheduled_at_ps: now_ps, stuck, ..PassRecord::default() });
    }

    /// Panics unless all blocks are accounted for. For tests, between passes.
    pub fn check(&self) {
        let unassigned: u32 = self
            .running
            .iter()
            .filter(|&&slot| self.rows[slot as usize].state != State::Explicit)
            .map(|&slot| {
                let row = &self.rows[slot as usize];
                let sampled = if row.state == State::Draining { row.target } else { row.sampled(self.k) };
                (row.prompt + sampled - 1).div_ceil(self.s.engine.block_size) - self.pool.held(slot)
            })
            .sum();
        self.pool.check(unassigned);
        assert_eq!(self.running.len(), self.decoding.len() + self.explicit.len());
    }
}
