//! Schedulers of the engines, behind one interface.
//!
//! A scheduler holds one replica's requests, batch and cache. When it is asked to decide, and when
//! results come in, is the clock's business ([`crate::worker`]).

mod pass;
pub mod sglang;
pub mod trtllm;
mod turns;
pub mod vllm;

pub use pass::Pass;
pub use turns::Turns;

use crate::chain::Chains;
use crate::config::vllm::Place;
use crate::config::{Data, Engine, Pipeline, Role};
use crate::decode_set::DecodeSet;
use crate::gaps::GapList;
use crate::kv::tier::Tier;
use crate::log::Log;
use crate::record::{Holdup, Loaded, PassTime, Reason, Requests, Speculated};
use crate::step_time::StepTime;
use crate::trace::Trace;
use sglang::Sglang;
use std::cell::RefCell;
use trtllm::Trtllm;
use vllm::Vllm;

/// Where rows verify drafts, hardly two gaps follow from each other, and a list of them is folded sooner.
const BURST_GAPS: usize = 16;

/// What all replicas of a pool keep in one place.
pub type Store = RefCell<Tier>;

/// What all replicas share.
pub struct Setting<'a, E = Engine> {
    pub trace: &'a Trace,
    pub chains: &'a Chains,
    pub engine: &'a E,
    pub step_time: &'a StepTime,
    pub role: Role,
    pub data: Data,
    /// The stages of a replica, if it has several.
    pub pipeline: Option<&'a Pipeline>,
    /// What all replicas of the pool keep blocks in, if there is such a place.
    pub store: Option<&'a Store>,
    pub leap: bool,
    /// No replica does more.
    pub max_passes: u64,
    pub log_passes: bool,
    pub log_blocks: bool,
    /// Whether KV is sent layer by layer: [`Results::last_passes`] are wanted.
    pub layerwise: bool,
}

impl<E> Clone for Setting<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Setting<'_, E> {}

impl<E> Setting<'_, E> {
    /// Whether the time of a pass depends on its longest context.
    fn prices_longest(&self) -> bool {
        let kinds = self.pipeline.iter().flat_map(|pipeline| &pipeline.kinds);
        self.step_time.prices_longest() || kinds.into_iter().any(StepTime::prices_longest)
    }

    /// Batches that take turns: one a stage.
    pub fn micro_batches(self) -> u64 {
        self.pipeline.map_or(1, |pipeline| pipeline.stage_count() as u64)
    }
}

impl<'a> Setting<'a> {
    /// The same, for the scheduler of one engine.
    fn of<E>(self, engine: &'a E) -> Setting<'a, E> {
        let Setting { trace, chains, step_time, role, data, pipeline, store, .. } = self;
        let Setting { leap, max_passes, log_passes, log_blocks, layerwise, .. } = self;
        Setting {
            trace,
            chains,
            engine,
            step_time,
            role,
            data,
            pipeline,
            store,
            leap,
            max_passes,
            log_passes,
            log_blocks,
            layerwise,
        }
    }

    /// Why this request could never run on a replica.
    pub fn refusal(&self, request: u32) -> Option<Reason> {
        match self.engine {
            Engine::Vllm(engine) => self.of(engine).refusal(request),
            Engine::Sglang(engine) => self.of(engine).refusal(request),
            Engine::Trtllm(engine) => self.of(engine).refusal(request),
        }
    }

    fn speculates(self) -> bool {
        match self.engine {
            Engine::Vllm(engine) => engine.num_speculative_tokens > 0,
            Engine::Sglang(engine) => engine.acceptance.is_some(),
            Engine::Trtllm(engine) => engine.acceptance.is_some(),
        }
    }

    /// Passes decided before the one before them has ended.
    pub fn ahead(self) -> i64 {
        match self.engine {
            Engine::Vllm(engine) => i64::from(engine.async_scheduling),
            Engine::Sglang(engine) => i64::from(!engine.disable_overlap_schedule),
            Engine::Trtllm(_) => 0,
        }
    }

    /// An idle replica. `gap_limit` bounds its list of gaps.
    pub fn scheduler(self, gap_limit: usize) -> AnyScheduler<'a> {
        let gap_limit = if self.speculates() { (gap_limit / BURST_GAPS).max(1024) } else { gap_limit };
        match self.engine {
            Engine::Vllm(engine) => AnyScheduler::Vllm(Box::new(Vllm::new(self.of(engine), gap_limit))),
            Engine::Sglang(engine) => AnyScheduler::Sglang(Box::new(Sglang::new(self.of(engine), gap_limit))),
            Engine::Trtllm(engine) => AnyScheduler::Trtllm(Box::new(Trtllm::new(self.of(engine), gap_limit))),
        }
    }
}

