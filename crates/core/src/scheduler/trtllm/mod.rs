//! TensorRT-LLM's scheduler: one replica's requests, batch and blocks.
//!
//! A request is in its *context* until its prompt is computed, then in *generation*, a token a
//! pass. Rows in generation live in the [`DecodeSet`] and are not touched in each pass. The order
//! of everything is that of arrival: a paused request keeps its place.
//!
//! Written from the source of the PyTorch backend, version 1.2; no recordings confirm it.
//! `servetwin.reference.trtllm` states the same rules in plain Python, and must agree in every record.
//!
//! Files in the order of a pass: `handover` (what comes from other replicas), `capacity` (who may hold
//! blocks), `schedule` (tokens and chunks, or a run of passes), `results`; `micro_batches` take turns in
//! pipeline stages; `row` holds the data.

mod capacity;
mod handover;
mod micro_batches;
mod results;
mod row;
mod schedule;
mod speculation;

use super::{Ledger, Move, Pass, Results, Scheduler, Setting};
use crate::config::Role;
use crate::config::trtllm::{self as config, CapacityPolicy};
use crate::decode_set::DecodeSet;
use crate::gaps::GapList;
use crate::kv::block_pool::{BlockPool, FreeRule};
use crate::log::{Log, PassRecord};
use crate::record::{Holdup, PassTime, Reason, Speculated};
use handover::News;
use hashbrown::HashMap;
use micro_batches::MicroBatches;
use row::{Pending, Row, State};
use rustc_hash::FxBuildHasher;
use std::collections::VecDeque;

impl Setting<'_, config::Trtllm> {
    /// Why this request could never run on a replica.
    pub(super) fn refusal(&self, request: u32) -> Option<Reason> {
        let engine = self.engine;
        let prompt = u64::from(self.trace.input_tokens[request as usize]);
        let asked = match self.role {
            Role::Prefill => 1,
            _ => u64::from(self.trace.max_output_tokens[request as usize].max(1)),
        };
        let limit = asked.min(u64::from(engine.max_seq_len).saturating_sub(prompt));
        // Paused, it computes what it has generated as part of its context.
        let longest = match engine.capacity_scheduler_policy {
            CapacityPolicy::MaxUtilization => prompt + limit.saturating_sub(1),
            _ => prompt,
        };
        if limit == 0 {
            Some(Reason::Context)
        } else if (prompt + limit + u64::from(engine.overhang())).div_ceil(u64::from(engine.tokens_per_block))
            > u64::from(engine.num_blocks)
        {
            Some(Reason::Pool)
        } else if self.role != Role::Decode
            && !engine.enable_chunked_prefill
            && longest > u64::from(engine.max_num_tokens)
        {
            Some(Reason::Budget)
        } else {
            None
        }
    }
}

pub struct Trtllm<'a> {
    s: Setting<'a, config::Trtllm>,
    pool: BlockPool,
    rows: Vec<Row<'a>>,
    vacant: Vec<u32>,
    /// Requests that hold nothing, in order. The first of them, as many as the batch has room for, are active.
    pending: VecDeque<Pending>,
    /// Requests that hold blocks, in order.
    batch: Vec<u32>,
    /// Those of the batch whose context is not computed whole, in order.
    contexts: Vec<u32>,
    decoding: DecodeSet<'a>,
    /// Context-only requests that are computed and not sent, and their rows.
    sending: HashMap<u32, u32, FxBuildHasher>,
    /// Generation-only requests that hold blocks and whose KV is on its way, and what they may still take.
    receiving: Vec<u32>,
    promised: i64,
    news: Vec<News>,
    /// Of a pipeline: the batches whose turn it is not. What this scheduler holds is the other's.
    micro: Option<Box<MicroBatches<'a>>>,
    /// Blocks that the rows of the decode set would hold at their limits, and those they hold.
    reserved: i64,
    held: i64,
    /// Rows left out of the last pass.
    left_out: Vec<u32>,
    /// The counter: passes scheduled.
    k: u64,
    next_order: u64,
    /// The first pending request could not start, and nothing has happened since that could help it.
    blocked: bool,
    /// Passes in a row in which contexts were held back.
    waited_iters: u32,
    idle_passes: u64,
    progress: bool,
    pausing: bool,
    gaps: GapList,
    speculated: Speculated,
    passes: u64,
    leaps: u64,
    log: Vec<PassRecord>,
}

