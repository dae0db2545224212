//! SGLang's two sides of a hand-over, with a messenger in the place of the loop: memory is conserved on
//! both after each event, and each request ends once.

mod support;

use servetwin_core::clock::Now;
use servetwin_core::config::sglang::{Disaggregation, HiCache, Policy, Sglang, Version, Window, WritePolicy};
use servetwin_core::config::{Balance, Data, Engine, Role};
use servetwin_core::kv::channel::Speed;
use servetwin_core::record::Requests;
use servetwin_core::replica::{Limits, Replica};
use servetwin_core::scheduler::{self, Move, Prefilled, Results, Scheduler, Setting};
use servetwin_core::step_time::{Affine, StepTime};
use servetwin_core::trace::{NONE, Trace};
use servetwin_core::worker::Phase;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use support::Dice;

const MS: i64 = 1_000_000_000;
const WORLDS: u64 = 600;

/// What reaches a replica from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    Arrival,
    Reserved,
    Sent,
}

fn trace(dice: &mut Dice) -> Trace {
    let mut trace = Trace { block_tokens: 8, block_offsets: vec![0], ..Trace::default() };
    let (mut arrival_ps, mut fresh) = (0, 40);
    for _ in 0..dice.roll(1, 30) {
        arrival_ps += dice.pick(&[0, MS, 9 * MS, 120 * MS]);
        let (prompt, output) = (dice.roll(1, 90) as u32, dice.roll(0, 60) as u32);
        trace.arrival_ps.push(arrival_ps);
        trace.input_tokens.push(prompt);
        trace.output_tokens.push(output);
        trace.max_output_tokens.push(output + dice.pick(&[0, 0, 9]));
        trace.priority.push(dice.roll(0, 2) as i32);
        trace.after.push(NONE);
        let (blocks, shared) = (prompt.div_ceil(8), dice.roll(0, 11) as u32);
        for index in 0..blocks {
            trace.block_ids.push(if index < shared { index } else { fresh + index });
        }
        fresh += blocks;
        trace.block_offsets.push(trace.block_ids.len() as u64);
    }
    trace
}

fn speed(dice: &mut Dice) -> Speed {
    Speed { bytes_per_s: dice.pick(&[100_000, 1_000_000_000]), latency_ps: dice.pick(&[0, 20 * MS]) }
}

fn sglang(dice: &mut Dice, role: Role) -> Engine {
    let page_size = dice.pick(&[1, 1, 4, 16]);
    let hicache = (role == Role::Prefill && dice.chance(2)).then(|| HiCache {
        write_policy: dice.pick(&[WritePolicy::WriteThrough, WritePolicy::WriteBack]),
        tokens: page_size * dice.roll(1, i64::from(600 / page_size)) as u32,
        layers: 2,
        token_bytes: 1_000,
        load: speed(dice),
        store: speed(dice),
    });
    let disaggregation = (role == Role::Decode).then(|| Disaggregation {
        num_reserved_decode_tokens: dice.pick(&[0, 1, 20]),
        decode_extra_slots: dice.pick(&[0, 3]),
        polling_interval: dice.pick(&[1, 1, 4]),
    });
    let chunked_prefill_size = dice.pick(&[None, Some(16), Some(48)]);
    let window = (hicache.is_none() && dice.chance(2)).then(|| {
        let tokens = dice.roll(1, 40) as u32;
        let least = chunked_prefill_size.unwrap_or(90) + 2 * (tokens.next_multiple_of(page_size) + page_size);
        let pool_tokens = (least + dice.roll(1, 150) as u32).next_multiple_of(page_size) + page_size;
        Window { tokens, pool_tokens, eviction_interval: 5 }
    });
    Engine::Sglang(Sglang {
        version: Version::V0_5_23,
        page_size,
        max_total_tokens: dice.roll(160, 300) as u32 / page_size * page_size,
        max_running_requests: dice.roll(1, 10) as u32,
        context_length: 200,
        chunked_prefill_size,
        max_prefill_tokens: dice.pick(&[64, 4096]),
        enable_mixed_chunk: window.is_none() && dice.chance(3),
        schedule_policy: dice.pick(&[Policy::Fcfs, Policy::Lpm]),
        schedule_conservativeness: dice.pick(&[0.0, 1.0]),
        disable_radix_cache: role == Role::Decode,
        enable_priority_scheduling: dice.chance(4),
        schedule_low_priority_values_first: dice.chance(2),
        priority_scheduling_preemption_threshold: 0,
        disable_priority_preemption: dice.chance(4),
        disable_overlap_schedule: dice.chance(2),
        ignore_eos: dice.chance(3),
        speculative_num_draft_tokens: 0,
        decode_reserve_tokens: 0,
        pp_max_micro_batch_size: None,
        window,
        acceptance: None,
        hicache,
        disaggregation,
    })
}