/// Contents of requests as the engine's cache tells them apart.
pub fn chains(trace: &Trace, engine: &Engine) -> Chains {
    match engine {
        Engine::Vllm(engine) if engine.enable_prefix_caching => Chains::new(trace, engine.block_size),
        Engine::Vllm(_) => Chains::unshared(),
        Engine::Sglang(engine) if engine.disable_radix_cache => Chains::unshared(),
        // In tokens, whatever the page: its requests are told apart by tokens in the queue as well.
        Engine::Sglang(engine) => {
            let mut chains = Chains::new(trace, 1);
            let tokens = |request: u32| trace.input_tokens[request as usize];
            let aborted = |&request: &u32| tokens(request) != engine.prompt(tokens(request));
            chains.replace_by_one_token((0..trace.len() as u32).filter(aborted));
            chains
        }
        Engine::Trtllm(engine) if engine.enable_block_reuse => Chains::new(trace, engine.tokens_per_block),
        Engine::Trtllm(_) => Chains::unshared(),
    }
}

/// Whether [`chains`] and [`blocks`] are the same for both.
pub fn caches_alike(one: &Engine, other: &Engine) -> bool {
    match (one, other) {
        (Engine::Vllm(one), Engine::Vllm(other)) => {
            (one.enable_prefix_caching, one.block_size) == (other.enable_prefix_caching, other.block_size)
        }
        (Engine::Trtllm(one), Engine::Trtllm(other)) => {
            (one.enable_block_reuse, one.tokens_per_block) == (other.enable_block_reuse, other.tokens_per_block)
        }
        _ => false,
    }
}

/// Contents of requests in whole blocks, as routers count them; none where [`chains`] are just that.
pub fn blocks(trace: &Trace, engine: &Engine) -> Option<Chains> {
    match engine {
        Engine::Vllm(_) | Engine::Trtllm(_) => None,
        Engine::Sglang(engine) => Some(Chains::new(trace, engine.page_size)),
    }
}

/// Tokens of a block, the unit in which a cache is shared.
pub fn block_size(engine: &Engine) -> u32 {
    match engine {
        Engine::Vllm(engine) => engine.block_size,
        Engine::Sglang(engine) => engine.page_size,
        Engine::Trtllm(engine) => engine.tokens_per_block,
    }
}

/// Makes room in `loaded` for `requests` requests, where an engine keeps blocks below the GPU's memory.
pub fn open_loaded(engine: &Engine, loaded: &mut Loaded, requests: usize) {
    let (host, disk, shared) = match engine {
        Engine::Vllm(engine) => {
            let has = |place: Place| engine.below(place).is_some();
            (engine.offload.is_some(), has(Place::Disk), has(Place::Shared))
        }
        Engine::Sglang(engine) => (engine.hicache.is_some(), false, false),
        Engine::Trtllm(_) => (false, false, false),
    };
    for (column, is_there) in [(&mut loaded.host, host), (&mut loaded.disk, disk), (&mut loaded.shared, shared)] {
        if is_there {
            column.resize(requests, 0);
        }
    }
}

/// An empty place for blocks of all replicas of a pool, if its engine has one.
pub fn store(engine: &Engine) -> Option<Store> {
    match engine {
        Engine::Vllm(engine) => Some(Store::new(Tier::new(engine.below(Place::Shared)?.blocks))),
        Engine::Sglang(_) | Engine::Trtllm(_) => None,
    }
}

