use std::collections::HashMap;

use super::*;
use crate::trace::NONE;
use crate::transform::tests::traffic;

const S: i64 = 1_000_000_000_000;

fn options(length_s: i64, near_s: i64, seed: u64) -> String {
    let (length_ps, near_ps) = (length_s * S, near_s * S);
    format!(r#"{{"blocks": {{"length_ps": {length_ps}, "near_ps": {near_ps}}}, "seeds": [{seed}]}}"#)
}

fn bootstrap(source: &Workload, options_json: &str) -> Result<Workload, InputError> {
    Prepared::new(&source.trace).draw(source, options_json)
}

fn chains(trace: &Trace) -> Vec<(u32, u32)> {
    (0..trace.len()).map(|row| (trace.input_tokens[row], trace.after[row])).collect()
}

#[test]
fn one_block_from_its_own_place_is_the_trace() {
    let before = traffic(200);
    let after = bootstrap(&before, &options(1000, 0, 1)).unwrap();
    assert_eq!(chains(&after.trace), chains(&before.trace));
    assert_eq!(after.trace.arrival_ps, before.trace.arrival_ps);
    assert_eq!(after.trace.block_ids, before.trace.block_ids);
}

#[test]
fn sessions_stay_whole_and_shares_what_they_shared() {
    let before = traffic(600);
    for options in [options(5, 10, 7), options(20, 1000, 7), r#"{"blocks": null, "seeds": [7, 8]}"#.to_owned()] {
        let after = bootstrap(&before, &options).unwrap();
        let turns = |trace: &Trace| {
            let mut lengths: HashMap<u32, u32> = HashMap::new();
            trace.first_turns().into_iter().for_each(|first| *lengths.entry(first).or_default() += 1);
            lengths.into_values().collect::<std::collections::BTreeSet<u32>>()
        };
        assert_eq!(turns(&after.trace), turns(&before.trace));
        for row in 0..after.trace.len() {
            let previous = after.trace.after[row];
            if previous != NONE {
                let (turn, earlier) = (after.trace.blocks(row), after.trace.blocks(previous as usize));
                assert!(turn.starts_with(earlier) || earlier.starts_with(turn) || turn[0] == earlier[0]);
            }
        }
        // No copy of a session hits what another copy of it computed: ids beyond common beginnings are of one session.
        let first = after.trace.first_turns();
        let mut session_of = vec![NONE; after.trace.block_ids.len()];
        for (row, &first) in first.iter().enumerate() {
            for &id in after.trace.blocks(row).iter().skip(3) {
                let session = &mut session_of[id as usize];
                assert!(*session == NONE || *session == first);
                *session = first;
            }
        }
    }
}

#[test]
fn the_time_is_that_of_the_trace_and_the_rate_is_too() {
    let before = traffic(2000);
    let last_ps = *before.trace.arrival_ps.iter().max().unwrap();
    let mut rows = 0;
    for seed in 0..30 {
        let after = bootstrap(&before, &options(10, 100, seed)).unwrap();
        assert!(*after.trace.arrival_ps.iter().max().unwrap() <= last_ps + S);
        rows += after.trace.len();
    }
    let mean = rows as f64 / 30.0;
    assert!((mean / before.trace.len() as f64 - 1.0).abs() < 0.03, "{mean}");
}

#[test]
fn the_same_seed_gives_the_same_and_another_gives_another() {
    let before = traffic(300);
    let of = |seed| bootstrap(&before, &options(5, 20, seed)).unwrap().trace;
    assert_eq!(of(4), of(4));
    assert_ne!(of(4), of(5));
}

#[test]
fn the_clock_of_the_trace_goes_on_ticking() {
    let mut before = traffic(500);
    before.trace.arrival_ps.iter_mut().for_each(|time_ps| *time_ps -= *time_ps % (3 * S));
    let after = bootstrap(&before, &options(7, 20, 3)).unwrap();
    let trace = &after.trace;
    assert!((0..trace.len()).all(|row| !trace.is_root(row) || trace.arrival_ps[row] % (3 * S) == 0));
}

#[test]
fn drawn_twice_it_varies_twice_as_much() {
    let before = traffic(2000);
    let prepared = Prepared::new(&before.trace);
    let variance = |seeds: &dyn Fn(u64) -> String| {
        let rows: Vec<f64> = (0..60)
            .map(|seed| {
                let options = options(5, 100, 0).replace("[0]", &seeds(seed));
                prepared.draw(&before, &options).unwrap().trace.len() as f64
            })
            .collect();
        let mean = rows.iter().sum::<f64>() / rows.len() as f64;
        rows.iter().map(|row| (row - mean).powi(2)).sum::<f64>() / rows.len() as f64
    };
    let (once, twice) = (variance(&|seed| format!("[{seed}]")), variance(&|seed| format!("[{seed}, {}]", seed + 99)));
    assert!((1.3..3.0).contains(&(twice / once)), "{once} {twice}");
}

#[test]
fn senseless_options() {
    let before = traffic(50);
    for options in
        [options(0, 1, 1), r#"{"blocks": {"length_ps": 5, "near_ps": -1}, "seeds": [1]}"#.to_owned(), "{}".into()]
    {
        assert!(bootstrap(&before, &options).is_err(), "{options}");
    }
}
