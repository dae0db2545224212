//! What must hold between any two events: time goes on, blocks are conserved, each request ends once.

mod support;

use servetwin_core::config::Engine;
use servetwin_core::config::vllm::{Policy, Version, Vllm};
use servetwin_core::record::{NEVER, Requests};
use servetwin_core::scheduler::{self, Results, Scheduler, Setting};
use servetwin_core::step_time::{Affine, StepTime};
use servetwin_core::trace::{NONE, Trace};
use servetwin_core::worker::{Limits, Phase, Stop, Worker};
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

fn engine(dice: &mut Dice) -> Vllm {
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
        async_scheduling: drafts == 0 && dice.chance(2),
        num_speculative_tokens: drafts,
        acceptance: None,
        id_ranks: None,
    }
}

#[test]
fn blocks_are_conserved_and_requests_end_once() {
    let mut preemptions = 0;
    for seed in 0..1_500 {
        let mut dice = Dice::new(seed);
        let (trace, engine) = (trace(&mut dice), Engine::Vllm(engine(&mut dice)));
        let host = Affine { base_ps: 5 * MS, prefill_token_ps: 50_000, context_ps: 900, ..Affine::default() };
        let step_time = StepTime::Affine { host, terms: Vec::new() };
        let chains = scheduler::chains(&trace, &engine);
        let setting = Setting {
            trace: &trace,
            chains: &chains,
            engine: &engine,
            step_time: &step_time,
            leap: dice.chance(2),
            max_passes: u64::MAX,
            log_passes: false,
            log_blocks: dice.chance(3),
        };
        let limits = Limits { stall_passes: 300, interval_ps: 10 * MS, gap_limit: 50, series_limit: 8 };
        let mut worker = Worker::new(0, setting, limits);
        let mut requests = Requests::new(trace.len());
        let mut ended = Vec::new();
        let mut refused = 0;
        let mut now = (0, Phase::Results);
        for request in 0..=trace.len() {
            let until = trace.arrival_ps.get(request).map_or((i64::MAX, Phase::Results), |&at| (at, Phase::Arrival));
            while let Some(next) = worker.next_event().filter(|&next| next < until) {
                assert!(next.0 >= now.0, "seed {seed}: time goes back from {now:?} to {next:?}");
                now = next;
                worker.process(next, &mut Results { requests: &mut requests, ended: &mut ended });
                worker.scheduler().check();
            }
            if request == trace.len() {
                break;
            }
            requests.arrival_ps[request] = until.0;
            if setting.refusal(request as u32).is_some() {
                refused += 1;
            } else {
                worker.arrive(request as u32, until.0);
            }
            now = (until.0, Phase::Arrival);
        }
        preemptions += requests.preemptions.iter().sum::<u32>();
        let mut once = ended.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), ended.len(), "seed {seed}: a request ended twice");
        if worker.stopped() != Some(Stop::Stalled) {
            assert_eq!(ended.len() + refused, trace.len(), "seed {seed}: a request was lost");
            assert_eq!(worker.view(i64::MAX).used_blocks, 0, "seed {seed}: blocks leaked");
        }
        for &request in &ended {
            let row = request as usize;
            assert_eq!(requests.output_tokens[row], trace.output_tokens[row], "seed {seed}");
            let times = [requests.arrival_ps[row], requests.scheduled_ps[row], requests.end_ps[row]];
            assert!(times.is_sorted() && times[1] != NEVER, "seed {seed}: {times:?}");
            assert_eq!(requests.first_token_ps[row] == NEVER, trace.output_tokens[row] == 0);
        }
    }
    assert!(preemptions > 1_000, "the worlds must be tight enough to preempt: {preemptions}");
}