/// Tokens that a pass may compute, by which routers measure a backlog.
pub fn batch_tokens(engine: &Engine) -> u32 {
    match engine {
        Engine::Vllm(engine) => engine.max_num_batched_tokens,
        // Where chunks are off, a pass goes on until this many tokens are prefilled.
        Engine::Sglang(engine) => engine.chunked_prefill_size.unwrap_or(engine.max_prefill_tokens),
        Engine::Trtllm(engine) => engine.max_num_tokens,
    }
}

/// Where results go.
pub struct Results<'a> {
    pub requests: &'a mut Requests,
    /// Requests whose first token reached its client, in order.
    pub first_tokens: &'a mut Vec<u32>,
    /// Requests that ended, in order.
    pub ended: &'a mut Vec<u32>,
    /// Data that the replica asks for, in order.
    pub wanted: &'a mut Vec<Wanted>,
    /// On a prefill replica: prompts that got further, in order.
    pub prefilled: &'a mut Vec<Prefilled>,
    /// On a prefill replica that sends layer by layer: last passes of prompts, as soon as their times are known.
    pub last_passes: &'a mut Vec<LastPass>,
}

/// What data is moved, seen from the replica that asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Move {
    /// From a prefill replica to this one.
    Handover,
}

/// KV that a replica asks to be moved, once it has room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The request.
    pub id: u32,
    pub kind: Move,
    /// Those of blocks that are moved whole included. Of 0 only the source is told.
    pub tokens: u32,
}

/// How much of a prompt's KV a prefill replica can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefilled {
    pub request: u32,
    /// From its first on.
    pub tokens: u32,
    /// Whether that is all of it. The replica then holds it until it is released.
    pub done: bool,
}

/// When the last pass of a prompt computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastPass {
    pub request: u32,
    pub start_ps: i64,
    pub end_ps: i64,
}

/// What a replica leaves behind, beside what it wrote into [`Results`].
pub struct Ledger {
    /// Of each micro-batch.
    pub gaps: Vec<GapList>,
    pub passes: u64,
    pub leaps: u64,
    pub speculated: Speculated,
    pub pass_time: PassTime,
    pub log: Log,
}

/// One engine's rules, for one replica.
pub trait Scheduler {
    /// Whether requests wait or run.
    fn has_work(&self) -> bool;

    /// Adds a request to the queue. Returns whether the next pass could now differ from those of a
    /// run in progress.
    fn arrive(&mut self, request: u32, arrival_ps: i64) -> bool;

    /// Adds a request to the queue of a decode replica whose prompt another replica computes. When
    /// there is room for the whole prompt, the scheduler asks for a [`Move::Handover`]. Returns what
    /// [`Self::arrive`] does.
    fn arrive_remote(&mut self, _request: u32, _arrival_ps: i64) -> bool {
        unreachable!("asked only of engines that config::check lets into a decode pool")
    }

    /// What was asked for has arrived. Returns what [`Self::arrive`] does.
    fn transferred(&mut self, _id: u32, _kind: Move, _now_ps: i64) -> bool {
        false
    }

    /// On a prefill replica: what a computed prompt still holds is free. Returns what
    /// [`Self::arrive`] does.
    fn release(&mut self, _request: u32, _now_ps: i64) -> bool {
        false
    }

    /// On a prefill replica: notes whose prompts end with `pass`, which computes from `start_ps` to `end_ps`.
    fn note_last_passes(&self, _pass: &Pass, _start_ps: i64, _end_ps: i64, _results: &mut Results) {}

    /// On a decode replica: a request whose prompt will not come leaves the queue, or what it
    /// reserved; at the next decision, as passes of a run decided before now have yet to take their
    /// blocks. Returns what [`Self::arrive`] does.
    fn abort(&mut self, _request: u32, _now_ps: i64) -> bool {
        false
    }

    /// Other ranks in step with this one have passes until `until_ps`: it is not idle before then.
    fn kept_busy(&mut self, _until_ps: i64) {}

    /// The next pass to be decided is number `step` since ranks in step last stopped.
    fn set_step(&mut self, _step: i64) {}

    /// Decides the next pass, or run of passes, starting at `start_ps`. `now_ps` is the time of the
    /// decision. False if there is nothing to do.
    fn schedule(&mut self, now_ps: i64, start_ps: i64, results: &mut Results, pass: &mut Pass) -> bool;

