//! Work to count instructions of, by `bench/instructions.py`: the same in every run.
//!
//! `count ENGINE decode ROWS PASSES`: one replica steps through PASSES passes, of which all but the
//! first decode ROWS rows. Their prompts differ by a token each, so that a sixteenth of them needs a
//! block in each pass.
//!
//! `count ENGINE admit ROWS ARRIVALS`: ROWS rows decode, and ARRIVALS requests of one token come in
//! one after the other.
//!
//! `count ENGINE dense`, `count ENGINE sparse`: a generated trace, with leaps, and its metrics:
//! replicas that prefill all the time, and replicas that mostly decode undisturbed.
//!
//! `count vllm feature NAME`: the same generated trace for all names, on 8 replicas, or ranks, with one
//! feature each; `plain` has none.

use servetwin_core::config::{self, Run};
use servetwin_core::generate::generate;
use servetwin_core::metrics::{SummaryOptions, summarize};
use servetwin_core::simulation::{Outcome, simulate};
use servetwin_core::trace::{NONE, Trace};
use std::hint::black_box;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| -> u32 { text.parse().expect("a number") };
    match words[..] {
        [engine, "decode", rows, passes] => decode(engine, number(rows), number(passes)),
        [engine, "admit", rows, arrivals] => admit(engine, number(rows), number(arrivals)),
        ["vllm", "feature", name] => feature(name),
        [engine, "dense"] => generated(engine, 20_000, 40.0, (2000, 100)),
        [engine, "sparse"] => generated(engine, 5_000, 1.0, (500, 800)),
        _ => {
            panic!("usage: count vllm|sglang decode ROWS PASSES | admit ROWS ARRIVALS | dense | sparse | feature NAME")
        }
    }
}

fn decode(engine: &str, rows: u32, passes: u32) {
    let run = description(engine, 1, 2 * rows * rows, false, Some(passes));
    let trace = trace((1..=rows).map(|prompt| (0, prompt, 2 * passes)));
    let outcome = counted(&trace, &run);
    assert_eq!(outcome.passes, u64::from(passes));
    let first = outcome.requests.first_token_ps[0];
    assert!(first > 0 && outcome.requests.first_token_ps.iter().all(|&time_ps| time_ps == first));
    println!("{passes} passes of {rows} rows");
}

fn admit(engine: &str, rows: u32, arrivals: u32) {
    /// Between arrivals: some ten passes.
    const DISTANCE_PS: i64 = 50_000_000_000;
    let run = description(engine, 1, 2 * rows * rows, true, None);
    let long = (1..=rows).map(|prompt| (0, prompt, 20 * arrivals));
    let short = (1..=arrivals).map(|index| (i64::from(index) * DISTANCE_PS, 16, 1));
    let outcome = counted(&trace(long.chain(short)), &run);
    assert!(outcome.requests.end_ps.iter().all(|&time_ps| time_ps > 0));
    println!("{arrivals} arrivals at {rows} rows, {} passes", outcome.passes);
}

/// Requests by arrival, prompt and output, with nothing in common.
fn trace(requests: impl Iterator<Item = (i64, u32, u32)>) -> Trace {
    let mut trace = Trace { block_tokens: 1024, block_offsets: vec![0], ..Trace::default() };
    for (index, (arrival_ps, prompt, output)) in requests.enumerate() {
        trace.arrival_ps.push(arrival_ps);
        trace.input_tokens.push(prompt);
        trace.output_tokens.push(output);
        trace.max_output_tokens.push(output);
        trace.priority.push(0);
        trace.after.push(NONE);
        trace.block_ids.push(index as u32);
        trace.block_offsets.push(index as u64 + 1);
    }
    trace
}

const REPLICAS: u32 = 8;

fn generated(engine: &str, requests: u32, rate_per_s: f64, lengths: (u32, u32)) {
    let run = description(engine, REPLICAS, 8192, true, None);
    let outcome = counted(&workload(requests, rate_per_s, lengths), &run);
    println!("{} passes, {} leaps", outcome.passes, outcome.leaps);
}

