//! vLLM V1's scheduler: one replica's requests, batch and blocks.
//!
//! `schedule` decides a pass, `update` takes in its results; when they are called is the clock's
//! business ([`crate::worker`]). Rows that decode one token a pass live in the [`DecodeSet`] and
//! are not touched in each pass; all others (prefilling, speculating, about to end) are *explicit*.
//!
//! The rules are those of the recordings. `servetwin.reference` states them in plain Python, one
//! pass at a time, and must agree in every record.
//!
//! Files in the order of a pass: `schedule` (a stepped pass, or a run of passes), `batch` (the
//! requests that run: budget, blocks, preemption), `admit` (the queue), `results`; `speculation` (rows
//! that verify drafts), `ahead` (with async scheduling); `groups` and `group_tables` (layers that do not keep
//! every token); `micro_batches` (of pipeline stages); `pass` and `row` hold the data, `trail` the log of passes.

mod admit;
mod ahead;
mod batch;
mod below;
mod cadence;
mod group_tables;
mod groups;
mod handover;
mod load;
mod micro_batches;
mod offload;
mod results;
mod row;
mod schedule;
mod speculation;
mod trail;

use super::{Ledger, Move, Pass, Results, Scheduler, Setting};
use crate::config::Role;
use crate::config::vllm::{self as config, Policy, Version};
use crate::decode_set::DecodeSet;
use crate::gaps::GapList;
use crate::kv::block_pool::{BlockPool, FreeRule};
use crate::log::{Log, PassRecord};
use crate::record::{Holdup, PassTime, Reason, Speculated};
use crate::waiting::{Key, Queue, Waiting};
use ahead::Unseen;
use cadence::Cadence;
use group_tables::GroupTables;
use handover::News;
use hashbrown::HashMap;
use micro_batches::MicroBatches;
use offload::Offload;
use row::{Planned, Row, State};
use rustc_hash::FxBuildHasher;
use std::collections::BTreeSet;

impl Setting<'_, config::Vllm> {
    /// Why this request could never run on a replica.
    pub(super) fn refusal(&self, request: u32) -> Option<Reason> {
        let engine = self.engine;
        let prompt = u64::from(self.trace.input_tokens[request as usize]);
        let (limit, output) = match self.role {
            Role::Prefill => (1, 1),
            _ => (self.trace.max_output_tokens[request as usize], self.trace.output_tokens[request as usize]),
        };
        let (limit, output) = (u64::from(limit.max(1)), u64::from(output.max(1)));
        let drafts = u64::from(engine.num_speculative_tokens + engine.num_lookahead_tokens);
        if prompt + limit > u64::from(engine.max_model_len) {
            Some(Reason::Context)
        } else if self.most_blocks((prompt + output - 1 + drafts).min(u64::from(engine.max_model_len)))
            > u64::from(engine.num_gpu_blocks - 1)
        {
            Some(Reason::Pool)
        } else if !engine.enable_chunked_prefill && prompt > u64::from(engine.max_num_batched_tokens) {
            Some(Reason::Budget)
        } else {
            None
        }
    }
}

impl Setting<'_, config::Vllm> {
    /// The most blocks that a request of `tokens` tokens holds, at most max_model_len.
    fn most_blocks(&self, tokens: u64) -> u64 {
        let engine = self.engine;
        let full = tokens.div_ceil(u64::from(engine.block_size));
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        full + engine.groups.as_ref().map_or(0, |groups| groups.most(engine, tokens))
    }
}

type PreemptionKey = (i32, i64, std::cmp::Reverse<u64>, u32);

pub struct Vllm<'a> {
    s: Setting<'a, config::Vllm>,
    pool: BlockPool,
    rows: Vec<Row<'a>>,
    vacant: Vec<u32>,
    waiting: Queue,
    /// Requests that wait and hold blocks, which are looked at first.
    holding: Queue,
    /// The batch, in order.
    running: Vec<u32>,
    /// Those of the batch that are not in the decode set, in order.
    explicit: Vec<u32>,
    decoding: DecodeSet<'a>,
    /// Drafts of the next pass for each row of this one.
    drafts: u32,
    speculated: Speculated,
    /// Under the priority policy: who would be preempted first, last.
    by_priority: BTreeSet<PreemptionKey>,
    /// Preempted rows with a token on its way, and the pass it comes with.
    late: Vec<(u32, u64)>,
    /// Explicit rows that were in the decode set in a pass under way.
    unseen: Vec<Unseen>,
    /// Rows left out of the last passes while decoding.
    left_out: Vec<u32>,
    groups: Option<Box<GroupTables<'a>>>,
    cadence: Cadence,
    /// The order of the first decoding row that the pass being decided leaves out.
    cut: u64,
    /// The counter: passes scheduled.
    k: u64,
    /// The counter after the last pass whose results are in.
    updated: u64,
    next_order: u64,
    /// A request that waits did not fit, and nothing has happened since that could help it.
    head_blocked: bool,
    offload: Option<Offload<'a>>,
    /// Of a pipeline: the batches whose turn it is not. What this scheduler holds is the other's.
    micro: Option<Box<MicroBatches<'a>>>,
    /// Rows that have left, and the pass under way that may still write to their blocks.
    leaving: Vec<(u64, u32)>,
    /// Prefill replicas: requests whose KV is yet to be fetched, and their rows.
    held: HashMap<u32, u32, FxBuildHasher>,
    /// Decode replicas: requests in the queue whose prompt another replica computes, since when.
    remote: HashMap<u32, i64, FxBuildHasher>,
    /// What has come from outside since the last decision, which takes it in.
    news: Vec<News>,
    idle_passes: u64,
    progress: bool,
    preempting: bool,
    planned: Vec<Planned>,
    /// Where blocks may be filled from outside: those of them that were in the middle of their prompts.
    in_prompts: Vec<u32>,
    admitted: Vec<Planned>,
    gaps: GapList,
    passes: u64,
    leaps: u64,
    log: Vec<PassRecord>,
}