    /// Takes what a run of passes uses, now that its length is final.
    fn settle(&mut self, pass: &mut Pass);

    /// Takes in the results of a pass at its end. `next` is the pass that was scheduled after it,
    /// if one was.
    fn update(&mut self, pass: &mut Pass, next: Option<&mut Pass>, results: &mut Results);

    /// Passes scheduled and settled.
    fn passes(&self) -> u64;

    fn running(&self) -> u32;

    fn waiting(&self) -> u32;

    /// Blocks in use once the first `passes` passes of an unsettled run are scheduled.
    fn used_blocks(&self, passes: i64) -> u32;

    /// All blocks that requests can use.
    fn usable_blocks(&self) -> u32;

    /// What keeps the first that waits out of the batch, once the first `passes` passes of an unsettled run are
    /// scheduled. Asked only if some wait.
    fn holdup(&self, passes: i64) -> Holdup;

    /// Whole blocks at the start of the prompt of `request` that the cache holds once the first
    /// `passes` passes of an unsettled run are scheduled. Changes nothing: no hit, no time of use.
    /// Blocks whose pass is under way count as cached, as they do for the scheduler itself.
    fn cached_blocks(&self, request: u32, passes: i64) -> u32;

    /// Whether a block of `segment`, a part of the prompt of `request`, may be cached; `found` says
    /// whether [`Self::cached_blocks`] has just come so far. True is always right; false lets a
    /// router forget that this replica had it.
    fn may_cache(&self, request: u32, segment: u32, found: bool) -> bool;

    /// Whether for more than `passes` passes no request got further than ever before, and the last
    /// of them preempted: a long prompt that is computed again does neither.
    fn is_stalled(&self, passes: u64) -> bool;

    /// Where the engine itself would raise an error, the error. Nothing is asked of it any more.
    fn failure(&self) -> Option<&'static str> {
        None
    }

    /// When something that a decision without result could be waiting for ends by itself.
    fn next_wake_ps(&self) -> Option<i64> {
        None
    }

    /// The requests that wait or run, in the order of the batch, then of the queue.
    fn unfinished(&self) -> Vec<u32>;

    /// Logs that nothing runs and nothing that waits can ever be admitted.
    fn log_stuck(&mut self, now_ps: i64);

    /// `pass_time` is known to who runs the passes.
    fn into_ledger(self, pass_time: PassTime) -> Ledger;

    /// Panics unless all blocks are accounted for. For tests, between passes.
    fn check(&self);
}

