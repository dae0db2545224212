//! What must hold between any two events: time goes on, blocks are conserved, each request ends once.

mod support;

use servetwin_core::clock::Now;
use servetwin_core::config::sglang::{self, HiCache, Sglang, WritePolicy};
use servetwin_core::config::trtllm::{self, CapacityPolicy, ChunkingPolicy, Trtllm};
use servetwin_core::config::vllm::{Below, Groups, Offload, Place, Policy, Version, Vllm, WritePolicy as Writes};
use servetwin_core::config::{Balance, Data, Engine, Pipeline, Role};
use servetwin_core::kv::channel::Speed;
use servetwin_core::record::{NEVER, Reason, Requests};
use servetwin_core::replica::{Limits, Replica};
use servetwin_core::scheduler::{self, Results, Setting};
use servetwin_core::step_time::{Affine, StepTime};
use servetwin_core::trace::{NONE, Trace};
use servetwin_core::worker::{Phase, Stop};
use support::Dice;

const MS: i64 = 1_000_000_000;

fn trace(dice: &mut Dice) -> Trace {
    let mut trace = Trace { block_tokens: 8, block_offsets: vec![0], ..Trace::default() };
    let mut arrival_ps = 0;
    let mut fresh = 40;
    for _ in 0..dice.roll(1, 30) {
        arrival_ps += dice.pick(&[0, MS, 9 * MS, 120 * MS]);
        let (prompt, output) = (dice.roll(1, 90) as u32, dice.roll(0, 60) as u32);
        trace.arrival_ps.push(arrival_ps);
        trace.input_tokens.push(prompt);
        trace.output_tokens.push(output);
        trace.max_output_tokens.push(output + dice.pick(&[0, 0, 9]));
        trace.priority.push(dice.roll(0, 2) as i32);
        trace.after.push(NONE);
        let blocks = prompt.div_ceil(8);
        let shared = dice.roll(0, i64::from(blocks)) as u32;
        let family = dice.roll(0, 2) as u32 * 12;
        for block in 0..blocks {
            trace.block_ids.push(if block < shared { family + block } else { fresh + block });
        }
        fresh += blocks;
        trace.block_offsets.push(trace.block_ids.len() as u64);
    }
    trace
}

/// Of two drafts.
const ACCEPTANCE: &str = r#"{"kind": "drawn", "counts": [9, 7, 5], "seed": 1}"#;

fn grouped(dice: &mut Dice) -> Vllm {
    let has_state = dice.chance(3);
    let (count, window, come_first) = (dice.roll(1, 3) as u32, dice.roll(1, 60) as u32, dice.chance(2));
    let engine = vllm(dice);
    let drafts = engine.num_speculative_tokens > 0;
    let caches = engine.enable_prefix_caching
        && engine.version == Version::V0_32
        && !(has_state && drafts)
        && !engine.eagle_block_drop;
    Vllm {
        enable_prefix_caching: caches,
        groups: Some(Groups { count, window, has_state, come_first }),
        num_gpu_blocks: (1 + count) * engine.num_gpu_blocks,
        ..engine
    }
}

fn vllm(dice: &mut Dice) -> Vllm {
    let drafts = dice.pick(&[0, 0, 0, 2]);
    Vllm {
        version: dice.pick(&[Version::V0_32, Version::V0_19]),
        max_num_seqs: dice.roll(1, 10) as u32,
        max_num_batched_tokens: dice.pick(&[16, 40, 128]),
        max_model_len: 200,
        block_size: dice.pick(&[1, 4, 8, 16]),
        num_gpu_blocks: dice.roll(40, 200) as u32,
        enable_prefix_caching: !dice.chance(4),
        enable_chunked_prefill: true,
        long_prefill_token_threshold: dice.pick(&[0, 0, 12]),
        long_prefill_token_threshold_adaptive: false,
        scheduling_policy: dice.pick(&[Policy::Fcfs, Policy::Priority]),
        watermark_blocks: dice.roll(0, 2) as u32,
        scheduler_reserve_full_isl: dice.chance(2),
        prefill_schedule_interval: dice.roll(1, 3) as u32,
        async_scheduling: drafts == 0 && dice.chance(2),
        num_speculative_tokens: drafts,
        acceptance: (drafts > 0).then(|| serde_json::from_str(ACCEPTANCE).expect("a table")),
        num_lookahead_tokens: if drafts > 0 { dice.pick(&[0, 2]) } else { 0 },
        eagle_block_drop: drafts > 0 && dice.chance(2),
        num_speculative_tokens_per_batch_size: if drafts > 0 && dice.chance(2) { vec![(4, 0)] } else { vec![] },
        id_ranks: None,
        offload: None,
        groups: None,
    }
}