impl<'a> Vllm<'a> {
    pub fn new(setting: Setting<'a, config::Vllm>, gap_limit: usize) -> Self {
        let engine = setting.engine;
        let rule = match engine.version {
            Version::V0_32 => FreeRule::UnhashedFirst,
            Version::V0_19 => FreeRule::AllLast,
        };
        let mut vllm = Vllm {
            s: setting,
            pool: BlockPool::new(engine.num_gpu_blocks, rule, setting.log_blocks),
            rows: Vec::new(),
            vacant: Vec::new(),
            waiting: Queue::new(engine.scheduling_policy == Policy::Priority),
            holding: Queue::new(engine.scheduling_policy == Policy::Priority),
            running: Vec::new(),
            explicit: Vec::new(),
            decoding: speculation::decode_set(engine, engine.num_speculative_tokens, setting.prices_longest()),
            drafts: engine.num_speculative_tokens,
            speculated: Speculated::default(),
            by_priority: BTreeSet::new(),
            late: Vec::new(),
            unseen: Vec::new(),
            left_out: Vec::new(),
            groups: None,
            cadence: Cadence::default(),
            cut: u64::MAX,
            k: 0,
            updated: 0,
            next_order: 0,
            head_blocked: false,
            offload: engine.offload.as_ref().map(|offload| Offload::new(offload, setting.store)),
            micro: None,
            leaving: Vec::new(),
            held: HashMap::default(),
            remote: HashMap::default(),
            news: Vec::new(),
            idle_passes: 0,
            progress: false,
            preempting: false,
            planned: Vec::new(),
            in_prompts: Vec::new(),
            admitted: Vec::new(),
            gaps: GapList::new(gap_limit),
            passes: 0,
            leaps: 0,
            log: Vec::new(),
        };
        if let Some(groups) = &engine.groups {
            if engine.enable_prefix_caching {
                let segments = setting.chains.segments_with(setting.trace.len() as u32);
                vllm.pool = vllm.pool.with_others(groups.count, segments);
            }
            vllm.groups = Some(Box::new(GroupTables::new(engine, groups)));
        }
        let count = setting.micro_batches();
        if count > 1 {
            vllm.micro = Some(Box::new(MicroBatches::new(&vllm, count, gap_limit)));
        }
        vllm
    }

    /// Blocks that the first `passes` passes of an unsettled run take.
    fn demand(&self, passes: i64) -> u32 {
        match &self.micro {
            _ if passes <= 0 => 0,
            None => self.decoding.demand(self.k, passes) as u32 * self.taken_at_once(),
            Some(_) => self.demand_of_micro_batches(passes),
        }
    }

    fn key(&self, request: u32, arrival_ps: i64) -> Key {
        let rank = self.s.engine.id_ranks.as_ref().map_or(request, |ranks| ranks[request as usize]);
        (self.s.trace.priority[request as usize], arrival_ps, rank)
    }

    /// Whether blocks may be filled from outside, beside passes (vLLM: `kv_role` is kv_both).
    fn loads_blocks(&self) -> bool {
        self.offload.is_some() || self.s.role != Role::Aggregated
    }

    fn position(&self, order: u64) -> usize {
        self.running.partition_point(|&slot| self.rows[slot as usize].order < order)
    }

    /// All that wait, in the order in which they are looked at.
    fn queue(&self) -> impl Iterator<Item = Waiting> {
        self.holding.iter().chain(self.waiting.iter())
    }

    fn explicit_before(&self, order: u64) -> usize {
        self.explicit.partition_point(|&slot| self.rows[slot as usize].order < order)
    }
}