impl<'a> Trtllm<'a> {
    pub fn new(setting: Setting<'a, config::Trtllm>, gap_limit: usize) -> Self {
        let engine = setting.engine;
        Trtllm {
            s: setting,
            // The pool sets one block aside for vLLM.
            pool: BlockPool::new(engine.num_blocks + 1, FreeRule::AllLast, false),
            rows: Vec::new(),
            vacant: Vec::new(),
            pending: VecDeque::new(),
            batch: Vec::new(),
            contexts: Vec::new(),
            decoding: speculation::decode_set(engine, engine.max_draft_len, setting.prices_longest()),
            sending: HashMap::default(),
            receiving: Vec::new(),
            promised: 0,
            news: Vec::new(),
            micro: MicroBatches::new(setting, gap_limit),
            reserved: 0,
            held: 0,
            left_out: Vec::new(),
            k: 0,
            next_order: 0,
            blocked: false,
            waited_iters: 0,
            idle_passes: 0,
            progress: false,
            pausing: false,
            gaps: GapList::new(gap_limit),
            speculated: Speculated::default(),
            passes: 0,
            leaps: 0,
            log: Vec::new(),
        }
    }

    fn blocks_for(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.s.engine.tokens_per_block)
    }

    /// Requests that hold blocks, but for those that are only sent.
    fn active(&self) -> usize {
        self.batch.len() + self.receiving.len()
    }

    /// Pending requests that are active.
    fn window(&self) -> usize {
        let room = self.places() - self.active();
        room.min(self.pending.len())
    }

    /// Tokens a request may give.
    fn limit(&self, request: u32) -> u32 {
        if self.s.role == Role::Prefill {
            return 1;
        }
        let trace = self.s.trace;
        let room = self.s.engine.max_seq_len.saturating_sub(trace.input_tokens[request as usize]).max(1);
        trace.max_output_tokens[request as usize].max(1).min(room)
    }

    /// Blocks that a request would hold at its limit.
    fn whole(&self, request: u32) -> u32 {
        self.blocks_for(self.s.trace.input_tokens[request as usize] + self.limit(request) + self.s.engine.overhang())
    }

    fn join_decode_set(&mut self, slot: u32) {
        let row = &self.rows[slot as usize];
        self.reserved += i64::from(self.whole(row.request));
        let held = if row.burst.is_some() { self.pool.held(slot) } else { self.blocks_for(row.tokens()) };
        self.held += i64::from(held);
        let mut member = row.member(slot);
        member.held = held;
        self.decoding.insert(member);
    }

    /// Takes a row out of the decode set; it has `computed` tokens computed. Returns the blocks it holds.
    fn leave_decode_set(&mut self, slot: u32, computed: u32) -> u32 {
        let row = &self.rows[slot as usize];
        let held = self.decoding.held(slot, computed, self.s.engine.tokens_per_block);
        self.reserved -= i64::from(self.whole(row.request));
        self.held -= i64::from(held);
        self.decoding.remove(row.member(slot));
        held
    }

    /// Blocks that the next `passes` passes of a run take.
    fn demand(&self, passes: i64) -> u32 {
        match &self.micro {
            _ if passes <= 0 => 0,
            None => self.decoding.demand(self.k, passes) as u32,
            Some(_) => self.demand_of_micro_batches(passes),
        }
    }

    /// The place of `order` in a list of slots that is in order.
    fn place(&self, slots: &[u32], order: u64) -> usize {
        slots.partition_point(|&slot| self.rows[slot as usize].order < order)
    }

    fn leave_batch(&mut self, slot: u32) {
        let order = self.rows[slot as usize].order;
        let place = self.place(&self.batch, order);
        self.batch.remove(place);
        self.blocked = false;
    }

    /// Enters the first `blocks` blocks of a row into the cache.
    fn enter_hashes(&mut self, slot: u32, blocks: u32) {
        if self.s.engine.enable_block_reuse {
            let request = self.rows[slot as usize].request;
            let (path, private) = (self.s.chains.path(request), self.s.chains.private_segment(request));
            self.pool.hash_upto(slot, path, private, blocks);
        }
    }
}