/// With host memory that is anything from a block to plenty, at the end of a slow or a fast link.
fn offloading(dice: &mut Dice) -> Vllm {
    let mut engine = Vllm { version: Version::V0_32, enable_prefix_caching: true, ..vllm(dice) };
    let drafts = engine.num_speculative_tokens > 0;
    engine.async_scheduling = !drafts && dice.chance(2);
    engine.num_gpu_blocks = 200_u32.div_ceil(engine.block_size) + dice.roll(1, 30) as u32;
    let speed = |dice: &mut Dice| Speed {
        bytes_per_s: dice.pick(&[2_000, 100_000, 10_000_000]),
        latency_ps: dice.pick(&[0, MS / 50, 3 * MS]),
    };
    let places = dice.pick(&[[].as_slice(), &[Place::Disk], &[Place::Shared], &[Place::Disk, Place::Shared]]);
    let mut behind = |place: &Place| Below {
        place: *place,
        blocks: dice.pick(&[2, 40, 900]),
        write: speed(dice),
        read: speed(dice),
        write_policy: dice.pick(&[Writes::Through, Writes::OnEviction]),
    };
    let below = places.iter().map(&mut behind).collect();
    engine.offload = Some(Offload {
        blocks: dice.pick(&[1, 3, 12, 60, 400]),
        block_bytes: 10 * u64::from(engine.block_size),
        store: speed(dice),
        load: speed(dice),
        drops_last_block: drafts && dice.chance(2),
        below,
    });
    engine
}

fn trtllm(dice: &mut Dice) -> Trtllm {
    let drafts = dice.pick(&[0, 0, 2]);
    let pauses = if drafts > 0 { CapacityPolicy::GuaranteedNoEvict } else { CapacityPolicy::MaxUtilization };
    Trtllm {
        version: trtllm::Version::V1_2,
        max_batch_size: dice.roll(1, 10) as u32,
        max_num_tokens: dice.pick(&[160, 200]),
        max_seq_len: 200,
        enable_chunked_prefill: dice.chance(2),
        tokens_per_block: dice.pick(&[1, 4, 8, 16]),
        num_blocks: dice.roll(40, 200) as u32,
        enable_block_reuse: !dice.chance(4),
        capacity_scheduler_policy: dice.pick(&[
            CapacityPolicy::GuaranteedNoEvict,
            pauses,
            pauses,
            CapacityPolicy::StaticBatch,
        ]),
        context_chunking_policy: dice.pick(&[ChunkingPolicy::FirstComeFirstServed, ChunkingPolicy::EqualProgress]),
        batch_wait_timeout_iters: dice.pick(&[0, 0, 3]),
        batch_wait_tokens: 60,
        max_draft_len: drafts,
        acceptance: (drafts > 0).then(|| serde_json::from_str(ACCEPTANCE).expect("a table")),
        num_extra_kv_tokens: drafts / 2,
        max_concurrency: if drafts > 0 { dice.pick(&[None, Some(3)]) } else { None },
    }
}

fn speed(dice: &mut Dice) -> Speed {
    Speed { bytes_per_s: dice.pick(&[100_000, 1_000_000, 1_000_000_000]), latency_ps: dice.pick(&[0, MS, 20 * MS]) }
}

