//! SGLang's scheduler: one replica's requests, batch and radix cache.
//!
//! Prefills come first: while anything waits that may be admitted, a pass prefills; else it decodes.
//! Rows that decode live in the [`DecodeSet`], whose counter counts passes in which they advance:
//! decodes and mixed passes, not prefills.
//!
//! The rules are those of the recordings. `servetwin.reference` states them in plain Python, one
//! pass at a time, and must agree in every record.
//!
//! Files in the order of a pass: `schedule` (what kind of pass, or a run of decodes), `prefill` (who
//! is admitted) with `queue` (the order), `budget`, `ignore_eos` and `preempt`, `decode` with `retract`,
//! `results`; `memory` moves tokens between pool, tree and rows, and `hicache` between device and
//! host, `window` what layers with sliding windows keep; `micro_batches` take turns in pipeline stages;
//! `sender` and `receiver` are the two sides of hand-overs between replicas; `row`, `promise` and `ratio`
//! hold data, `trail` the log of passes.

mod budget;
mod decode;
mod hicache;
mod ignore_eos;
mod memory;
mod micro_batches;
mod preempt;
mod prefill;
mod promise;
mod queue;
mod ratio;
mod receiver;
mod results;
mod retract;
mod row;
mod schedule;
mod sender;
mod trail;
mod window;

use super::{Ledger, Move, Pass, Results, Scheduler, Setting};
use crate::config::{Role, sglang as config};
use crate::decode_set::{Burst, DecodeSet, Verify};
use crate::gaps::GapList;
use crate::kv::radix::{RadixTree, Windows};
use crate::log::Log;
use crate::log::sglang::PassRecord;
use crate::record::{Holdup, PassTime, Reason, Speculated};
use hicache::Copies;
use micro_batches::MicroBatches;
use promise::{CLIP_TOKENS, Promises};
use ratio::NewTokenRatio;
use receiver::Receiver;
use row::{Row, State, Waiting};
use sender::Sender;
use std::collections::VecDeque;
use window::WindowPool;

impl Setting<'_, config::Sglang> {
    /// Why this request could never run on a replica.
    pub(super) fn refusal(&self, request: u32) -> Option<Reason> {
        let engine = self.engine;
        let prompt = self.trace.input_tokens[request as usize];
        let limit = self.trace.max_output_tokens[request as usize];
        if u64::from(prompt) + u64::from(limit) > u64::from(engine.context_length) {
            return Some(Reason::Context);
        }
        if prompt >= engine.max_req_input_len() {
            let pool_is_shorter = engine.max_total_tokens < engine.context_length;
            return Some(if pool_is_shorter { Reason::Pool } else { Reason::Context });
        }
        if self.role != Role::Decode && engine.exceeds_windows(prompt) {
            return Some(Reason::Pool);
        }
        let limit = if self.role == Role::Prefill { 1 } else { engine.limit(prompt, limit) };
        // What it stores before its last pass, and what it reserves then.
        let output = self.trace.output_tokens[request as usize].min(limit).max(2);
        let stored = prompt + output - 2 + engine.decode_reserve_tokens;
        if self.role != Role::Prefill && engine.ceil_page(stored) > engine.max_total_tokens {
            return Some(Reason::Pool);
        }
        if let Some(options) = &engine.disaggregation {
            // Alone, it would wait for ever by the test of `receiver.rs`, and all behind it.
            let decodes = u64::from(engine.ceil_page(prompt)) + u64::from(options.num_reserved_decode_tokens);
            let whole = u64::from(prompt) + u64::from(limit).min(CLIP_TOKENS as u64);
            return (decodes.max(whole) > u64::from(engine.max_total_tokens)).then_some(Reason::Pool);
        }
        // Alone, it would leave too little by the test of `ignore_eos.rs`, or by that of `prefill.rs`.
        let left = |prompt: u32| engine.max_total_tokens.saturating_sub(prompt + engine.page_size + limit);
        let plays_through = engine.ignore_eos && engine.disable_radix_cache && engine.window.is_none();
        let is_short = if plays_through { left(engine.ceil_page(prompt)) <= 1 } else { left(prompt) == 0 };
        is_short.then_some(Reason::Pool)
    }
}

/// What is on its way when a pass is decided: with overlap, the pass before, whose tokens the
/// scheduler does not know yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnWay {
    Nothing,
    /// Tokens of the rows that join now.
    Prefills,
    /// Tokens of all rows of the batch.
    All,
    /// Tokens of all rows that have not joined just now.
    Decodes,
}