#[test]
fn both_sides_conserve_tokens_and_end_each_request_once() {
    let (mut retracted, mut cached) = (0, 0);
    for seed in 0..WORLDS {
        let mut dice = Dice::new(seed);
        let trace = trace(&mut dice);
        let engines = [Role::Prefill, Role::Decode].map(|role| (role, sglang(&mut dice, role)));
        let delay_ps = dice.pick(&[0, MS, 30 * MS]);
        let requests = play(seed, &trace, &engines, delay_ps, dice.chance(2));
        retracted += requests.preemptions.iter().sum::<u32>();
        cached += requests.cached_tokens.iter().sum::<u32>();
    }
    assert!(retracted > 400, "the worlds must be tight enough to retract: {retracted}");
    assert!(cached > 10_000, "and prompts must repeat each other: {cached}");
}

fn play(seed: u64, trace: &Trace, engines: &[(Role, Engine); 2], delay_ps: i64, leap: bool) -> Requests {
    let host = Affine { base_ps: 5 * MS, prefill_token_ps: 50_000, context_ps: 900, ..Affine::default() };
    let step_time = StepTime::Affine { host, terms: Vec::new(), draft: Affine::default(), measured: None };
    let chains = engines.each_ref().map(|(_, engine)| scheduler::chains(trace, engine));
    let data = Data { ranks: 1, in_step: false, balance: Balance::RoundRobin, sync_passes: 0 };
    let settings = [0, 1].map(|side| Setting {
        trace,
        chains: &chains[side],
        engine: &engines[side].1,
        step_time: &step_time,
        role: engines[side].0,
        data,
        pipeline: None,
        store: None,
        leap,
        max_passes: u64::MAX,
        log_passes: false,
        log_blocks: false,
        layerwise: false,
    });
    let limits = Limits { stall_passes: 300, interval_ps: 10 * MS, gap_limit: 50, series_limit: 8 };
    let mut sides = [0, 1].map(|side| Replica::new(side as u32, settings[side], limits));
    let mut requests = Requests::new(trace.len());
    requests.loaded.host = vec![0; trace.len()];
    let (mut ended, mut refused) = (Vec::new(), 0);
    let arrivals = trace.arrival_ps.iter().zip(0..).map(|(&at, request)| Reverse((at, News::Arrival, request)));
    let mut news: BinaryHeap<Reverse<(i64, News, u32)>> = arrivals.collect();
    loop {
        let told = news.peek().map(|&Reverse((at, ..))| (at, Phase::Transfer));
        let event = (0..2).filter_map(|side| sides[side].next_event().map(|next| (next, side))).min();
        if let Some((next, side)) = event.filter(|&(next, _)| told.is_none_or(|told| next < told)) {
            let (mut first_tokens, mut wanted, mut prefilled) = (Vec::new(), Vec::new(), Vec::new());
            let (first_tokens, wanted, prefilled) = (&mut first_tokens, &mut wanted, &mut prefilled);
            let (requests, ended) = (&mut requests, &mut ended);
            let last_passes = &mut Vec::new();
            let mut results = Results { requests, first_tokens, ended, wanted, prefilled, last_passes };
            sides[side].process(next, &mut results);
            assert!(sides[side].stopped().is_none(), "seed {seed}: {:?}", sides[side].stopped());
            for wanted in wanted {
                news.push(Reverse((next.0 + delay_ps, News::Reserved, wanted.id)));
            }
            for &mut Prefilled { request, tokens, done } in prefilled {
                assert!(tokens > 0);
                if done {
                    news.push(Reverse((next.0 + delay_ps, News::Sent, request)));
                }
            }
            sides[side].check();
        } else if let Some(Reverse((now_ps, what, request))) = news.pop() {
            match what {
                News::Arrival if settings.iter().any(|setting| setting.refusal(request).is_some()) => refused += 1,
                News::Arrival => {
                    sides[1].outside(request, Now::at(now_ps), |decode| decode.arrive_remote(request, now_ps));
                }
                News::Reserved => {
                    sides[0].arrive(request, now_ps);
                }
                News::Sent => {
                    sides[0].outside(request, Now::at(now_ps), |prefill| prefill.release(request, now_ps));
                    sides[1].outside(request, Now::at(now_ps), |decode| {
                        decode.transferred(request, Move::Handover, now_ps)
                    });
                }
            }
            sides.iter().for_each(Replica::check);
        } else {
            break;
        }
    }
    let all = ended.len() + refused;
    ended.sort_unstable();
    ended.dedup();
    assert_eq!((ended.len() + refused, all), (trace.len(), trace.len()), "seed {seed}: each request ends once");
    for side in &sides {
        assert_eq!(side.view(Now::at(i64::MAX)).used_blocks, 0, "seed {seed}: memory leaked");
    }
    requests
}