fn hicache(dice: &mut Dice, page_size: u32) -> HiCache {
    HiCache {
        write_policy: dice.pick(&[
            WritePolicy::WriteThrough,
            WritePolicy::WriteThroughSelective,
            WritePolicy::WriteBack,
        ]),
        tokens: page_size * dice.roll(1, i64::from(600 / page_size)) as u32,
        layers: dice.roll(1, 4) as u32,
        token_bytes: 1_000,
        load: speed(dice),
        store: speed(dice),
    }
}

fn sglang(dice: &mut Dice) -> Sglang {
    let drafts = dice.pick(&[0, 0, 2, 3]);
    let page_size = dice.pick(&[1, 1, 4, 16]);
    let disable_radix_cache = dice.chance(4);
    let hicache = (!disable_radix_cache && dice.chance(2)).then(|| hicache(dice, page_size));
    Sglang {
        version: sglang::Version::V0_5_23,
        page_size,
        max_total_tokens: dice.roll(160, 300) as u32 / page_size * page_size,
        max_running_requests: dice.roll(1, 10) as u32,
        context_length: 200,
        chunked_prefill_size: dice.pick(&[None, Some(16), Some(48), Some(128)]),
        max_prefill_tokens: dice.pick(&[64, 4096]),
        enable_mixed_chunk: drafts == 0 && dice.chance(3),
        schedule_policy: dice.pick(&[sglang::Policy::Fcfs, sglang::Policy::Lpm]),
        schedule_conservativeness: dice.pick(&[0.0, 0.0, 0.1, 1.0]),
        disable_radix_cache,
        enable_priority_scheduling: dice.chance(4),
        schedule_low_priority_values_first: dice.chance(2),
        priority_scheduling_preemption_threshold: dice.roll(0, 1) as i32,
        disable_priority_preemption: dice.chance(4),
        disable_overlap_schedule: dice.chance(2),
        pp_max_micro_batch_size: None,
        ignore_eos: dice.chance(3),
        speculative_num_draft_tokens: if drafts > 0 { drafts + 1 } else { 0 },
        acceptance: (drafts > 0).then(|| serde_json::from_str(ACCEPTANCE).expect("a table")),
        decode_reserve_tokens: if drafts > 0 { 2 * (drafts + 1) } else { 0 },
        hicache,
        window: None,
        disaggregation: None,
    }
}

fn windowed(dice: &mut Dice) -> Sglang {
    let engine = sglang(dice);
    let (tokens, page_size) = (dice.roll(1, 40) as u32, engine.page_size);
    let least = engine.chunked_prefill_size.unwrap_or(0) + 2 * (tokens.next_multiple_of(page_size) + page_size);
    let pool_tokens = (least + dice.roll(1, 150) as u32).next_multiple_of(page_size);
    let window = sglang::Window { tokens, pool_tokens, eviction_interval: dice.pick(&[1, 5, 128]) };
    Sglang { window: Some(window), hicache: None, enable_mixed_chunk: false, ..engine }
}

#[test]
fn vllm_conserves_blocks_and_ends_each_request_once() {
    holds(|dice| Engine::Vllm(vllm(dice)), 1_000);
}

#[test]
fn vllm_with_other_groups_conserves_blocks_and_ends_each_request_once() {
    holds(|dice| Engine::Vllm(grouped(dice)), 1_000);
}

#[test]
fn vllm_with_a_host_tier_conserves_blocks_and_ends_each_request_once() {
    let loaded = holds(|dice| Engine::Vllm(offloading(dice)), 500);
    assert!(loaded > 2_000, "the worlds must load from the host: {loaded} tokens");
}

#[test]
fn trtllm_conserves_blocks_and_ends_each_request_once() {
    holds(|dice| Engine::Trtllm(trtllm(dice)), 100);
}

#[test]
fn sglang_conserves_tokens_and_ends_each_request_once() {
    holds(|dice| Engine::Sglang(sglang(dice)), 400);
}