/// The kind of the last pass scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Prefill,
    Mixed,
    Decode,
}

pub struct Sglang<'a> {
    s: Setting<'a, config::Sglang>,
    tree: RadixTree<'a>,
    copies: Option<Copies>,
    window: Option<WindowPool>,
    /// Of a pipeline: the batches whose turn it is not. What this scheduler holds is the other's.
    micro: Option<Box<MicroBatches<'a>>>,
    /// Free slots of the pool, in tokens.
    available: u32,
    rows: Vec<Row<'a>>,
    vacant: Vec<u32>,
    waiting: VecDeque<Waiting>,
    entries: u64,
    /// The decoding rows, in the order of the batch.
    running: Vec<u32>,
    decoding: DecodeSet<'a>,
    promises: Promises,
    /// The request whose prompt is being computed in parts.
    chunked: Option<u32>,
    /// Rows whose prompt the last pass completed: they join the batch before the next.
    joining: Vec<u32>,
    /// Rows that joined since the last pass that decoded.
    fresh: Vec<u32>,
    draining: Vec<u32>,
    sender: Sender,
    receiver: Receiver,
    on_way: OnWay,
    /// Requests that have been taken out while a token was on its way: it is dropped.
    dropped: Vec<u32>,
    /// Rows among these that were verifying drafts, and all their tokens on the way.
    dropped_bursts: (i64, i64),
    /// Decisions so far.
    decision: u64,
    failure: Option<&'static str>,
    /// Rows were taken out in the current attempt to find a pass.
    vacated: bool,
    /// Nobody was left to admit, or nobody fitted: cleared when a request leaves.
    batch_is_full: bool,
    /// The last pass computed a part of a prompt that is not its last.
    was_cut: bool,
    last: Kind,
    ratio: NewTokenRatio,
    /// Prefills tried with requests waiting, for the refresh of their prefixes.
    attempts: u64,
    /// The counter: passes scheduled in which the decode set advanced.
    k: u64,
    /// The counter and the decision before the last mixed pass, and what was on its way then.
    mixed_at: Option<(u64, u64, OnWay)>,
    first_order: u64,
    next_order: u64,
    /// Rows that the last decision gave a new place while a pass was on its way, and their places there.
    places_on_way: Vec<(u32, u64)>,
    last_decode_ps: i64,
    last_end_ps: i64,
    /// Passes, or runs of them, that are decided and whose results are not in.
    in_flight: u32,
    gaps: GapList,
    speculated: Speculated,
    passes: u64,
    leaps: u64,
    log: Vec<PassRecord>,
}

impl<'a> Sglang<'a> {
    pub fn new(setting: Setting<'a, config::Sglang>, gap_limit: usize) -> Self {
        let engine = setting.engine;
        let mut sglang = Sglang {
            s: setting,
            tree: RadixTree::new(
                setting.chains,
                engine.page_size,
                engine.hicache.as_ref().map(hicache::pool),
                engine.window.as_ref().map(|window| Windows::new(window.tokens)),
            ),
            copies: engine.hicache.as_ref().map(Copies::new),
            window: WindowPool::new(engine),
            micro: None,
            available: engine.max_total_tokens,
            rows: Vec::new(),
            vacant: Vec::new(),
            waiting: VecDeque::new(),
            entries: 0,
            running: Vec::new(),
            decoding: DecodeSet::new(engine.page_size, verify(engine), setting.prices_longest()),
            promises: Promises::default(),
            chunked: None,
            joining: Vec::new(),
            fresh: Vec::new(),
            draining: Vec::new(),
            sender: Sender::default(),
            receiver: Receiver::default(),
            on_way: OnWay::Nothing,
            dropped: Vec::new(),
            dropped_bursts: (0, 0),
            decision: 0,
            failure: None,
            vacated: false,
            batch_is_full: false,
            was_cut: false,
            last: Kind::Decode,
            ratio: NewTokenRatio::new(engine.schedule_conservativeness),
            attempts: 0,
            k: 0,
            mixed_at: None,
            first_order: u64::MAX / 2,
            next_order: u64::MAX / 2,
            places_on_way: Vec::new(),
            last_decode_ps: 0,
            last_end_ps: 0,
            in_flight: 0,
            gaps: GapList::new(gap_limit),
            speculated: Speculated::default(),
            passes: 0,
            leaps: 0,
            log: Vec::new(),
        };
        let count = setting.micro_batches();
        if count > 1 {
            sglang.micro = Some(Box::new(MicroBatches::new(&sglang, count, gap_limit)));
        }
        sglang
    }