fn workload(requests: u32, rate_per_s: f64, (input, output): (u32, u32)) -> Trace {
    let lengths = |p50: u32| format!(r#"{{"kind": "lognormal", "p50": {p50}, "p99": {}, "max": 16000}}"#, 5 * p50);
    let workload = generate(&format!(
        r#"{{"requests": {requests}, "seed": 1, "block_tokens": 512,
            "arrivals": {{"kind": "open", "gaps": {{"cv": 1}}, "rate": {{"kind": "constant", "per_s": {rate_per_s}}}}},
            "classes": [{{"input_tokens": {}, "output_tokens": {},
            "prefix": {{"groups": 50, "tokens": 1024, "share": 0.5, "choice": {{"kind": "uniform"}}}}}}]}}"#,
        lengths(input),
        lengths(output),
    ));
    workload.expect("a workload").trace
}

/// Not so dense that ranks or stages, which are one replica, fall behind.
fn feature(name: &str) {
    let mut trace = workload(5_000, 4.0, (1000, 200));
    let mut run = described("vllm", REPLICAS, 8192, true, None);
    let pool = &mut run["pools"][0];
    match name {
        "plain" => {}
        "pools" => {
            (pool["role"], pool["replicas"]) = ("prefill".into(), 4.into());
            let decode = pool.clone();
            run["pools"].as_array_mut().expect("pools").push(decode);
            run["pools"][1]["role"] = "decode".into();
            run["links"] = serde_json::json!([{"bytes_per_s": 50_000_000_000_u64, "latency_ps": 10_000_000}]);
            run["handover"] = serde_json::json!({
                "order": "source_first", "bootstrap_ps": 0, "control_ps": 200_000_000, "setup_ps": 500_000_000,
                "timeout_ps": 480_000_000_000_000_i64, "bytes_per_token": 131_072, "links": [0],
            });
        }
        "tiers" => {
            let speed = serde_json::json!({"bytes_per_s": 50_000_000_000_u64, "latency_ps": 10_000_000});
            pool["engine"]["num_gpu_blocks"] = 4_000.into(); // few enough that prefixes leave
            pool["engine"]["offload"] = serde_json::json!({
                "blocks": 16_000, "block_bytes": 16 * 131_072, "store": speed, "load": speed,
            });
        }
        "drafts" => {
            let drawn = serde_json::json!({"kind": "drawn", "counts": [10, 7, 5, 12], "seed": 1});
            for (option, value) in [("num_speculative_tokens", 3.into()), ("acceptance", drawn)] {
                pool["engine"][option] = value;
            }
            (pool["engine"]["num_lookahead_tokens"], pool["engine"]["eagle_block_drop"]) = (3.into(), true.into());
        }
        "ranks" => {
            pool["replicas"] = 1.into();
            pool["data"] = serde_json::json!({
                "ranks": REPLICAS, "in_step": true, "balance": {"kind": "round_robin"}, "sync_passes": 0,
            });
        }
        "stages" => {
            pool["replicas"] = 4.into();
            pool["pipeline"] = serde_json::json!({"kinds": [pool["step_time"]], "stages": [0, 0]});
        }
        "staircase" => pool["step_time"] = staircase(),
        "agents" => {
            run["users"] = 64.into();
            in_trajectories(&mut trace);
        }
        _ => panic!("{name}: plain, pools, tiers, drafts, ranks, stages, staircase or agents"),
    }
    let outcome = counted(&trace, &checked(run));
    let status = |request: usize| outcome.requests.end_ps[request] > 0;
    assert!((0..trace.len()).all(status), "all end");
    println!("{} passes, {} leaps", outcome.passes, outcome.leaps);
}

/// Decodes padded to sizes that were captured, by a table.
fn staircase() -> serde_json::Value {
    let none = serde_json::json!({
        "base_ps": 1_000_000_000, "prefill_token_ps": 0, "work_fps": 0, "decode_row_ps": 0, "context_ps": 0,
        "sequence_ps": 0,
    });
    let flat = serde_json::json!({"at": [1], "start_ps": [0], "slope_fps": [0]});
    let (rows, contexts) = ([1, 16, 64, 256], [1, 1_000, 100_000]);
    let decode: Vec<Vec<i64>> = (4..8).map(|row| (0..3).map(|at| (row + at) * 1_000_000_000).collect()).collect();
    serde_json::json!({
        "kind": "tabulated", "host": none, "tokens": flat, "sequences": flat, "draft": none, "mixed": null, "longest": null,
        "graphs": {
            "decode_sizes": [1, 2, 4, 8, 16, 32, 64, 128, 256], "piecewise_sizes": [512, 1024], "padded": true,
            "piecewise_ps": 0, "eager_ps": 1_000_000_000,
        },
        "decode": {"rows": rows, "contexts": contexts, "ps": decode},
        "prompt": {"tokens": [1, 8192], "reach": [[1], [8192]], "ps": [[5_000_000_000_i64], [120_000_000_000_i64]]},
    })
}