#[test]
fn sglang_with_windows_conserves_tokens_and_ends_each_request_once() {
    holds(|dice| Engine::Sglang(windowed(dice)), 200);
}

#[test]
fn vllm_in_pipeline_stages_conserves_blocks_and_ends_each_request_once() {
    let engine = |dice: &mut Dice| {
        let (num_speculative_tokens, num_lookahead_tokens, eagle_block_drop) = (0, 0, false);
        let (version, acceptance) = (Version::V0_32, None);
        let drawn = vllm(dice);
        Engine::Vllm(Vllm {
            version,
            num_speculative_tokens,
            num_lookahead_tokens,
            eagle_block_drop,
            acceptance,
            num_speculative_tokens_per_batch_size: Vec::new(),
            ..drawn
        })
    };
    holds_in(engine, 500, true);
}

#[test]
fn sglang_in_pipeline_stages_conserves_tokens_and_ends_each_request_once() {
    let engine = |dice: &mut Dice| {
        let rows = dice.pick(&[None, None, Some(1), Some(4)]);
        let drawn = sglang(dice);
        Engine::Sglang(Sglang {
            disable_overlap_schedule: true,
            speculative_num_draft_tokens: 0,
            acceptance: None,
            decode_reserve_tokens: 0,
            hicache: None,
            pp_max_micro_batch_size: rows,
            ..drawn
        })
    };
    holds_in(engine, 200, true);
}

/// Tokens that a request gets: SGLang gives one to each, and cuts what might not fit.
fn given(engine: &Engine, trace: &Trace, row: usize) -> u32 {
    let output = trace.output_tokens[row];
    match engine {
        Engine::Vllm(_) | Engine::Trtllm(_) => output,
        Engine::Sglang(engine) => {
            output.min(engine.limit(trace.input_tokens[row], trace.max_output_tokens[row])).max(1)
        }
    }
}

const WORLDS: u64 = 1_500;

/// One rank, or a few of them, in step or not.
fn data(dice: &mut Dice) -> Data {
    let balance = if dice.chance(2) { Balance::RoundRobin } else { Balance::Score { interval_ps: 20 * MS } };
    let sync_passes = if dice.chance(2) { 0 } else { 8 };
    Data { ranks: dice.roll(1, 3) as u32, in_step: dice.chance(2), balance, sync_passes }
}

/// Two to four stages, of which the last takes twice as long.
fn pipeline(step_time: &StepTime, stages: i64) -> Pipeline {
    let StepTime::Affine { host, terms, draft, .. } = step_time else { unreachable!("the worlds' own") };
    let host = Affine { base_ps: 2 * host.base_ps, ..*host };
    let last = StepTime::Affine { host, terms: terms.clone(), draft: *draft, measured: None };
    Pipeline {
        kinds: vec![step_time.clone(), last],
        stages: (1..=stages).map(|stage| u32::from(stage == stages)).collect(),
    }
}

/// Returns the tokens loaded from host memory.
fn holds(engine: fn(&mut Dice) -> Engine, least_preemptions: u32) -> u32 {
    holds_in(engine, least_preemptions, false)
}

