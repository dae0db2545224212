use super::*;
use crate::clock::Now;
use crate::config::{Data, Engine, Role};
use crate::record::Requests;
use crate::replica::{Limits, Replica};
use crate::scheduler::{self, Results, Setting};
use crate::step_time::{Affine, StepTime};
use crate::trace::{NONE, Trace};
use serde_json::json;

/// Engines with a cache of ten blocks of 16 tokens.
fn engines() -> [serde_json::Value; 3] {
    [
        json!({"name": "vllm", "version": "0.32", "max_num_seqs": 8, "max_num_batched_tokens": 512,
               "max_model_len": 512, "block_size": 16, "num_gpu_blocks": 11, "enable_prefix_caching": true,
               "enable_chunked_prefill": true, "long_prefill_token_threshold": 0,
               "long_prefill_token_threshold_adaptive": false, "scheduling_policy": "fcfs", "watermark_blocks": 0,
               "scheduler_reserve_full_isl": true, "async_scheduling": false, "num_speculative_tokens": 0}),
        json!({"name": "sglang", "version": "0.5.23", "page_size": 16, "max_total_tokens": 160,
               "max_running_requests": 8, "context_length": 512, "chunked_prefill_size": null,
               "max_prefill_tokens": 512, "enable_mixed_chunk": false, "schedule_policy": "fcfs",
               "schedule_conservativeness": 1.0, "disable_radix_cache": false, "enable_priority_scheduling": false,
               "schedule_low_priority_values_first": false, "priority_scheduling_preemption_threshold": 10,
               "disable_priority_preemption": false, "disable_overlap_schedule": true, "ignore_eos": false}),
        json!({"name": "trtllm", "version": "1.2", "max_batch_size": 8, "max_num_tokens": 512, "max_seq_len": 512,
               "enable_chunked_prefill": true, "tokens_per_block": 16, "num_blocks": 10, "enable_block_reuse": true,
               "capacity_scheduler_policy": "GUARANTEED_NO_EVICT",
               "context_chunking_policy": "FIRST_COME_FIRST_SERVED",
               "batch_wait_timeout_iters": 0, "batch_wait_tokens": 0}),
    ]
}

/// A prompt of two blocks, others that fill the cache twice, and the first one again.
fn trace() -> Trace {
    let others = |from: u32| (from..from + 5).collect();
    let prompts: [Vec<u32>; 6] = [vec![0, 1], others(2), others(7), others(12), others(17), vec![0, 1]];
    let mut trace = Trace { block_tokens: 16, block_offsets: vec![0], ..Trace::default() };
    for ids in prompts {
        trace.block_ids.extend(&ids);
        trace.block_offsets.push(trace.block_ids.len() as u64);
        trace.input_tokens.push(16 * ids.len() as u32);
    }
    (trace.arrival_ps, trace.priority, trace.after) = (vec![0; 6], vec![0; 6], vec![NONE; 6]);
    (trace.output_tokens, trace.max_output_tokens) = (vec![4; 6], vec![4; 6]);
    trace
}

#[test]
fn a_replica_that_lost_a_prompt_is_not_asked_for_it_again() {
    let trace = trace();
    let step_time = StepTime::Affine {
        host: Affine { base_ps: 1000, ..Affine::default() },
        terms: Vec::new(),
        draft: Affine::default(),
        measured: None,
    };
    let config: Config = serde_json::from_value(json!({
        "overlap_score_credit": 1.0, "overlap_score_credit_decay": 0.0, "prefill_load_scale": 1.0,
        "decode_active_request_weight": 0.0, "temperature": 0.0, "track_prefill_tokens": true,
        "track_active_blocks": true, "assume_kv_reuse": true, "use_kv_events": true, "ttl_ps": 0,
        "queue_threshold": null, "queue_policy": "fcfs",
    }))
    .unwrap();
    for engine in engines() {
        let engine: Engine = serde_json::from_value(engine).unwrap();
        let chains = scheduler::chains(&trace, &engine);
        let blocks = scheduler::blocks(&trace, &engine);
        let (log_passes, log_blocks) = (false, false);
        let (trace, engine, chains, step_time) = (&trace, &engine, &chains, &step_time);
        let (role, data, store, max_passes) = (Role::Aggregated, Data::default(), None, u64::MAX);
        let setting = Setting {
            trace,
            chains,
            engine,
            step_time,
            role,
            data,
            pipeline: None,
            store,
            leap: true,
            max_passes,
            log_passes,
            log_blocks,
            layerwise: false,
        };
        let limits = Limits { stall_passes: 9, interval_ps: 1 << 40, gap_limit: 9, series_limit: 8 };
        let mut workers = [Replica::new(0, setting, limits)];
        let contents = Rc::new(Contents::new(trace, blocks.as_ref().unwrap_or(chains), 16));
        let mut router = KvAware::new(&config, contents, (6, 1), 0, 512);
        let mut requests = Requests::new(6);
        let mut now_ps = 0;
        let mut holders = Vec::new();
        for request in 0..6 {
            let fleet = Fleet { workers: &workers, views: &[], seen_ps: now_ps, now: Now::at(now_ps) };
            let question = router.question(request, now_ps);
            let overlap = router.least_cost(&question, &fleet).overlap;
            assert_eq!(overlap, 0);
            holders = router.parts.iter().map(|part| router.places.holders(part.segment).len()).collect();
            router.pick(request, now_ps, &fleet);
            workers[0].arrive(request, now_ps);
            while let Some(next) = workers[0].next_event() {
                now_ps = next.0 + 1;
                let (first_tokens, ended) = (&mut Vec::new(), &mut Vec::new());
                let (requests, wanted, prefilled) = (&mut requests, &mut Vec::new(), &mut Vec::new());
                let last_passes = &mut Vec::new();
                let mut results = Results { requests, first_tokens, ended, wanted, prefilled, last_passes };
                workers[0].process(next, &mut results);
            }
            router.ended(request, 0);
        }
        assert_eq!(holders, [0], "{engine:?}");
    }
}