/// Of eight requests each: seven turns, of which the last waits for the third as well, and one beside them.
fn in_trajectories(trace: &mut Trace) {
    trace.wait_offsets.push(0);
    for row in 0..trace.len() {
        let turn = row % 8;
        if turn == 6 {
            trace.wait_for.push(row as u32 - 4);
        } else if turn == 7 {
            trace.wait_for.push(row as u32 - 6);
        }
        if turn > 0 {
            trace.arrival_ps[row] = 500_000_000_000;
        }
        if (1..7).contains(&turn) {
            trace.after[row] = row as u32 - 1;
        }
        trace.wait_offsets.push(trace.wait_for.len() as u64);
    }
}

/// What is counted: the run and its metrics. Not what the trace comes from, nor its hash.
#[inline(never)]
fn counted(trace: &Trace, run: &Run) -> Outcome {
    let Ok(outcome) = simulate(trace, run, Vec::new(), &mut |_| true) else {
        unreachable!("no router of a user's, and nothing ends it early");
    };
    let options = SummaryOptions::from_json(
        r#"{"warmup_ps": 0, "window_ps": null, "gpus": 8, "gpu_price_per_hour": null, "slo": null}"#,
    )
    .expect("options");
    black_box(summarize(
        &outcome.requests,
        &trace.input_tokens,
        &trace.max_output_tokens,
        &[],
        &outcome.gaps,
        &outcome.speculated,
        &outcome.pools,
        &options,
    ));
    outcome
}

fn description(engine: &str, replicas: u32, budget: u32, leap: bool, max_passes: Option<u32>) -> Run {
    checked(described(engine, replicas, budget, leap, max_passes))
}

fn checked(run: serde_json::Value) -> Run {
    let run: Run = serde_json::from_value(run).expect("a run description");
    config::check(&run).expect("a run that is possible");
    run
}

/// Blocks, or pages, of 16 tokens; passes of up to `budget` prefill tokens.
fn described(engine: &str, replicas: u32, budget: u32, leap: bool, max_passes: Option<u32>) -> serde_json::Value {
    let engine = match engine {
        "vllm" => serde_json::json!({
            "name": "vllm", "version": "0.32", "max_num_seqs": 2048, "max_num_batched_tokens": budget,
            "max_model_len": 1_000_000, "block_size": 16, "num_gpu_blocks": 4_000_000, "enable_prefix_caching": true,
            "enable_chunked_prefill": true, "long_prefill_token_threshold": 0,
            "long_prefill_token_threshold_adaptive": false, "scheduling_policy": "fcfs", "watermark_blocks": 0,
            "scheduler_reserve_full_isl": true, "async_scheduling": false, "num_speculative_tokens": 0,
        }),
        "sglang" => serde_json::json!({
            "name": "sglang", "version": "0.5.23", "page_size": 16, "max_total_tokens": 64_000_000,
            "max_running_requests": 2048, "context_length": 1_000_000, "chunked_prefill_size": budget.max(16),
            "max_prefill_tokens": budget.max(16), "enable_mixed_chunk": false, "schedule_policy": "fcfs",
            "schedule_conservativeness": 1.0, "disable_radix_cache": false, "enable_priority_scheduling": false,
            "schedule_low_priority_values_first": false, "priority_scheduling_preemption_threshold": 10,
            "disable_priority_preemption": false, "disable_overlap_schedule": true, "ignore_eos": false,
        }),
        _ => panic!("{engine}: vllm or sglang"),
    };
    serde_json::json!({
        "pools": [{
            "role": "aggregated",
            "replicas": replicas,
            "engine": engine,
            // 5 ms, 15 µs a prefill token, 20 ns a token of context.
            "step_time": {
                "kind": "affine",
                "host": {
                    "base_ps": 5_000_000_000_i64, "prefill_token_ps": 15_000_000, "work_fps": 0,
                    "decode_row_ps": 0, "context_ps": 20_000, "sequence_ps": 0,
                },
                "terms": [],
            },
            "router": {"kind": "round_robin"},
        }],
        "seed": 0,
        "leap": leap,
        "stall_passes": 10_000,
        "users": null,
        "check_admission": true,
        "max_passes": max_passes,
        "series_interval_ps": 10_000_000_000_000_i64,
    })
}