fn holds_in(engine: fn(&mut Dice) -> Engine, least_preemptions: u32, staged: bool) -> u32 {
    let mut loaded = 0;
    let mut preemptions = 0;
    let mut stuck = 0;
    let mut aborted = 0;
    let mut is_sglang = false;
    for seed in 0..WORLDS {
        let mut dice = Dice::new(seed);
        let (trace, engine) = (trace(&mut dice), engine(&mut dice));
        is_sglang = matches!(engine, Engine::Sglang(_));
        let host = Affine { base_ps: 5 * MS, prefill_token_ps: 50_000, context_ps: 900, ..Affine::default() };
        let step_time = StepTime::Affine { host, terms: Vec::new(), draft: Affine::default(), measured: None };
        let chains = scheduler::chains(&trace, &engine);
        let store = scheduler::store(&engine);
        let pipeline = staged.then(|| pipeline(&step_time, 2 + seed as i64 % 3));
        let setting = Setting {
            trace: &trace,
            chains: &chains,
            engine: &engine,
            step_time: &step_time,
            role: Role::Aggregated,
            data: if staged { Data::default() } else { data(&mut dice) },
            pipeline: pipeline.as_ref(),
            leap: dice.chance(2),
            max_passes: u64::MAX,
            store: store.as_ref(),
            log_passes: false,
            log_blocks: dice.chance(3) && !matches!(&engine, Engine::Vllm(engine) if engine.groups.is_some()),
            layerwise: false,
        };
        let limits = Limits { stall_passes: 300, interval_ps: 10 * MS, gap_limit: 50, series_limit: 8 };
        let mut worker = Replica::new(0, setting, limits);
        let mut requests = Requests::new(trace.len());
        scheduler::open_loaded(&engine, &mut requests.loaded, trace.len());
        let (mut first_tokens, mut ended) = (Vec::new(), Vec::new());
        let mut refused = 0;
        let mut now = (0, Phase::Results);
        for request in 0..=trace.len() {
            let until = trace.arrival_ps.get(request).map_or((i64::MAX, Phase::Results), |&at| (at, Phase::Arrival));
            while let Some(next) = worker.next_event().filter(|&next| next < until) {
                assert!(next.0 >= now.0, "seed {seed}: time goes back from {now:?} to {next:?}");
                now = next;
                let first_tokens = &mut first_tokens;
                let (requests, ended) = (&mut requests, &mut ended);
                let (wanted, prefilled, last_passes) = (&mut Vec::new(), &mut Vec::new(), &mut Vec::new());
                let mut results = Results { requests, first_tokens, ended, wanted, prefilled, last_passes };
                worker.process(next, &mut results);
                worker.check();
            }
            if request == trace.len() {
                break;
            }
            requests.arrival_ps[request] = until.0;
            requests.routed_ps[request] = until.0;
            if setting.refusal(request as u32).is_some() {
                refused += 1;
            } else {
                worker.arrive(request as u32, until.0);
            }
            now = (until.0, Phase::Arrival);
        }
        preemptions += requests.preemptions.iter().sum::<u32>();
        loaded += requests.loaded.host.iter().sum::<u32>();
        for (row, &tokens) in requests.loaded.host.iter().enumerate() {
            assert!(tokens <= requests.cached_tokens[row], "seed {seed}");
            assert!(requests.cached_tokens[row] <= trace.input_tokens[row], "seed {seed}");
        }
        let mut once = ended.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), ended.len(), "seed {seed}: a request ended twice");
        if matches!(worker.stopped(), Some(Stop::Stalled | Stop::Engine(_))) {
            stuck += 1;
        } else {
            assert_eq!(ended.len() + refused, trace.len(), "seed {seed}: a request was lost");
            assert_eq!(worker.view(Now::at(i64::MAX)).used_blocks, 0, "seed {seed}: blocks leaked");
        }
        for &request in &ended {
            let row = request as usize;
            let output = given(&engine, &trace, row);
            if requests.reason[row] == Reason::OutOfMemory as u8 {
                aborted += 1;
                assert!(requests.output_tokens[row] < output, "seed {seed}: aborted after all");
                continue;
            }
            assert_eq!(requests.output_tokens[row], output, "seed {seed}");
            let times = [requests.arrival_ps[row], requests.scheduled_ps[row], requests.end_ps[row]];
            assert!(times.is_sorted() && times[1] != NEVER, "seed {seed}: {times:?}");
            assert_eq!(requests.first_token_ps[row] == NEVER, output == 0);
        }
    }
    assert!(aborted == 0 || is_sglang, "only SGLang aborts what runs");
    assert!(aborted > 0 || !is_sglang || !staged, "it does where other micro-batches hold all");
    assert!(stuck < WORLDS / 20, "nearly all worlds must come to their end: {stuck} did not");
    assert!(preemptions > least_preemptions, "the worlds must be tight enough to preempt: {preemptions}");
    loaded
}