impl Scheduler for Vllm<'_> {
    fn has_work(&self) -> bool {
        !(self.running.is_empty() && self.waiting.is_empty() && self.holding.is_empty() && self.news.is_empty())
    }

    fn running(&self) -> u32 {
        self.running.len() as u32
    }

    fn waiting(&self) -> u32 {
        (self.holding.len() + self.waiting.len()) as u32
    }

    fn used_blocks(&self, passes: i64) -> u32 {
        self.pool.usable() - self.pool.free() + self.demand(passes) - self.freed_by_windows(passes)
    }

    fn holdup(&self, passes: i64) -> Holdup {
        let Some(head) = self.waiting.head() else { return Holdup::Transfer };
        if self.running.len() >= self.s.engine.max_num_seqs as usize {
            return Holdup::Rows;
        }
        let given = head.slot.map_or(0, |slot| self.rows[slot as usize].delivered);
        let known = self.s.trace.input_tokens[head.request as usize] + given;
        let whole = self.blocks_for(known).saturating_sub(self.cached_blocks(head.request, passes));
        let others = self.groups.as_ref().map_or(0, |groups| groups.whole(known, 0));
        let missing = u64::from(whole) + u64::from(others) + u64::from(self.s.engine.watermark_blocks);
        let free = self.pool.usable() - self.used_blocks(passes);
        if missing > u64::from(free) { Holdup::Cache } else { Holdup::Tokens }
    }

    fn cached_blocks(&self, request: u32, passes: i64) -> u32 {
        let whole = self.s.trace.input_tokens[request as usize] / self.s.engine.block_size;
        self.pool.cached(self.s.chains.path(request), whole, self.demand(passes))
    }

    fn may_cache(&self, _request: u32, segment: u32, _found: bool) -> bool {
        self.pool.caches(segment)
    }

    fn is_stalled(&self, passes: u64) -> bool {
        self.preempting && self.idle_passes > passes
    }

    fn unfinished(&self) -> Vec<u32> {
        let running = self.running.iter().map(|&slot| self.rows[slot as usize].request);
        running.chain(self.queue().map(|waiting| waiting.request)).collect()
    }

    fn arrive_remote(&mut self, request: u32, arrival_ps: i64) -> bool {
        self.remote.insert(request, arrival_ps);
        self.arrive(request, arrival_ps)
    }

    fn transferred(&mut self, id: u32, _kind: Move, _now_ps: i64) -> bool {
        self.news.push(News::Arrived(id));
        true
    }

    fn release(&mut self, request: u32, _now_ps: i64) -> bool {
        self.news.push(News::Fetched(request));
        true
    }

    fn note_last_passes(&self, pass: &Pass, start_ps: i64, end_ps: i64, results: &mut Results) {
        self.note_ending_prompts(pass, start_ps, end_ps, results);
    }

    fn abort(&mut self, request: u32, _now_ps: i64) -> bool {
        self.news.push(News::Lost(request));
        true
    }

    fn arrive(&mut self, request: u32, arrival_ps: i64) -> bool {
        let key = self.key(request, arrival_ps);
        let head = self.waiting.head();
        self.waiting.push_arrival(key, Waiting { request, slot: None });
        if self.waiting.head() != head {
            self.head_blocked = false;
        }
        // A log shows the queue's length in each pass, and a cadence depends on whether there is one.
        let shown = self.s.log_passes || self.has_cadence();
        shown || !self.head_blocked && self.running.len() < self.s.engine.max_num_seqs as usize
    }

    fn schedule(&mut self, now_ps: i64, start_ps: i64, results: &mut Results, pass: &mut Pass) -> bool {
        self.decide(now_ps, start_ps, results, pass)
    }

    fn set_step(&mut self, step: i64) {
        Vllm::set_step(self, step);
    }

    fn settle(&mut self, pass: &mut Pass) {
        self.take_run(pass);
    }

    fn update(&mut self, pass: &mut Pass, next: Option<&mut Pass>, results: &mut Results) {
        self.take_results(pass, next, results);
    }

    fn passes(&self) -> u64 {
        self.passes
    }

    fn next_wake_ps(&self) -> Option<i64> {
        self.offload.as_ref().and_then(Offload::next_wake_ps)
    }

    fn usable_blocks(&self) -> u32 {
        self.pool.usable()
    }

    fn log_stuck(&mut self, now_ps: i64) {
        let stuck = Some(self.queue().map(|waiting| waiting.request).collect());
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
        let unassigned: u32 = self
            .running
            .iter()
            .filter(|&&slot| self.rows[slot as usize].state != State::Explicit)
            .map(|&slot| {
                let row = &self.rows[slot as usize];
                let (k, _) = self.counters_of(slot);
                let sampled = if row.state == State::Draining { row.target } else { row.sampled(k) };
                let stored = row.prompt + sampled - 1 - u32::from(row.was_left_out_dead(k));
                self.decoding.held(slot, stored, self.s.engine.block_size) - self.pool.held(slot)
            })
            .sum();
        self.pool.check(unassigned + self.held_in_groups());
        if let Some(offload) = &self.offload {
            offload.check();
        }
        assert_eq!(self.running.len(), self.decoding.len() + self.explicit.len() + self.rows_parked());
    }
}