impl Scheduler for Trtllm<'_> {
    fn has_work(&self) -> bool {
        !self.batch.is_empty() || !self.pending.is_empty() || !self.news.is_empty()
    }

    fn running(&self) -> u32 {
        self.batch.len() as u32
    }

    fn waiting(&self) -> u32 {
        (self.pending.len() + self.receiving.len()) as u32
    }

    fn used_blocks(&self, passes: i64) -> u32 {
        self.pool.usable() - self.pool.free() + self.demand(passes)
    }

    fn holdup(&self, _passes: i64) -> Holdup {
        if self.active() >= self.places() {
            Holdup::Rows
        } else if self.blocked {
            Holdup::Cache
        } else {
            Holdup::Tokens
        }
    }

    fn cached_blocks(&self, request: u32, passes: i64) -> u32 {
        let whole = self.s.trace.input_tokens[request as usize] / self.s.engine.tokens_per_block;
        self.pool.cached(self.s.chains.path(request), whole, self.demand(passes))
    }

    fn may_cache(&self, _request: u32, segment: u32, _found: bool) -> bool {
        self.pool.caches(segment)
    }

    fn is_stalled(&self, passes: u64) -> bool {
        self.pausing && self.idle_passes > passes
    }

    fn unfinished(&self) -> Vec<u32> {
        let running = self.batch.iter().map(|&slot| self.rows[slot as usize].request);
        let receiving = self.receiving.iter().map(|&slot| self.rows[slot as usize].request);
        running.chain(receiving).chain(self.pending.iter().map(|pending| pending.request)).collect()
    }

    fn arrive_remote(&mut self, request: u32, arrival_ps: i64) -> bool {
        self.arrive(request, arrival_ps)
    }

    fn transferred(&mut self, id: u32, _kind: Move, _now_ps: i64) -> bool {
        self.news.push(News::Arrived(id));
        true
    }

    fn release(&mut self, request: u32, _now_ps: i64) -> bool {
        self.let_go(request);
        true
    }

    fn abort(&mut self, request: u32, _now_ps: i64) -> bool {
        self.news.push(News::Lost(request));
        true
    }

    fn arrive(&mut self, request: u32, _arrival_ps: i64) -> bool {
        if self.pending.is_empty() {
            self.blocked = false;
        }
        self.pending.push_back(Pending { order: self.next_order, request, slot: None });
        self.next_order += 1;
        // A log shows the queue's length in each pass; and drafts may go by it.
        self.s.log_passes || self.s.engine.max_concurrency.is_some() || !self.blocked && self.active() < self.places()
    }

    fn schedule(&mut self, now_ps: i64, start_ps: i64, results: &mut Results, pass: &mut Pass) -> bool {
        self.decide(now_ps, start_ps, results, pass)
    }

    fn settle(&mut self, pass: &mut Pass) {
        self.take_run(pass);
    }

    fn update(&mut self, pass: &mut Pass, _next: Option<&mut Pass>, results: &mut Results) {
        self.take_results(pass, results);
    }

    fn passes(&self) -> u64 {
        self.passes
    }

    fn usable_blocks(&self) -> u32 {
        self.pool.usable()
    }

    fn log_stuck(&mut self, now_ps: i64) {
        let stuck = Some(self.unfinished());
        self.log.push(PassRecord { t_ps: now_ps, scheduled_at_ps: now_ps, stuck, ..PassRecord::default() });
    }

    fn into_ledger(mut self, pass_time: PassTime) -> Ledger {
        Ledger {
            gaps: self.gap_lists(),
            passes: self.passes,
            leaps: self.leaps,
            speculated: self.speculated,
            pass_time,
            log: Log::Vllm(self.log),
        }
    }

    fn check(&self) {
        let rows = || self.batch.iter().map(|&slot| (slot, &self.rows[slot as usize]));
        let generating = || rows().filter(|(_, row)| row.state == State::Generation);
        let size = self.s.engine.tokens_per_block;
        let blocks = |(slot, row): (u32, &Row)| self.decoding.held(slot, row.computed_by(self.counter_of(row)), size);
        let unassigned: u32 = generating().map(|(slot, row)| blocks((slot, row)) - self.pool.held(slot)).sum();
        self.pool.check(unassigned);
        assert_eq!(generating().map(|row| i64::from(blocks(row))).sum::<i64>(), self.held);
        assert_eq!(generating().map(|(_, row)| i64::from(self.whole(row.request))).sum::<i64>(), self.reserved);
        assert_eq!(self.batch.len(), self.decoding.len() + self.generating_elsewhere() + self.contexts.len());
        if self.s.engine.capacity_scheduler_policy != CapacityPolicy::MaxUtilization {
            // What the decode set would still take is there.
            assert!(self.reserved - self.held + self.promised <= i64::from(self.pool.free()));
        }
        assert_eq!(self.receiving.iter().map(|&slot| self.promise(slot)).sum::<i64>(), self.promised);
    }
}
