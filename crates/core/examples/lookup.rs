//! How long a look-up of a pass's time takes, in nanoseconds.
//!
//! Reads a lowered step time, as `bench/lookup.py` gives it.

use servetwin_core::step_time::{Features, StepTime, Timeline};
use std::hint::black_box;
use std::io::Read;
use std::time::Instant;

const TIMES: i64 = 2_000_000;
const SERIES: i64 = 2_000;

fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).expect("a lowered step time on standard input");
    let step_time: StepTime = serde_json::from_str(&text).expect("a lowered step time");
    let spread = |i: i64, below: i64| (i.wrapping_mul(2_654_435_761) >> 7).rem_euclid(below);
    let decode = |i: i64| {
        let rows = 1 + spread(i, 256);
        Features::decode(rows, rows * (1 + spread(i * 31, 8192)))
    };
    let prefill = |i: i64, mut features: Features| {
        let (past, new) = (spread(i * 17, 4096), 1 + spread(i * 13, 2048));
        features.add_prefill(past, new);
        features.context += past + new;
        features.sequences += 1;
        features
    };
    let none = each(|i| black_box(decode(i)).context);
    println!("decode {:.1}", each(|i| step_time.of(&decode(i))) - none);
    let mut times = Timeline::default();
    let run = each(|i| {
        let features = decode(i);
        times.clear();
        step_time.decode_stretches(features.decode_rows, features.context, 16, &mut times);
        times.time(16)
    });
    println!("run of 16 decodes {:.1}", run - none);
    let none = each(|i| black_box(prefill(i, decode(i))).context);
    println!("prompt {:.1}", each(|i| step_time.of(&prefill(i, Features::default()))) - none);
    println!("mixed {:.1}", each(|i| step_time.of(&prefill(i, decode(i)))) - none);
}

/// Nanoseconds of one call: of many short series, the fastest, so that other work on the machine does not count.
fn each(mut act: impl FnMut(i64) -> i64) -> f64 {
    let mut series = |first: i64| {
        let started = Instant::now();
        for i in first..first + SERIES {
            black_box(act(black_box(i)));
        }
        started.elapsed().as_secs_f64() * 1e9 / SERIES as f64
    };
    (0..TIMES / SERIES).map(|index| series(index * SERIES)).fold(f64::INFINITY, f64::min)
}