    fn position(&self, order: u64) -> usize {
        self.running.partition_point(|&slot| self.rows[slot as usize].order < order)
    }

    /// A row joins the batch at the place its order says, with its next token still to come.
    fn start_decoding(&mut self, slot: u32) {
        let row = &mut self.rows[slot as usize];
        row.state = State::Decoding;
        row.joined = self.k;
        row.joined_by = self.decision;
        self.take_window_of_decodes(slot);
        let row = &mut self.rows[slot as usize];
        if let Some(drawn) = self.s.engine.drawn() {
            let draws = drawn.draws(drawn.longest());
            let burst = Burst::new(draws, draws.start(row.request) + row.verified, row.given, self.k);
            row.finish_at = burst.finish_at(row.target, self.k);
            row.burst = Some(burst);
            row.pages = (row.tokens() - 1).div_ceil(self.s.engine.page_size);
            self.decoding.insert(row.member(slot));
            return; // promises are added up row by row
        }
        row.finish_at = self.k + u64::from(row.target - row.given);
        self.decoding.insert(row.member(slot));
        self.promises.insert(row.limit_at(), slot, self.k);
    }

    /// A row stops decoding; the caller takes it off the list.
    fn stop_decoding(&mut self, slot: u32) {
        self.note_pages(slot);
        let row = &mut self.rows[slot as usize];
        self.decoding.remove(row.member(slot));
        if row.burst.is_some() {
            row.verified += self.k - row.joined;
        } else {
            self.promises.remove(row.limit_at(), slot);
        }
        if self.is_decode_replica() {
            self.forget_length(slot);
        }
    }

    /// Notes the pages that a decoding row holds.
    fn note_pages(&mut self, slot: u32) {
        let row = &mut self.rows[slot as usize];
        if row.burst.is_some() {
            row.pages = self.decoding.held(slot, 0, self.s.engine.page_size);
        }
    }

    /// Tokens that the scheduler knows a row of the batch has given.
    fn known(&self, slot: u32) -> u32 {
        let row = &self.rows[slot as usize];
        if !row.is_on_way(self.decision, self.on_way) {
            return row.sampled(self.k);
        }
        if row.joined < self.k { row.sampled(self.k - 1) } else { row.sampled(self.k) - 1 }
    }

    fn enqueue(&mut self, mut waiting: Waiting) {
        waiting.entry = self.entries;
        self.entries += 1;
        self.waiting.push_back(waiting);
    }
}

/// How rows verify drafts, if they do.
fn verify(engine: &config::Sglang) -> Option<Verify<'_>> {
    let drawn = engine.drawn()?;
    Some(Verify {
        draws: drawn.draws(drawn.longest()),
        drafts: engine.speculative_num_draft_tokens - 1,
        slots: engine.decode_reserve_tokens,
        most: u32::MAX,
        ahead: !engine.disable_overlap_schedule,
    })
}