/// A scheduler of any engine. Its methods are called at every event, so they are dispatched where
/// the compiler can see through them.
pub enum AnyScheduler<'a> {
    Vllm(Box<Vllm<'a>>),
    Sglang(Box<Sglang<'a>>),
    Trtllm(Box<Trtllm<'a>>),
}

macro_rules! each {
    ($any:ident, $scheduler:ident => $call:expr) => {
        match $any {
            AnyScheduler::Vllm($scheduler) => $call,
            AnyScheduler::Sglang($scheduler) => $call,
            AnyScheduler::Trtllm($scheduler) => $call,
        }
    };
}

impl Scheduler for AnyScheduler<'_> {
    fn has_work(&self) -> bool {
        each!(self, scheduler => scheduler.has_work())
    }

    fn arrive(&mut self, request: u32, arrival_ps: i64) -> bool {
        each!(self, scheduler => scheduler.arrive(request, arrival_ps))
    }

    fn arrive_remote(&mut self, request: u32, arrival_ps: i64) -> bool {
        each!(self, scheduler => scheduler.arrive_remote(request, arrival_ps))
    }

    fn transferred(&mut self, id: u32, kind: Move, now_ps: i64) -> bool {
        each!(self, scheduler => scheduler.transferred(id, kind, now_ps))
    }

    fn release(&mut self, request: u32, now_ps: i64) -> bool {
        each!(self, scheduler => scheduler.release(request, now_ps))
    }

    fn abort(&mut self, request: u32, now_ps: i64) -> bool {
        each!(self, scheduler => scheduler.abort(request, now_ps))
    }

    fn note_last_passes(&self, pass: &Pass, start_ps: i64, end_ps: i64, results: &mut Results) {
        each!(self, scheduler => scheduler.note_last_passes(pass, start_ps, end_ps, results));
    }

    fn kept_busy(&mut self, until_ps: i64) {
        each!(self, scheduler => scheduler.kept_busy(until_ps));
    }

    fn set_step(&mut self, step: i64) {
        each!(self, scheduler => scheduler.set_step(step));
    }

    fn schedule(&mut self, now_ps: i64, start_ps: i64, results: &mut Results, pass: &mut Pass) -> bool {
        each!(self, scheduler => scheduler.schedule(now_ps, start_ps, results, pass))
    }

    fn settle(&mut self, pass: &mut Pass) {
        each!(self, scheduler => scheduler.settle(pass))
    }

    fn update(&mut self, pass: &mut Pass, next: Option<&mut Pass>, results: &mut Results) {
        each!(self, scheduler => scheduler.update(pass, next, results))
    }

    fn passes(&self) -> u64 {
        each!(self, scheduler => scheduler.passes())
    }

    fn running(&self) -> u32 {
        each!(self, scheduler => scheduler.running())
    }

    fn waiting(&self) -> u32 {
        each!(self, scheduler => scheduler.waiting())
    }

    fn used_blocks(&self, passes: i64) -> u32 {
        each!(self, scheduler => scheduler.used_blocks(passes))
    }

    fn usable_blocks(&self) -> u32 {
        each!(self, scheduler => scheduler.usable_blocks())
    }

    fn holdup(&self, passes: i64) -> Holdup {
        each!(self, scheduler => scheduler.holdup(passes))
    }

    fn cached_blocks(&self, request: u32, passes: i64) -> u32 {
        each!(self, scheduler => scheduler.cached_blocks(request, passes))
    }

    fn may_cache(&self, request: u32, segment: u32, found: bool) -> bool {
        each!(self, scheduler => scheduler.may_cache(request, segment, found))
    }

    fn is_stalled(&self, passes: u64) -> bool {
        each!(self, scheduler => scheduler.is_stalled(passes))
    }

    fn failure(&self) -> Option<&'static str> {
        each!(self, scheduler => scheduler.failure())
    }

    fn next_wake_ps(&self) -> Option<i64> {
        each!(self, scheduler => scheduler.next_wake_ps())
    }

    fn unfinished(&self) -> Vec<u32> {
        each!(self, scheduler => scheduler.unfinished())
    }

    fn log_stuck(&mut self, now_ps: i64) {
        each!(self, scheduler => scheduler.log_stuck(now_ps))
    }

    fn into_ledger(self, pass_time: PassTime) -> Ledger {
        each!(self, scheduler => scheduler.into_ledger(pass_time))
    }

    fn check(&self) {
        each!(self, scheduler => scheduler.check())
    }
}

impl<'a> Turns<'a> for AnyScheduler<'a> {
    fn micro_batches(&self) -> u64 {
        each!(self, scheduler => scheduler.micro_batches())
    }

    fn batch_of(&self, pass: u64) -> (&DecodeSet<'a>, u64) {
        each!(self, scheduler => scheduler.batch_of(pass))
    }

    fn turn_to(&mut self, pass: u64) {
        each!(self, scheduler => scheduler.turn_to(pass));
    }

    fn quiet_passes(&self, pass: u64) -> i64 {
        each!(self, scheduler => scheduler.quiet_passes(pass))
    }

    fn skip(&mut self, pass: u64, passes: i64) {
        each!(self, scheduler => scheduler.skip(pass, passes));
    }

    fn skip_results(&mut self, pass: u64, results_ps: i64, gap_ps: i64) {
        each!(self, scheduler => scheduler.skip_results(pass, results_ps, gap_ps));
    }

    fn log_times(&mut self, pass: &Pass, start_ps: i64, time_ps: i64) {
        each!(self, scheduler => scheduler.log_times(pass, start_ps, time_ps));
    }

    fn has_taken_out(&self) -> bool {
        each!(self, scheduler => scheduler.has_taken_out())
    }
}