impl Scheduler for Sglang<'_> {
    fn has_work(&self) -> bool {
        !self.running.is_empty()
            || !self.waiting.is_empty()
            || !self.joining.is_empty()
            || self.chunked.is_some()
            || !self.draining.is_empty()
            || self.sender.has_news()
            || self.receiver.has_news()
            || self.rows_elsewhere() > 0
    }

    fn arrive(&mut self, request: u32, arrival_ps: i64) -> bool {
        if !self.has_work() && self.in_flight == 0 && arrival_ps > self.last_end_ps {
            self.ratio.reset(); // the engine was idle
        }
        let tokens = self.prompt(request);
        let waiting = Waiting { request, slot: None, tokens, entry: 0, noted: 0, prefix: 0 };
        if self.is_prefill_replica() {
            self.sender.arrived.push_back(waiting);
            return true;
        }
        self.enqueue(waiting);
        let full = match self.micro {
            None => self.batch_is_full || self.running.len() >= self.s.engine.max_running_requests as usize,
            Some(_) => self.batch_is_full && self.others_are_full(),
        };
        // A log shows the queue's length in each pass.
        self.s.log_passes || self.s.engine.preempts() || !full
    }

    fn kept_busy(&mut self, until_ps: i64) {
        self.last_end_ps = self.last_end_ps.max(until_ps);
    }

    /// A request behind another that waits for memory changes nothing.
    fn arrive_remote(&mut self, request: u32, _arrival_ps: i64) -> bool {
        self.queue_for_memory(request)
    }

    fn transferred(&mut self, request: u32, _kind: Move, _now_ps: i64) -> bool {
        self.note_arrival(request);
        true
    }

    fn release(&mut self, request: u32, _now_ps: i64) -> bool {
        self.note_release(request);
        true
    }

    fn abort(&mut self, request: u32, _now_ps: i64) -> bool {
        self.give_up(request);
        true
    }

    fn schedule(&mut self, now_ps: i64, start_ps: i64, results: &mut Results, pass: &mut Pass) -> bool {
        self.decide(now_ps, start_ps, results, pass)
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

    fn running(&self) -> u32 {
        let elsewhere: usize = self.others().map(|other| other.running.len()).sum();
        let admitted = self.running.len() + self.draining.len() + self.rows_held() + elsewhere;
        admitted as u32
    }

    fn waiting(&self) -> u32 {
        (self.waiting.len() + self.sender.arrived.len() + self.receiver.waiting()) as u32
    }

    fn used_blocks(&self, passes: i64) -> u32 {
        let demand = self.demand(passes);
        let free = self.available + self.tree.unused();
        (self.s.engine.max_total_tokens - free) / self.s.engine.page_size + demand
    }

    fn usable_blocks(&self) -> u32 {
        self.s.engine.max_total_tokens / self.s.engine.page_size
    }

    fn holdup(&self, _passes: i64) -> Holdup {
        if self.micro.is_some() {
            self.holdup_of_micro_batches()
        } else if self.rows_taken() >= self.s.engine.max_running_requests as usize {
            Holdup::Rows
        } else if self.waiting.is_empty() {
            Holdup::Transfer
        } else if self.batch_is_full {
            Holdup::Cache
        } else {
            Holdup::Tokens
        }
    }

    fn cached_blocks(&self, request: u32, _passes: i64) -> u32 {
        // A run of passes evicts nothing, and enters nothing before its end.
        let tokens = self.s.trace.input_tokens[request as usize];
        self.tree.peek(request, tokens) / self.s.engine.page_size
    }

    /// The tree holds nothing without all that comes before it. Of a prompt that is aborted, and so
    /// was not looked for, others may have what they share with it.
    fn may_cache(&self, request: u32, _segment: u32, found: bool) -> bool {
        found || self.prompt(request) != self.s.trace.input_tokens[request as usize]
    }

    /// Each prefill that completes and each decode gives a token, and what is computed in parts is
    /// never taken away: so there is always progress.
    fn is_stalled(&self, _passes: u64) -> bool {
        false
    }

    fn failure(&self) -> Option<&'static str> {
        self.failure
    }

    /// Memory that a copy keeps comes free when it ends.
    fn next_wake_ps(&self) -> Option<i64> {
        self.copies.as_ref().filter(|_| !self.waiting.is_empty()).and_then(Copies::first_end_ps)
    }

    fn unfinished(&self) -> Vec<u32> {
        let prefilling = self.chunked.iter().chain(&self.joining).chain(&self.sender.sending);
        let admitted = prefilling.chain(&self.draining).chain(&self.running).chain(self.receiver.rows());
        let elsewhere = self.others().flat_map(|other| other.joining.iter().chain(&other.running));
        let admitted = admitted.chain(elsewhere);
        let admitted = admitted.map(|&slot| self.rows[slot as usize].request);
        let waiting = self.waiting.iter().chain(&self.sender.arrived).map(|waiting| waiting.request);
        admitted.chain(waiting).chain(self.receiver.unreserved.iter().copied()).collect()
    }

    fn log_stuck(&mut self, now_ps: i64) {
        let mut live = self.unfinished();
        live.sort_unstable();
        self.log.push(PassRecord { t_ps: now_ps, stuck: Some(live), ..PassRecord::default() });
    }

    fn into_ledger(mut self, pass_time: PassTime) -> Ledger {
        Ledger {
            gaps: self.gap_lists(),
            passes: self.passes,
            leaps: self.leaps,
            speculated: self.speculated,
            pass_time,
            log: Log::Sglang(self.log),
        }
    }

    fn check(&self) {
        self.check_memory();
    }
}
