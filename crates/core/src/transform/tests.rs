use super::*;
use crate::generate::generate;

/// Sessions of one or three turns, some with a prefix that is shared by many.
pub(crate) fn traffic(requests: u32) -> Workload {
    let config = format!(
        r#"{{"requests": {requests}, "seed": 3, "block_tokens": 16,
            "arrivals": {{"kind": "open", "gaps": {{"cv": 1}}, "rate": {{"kind": "constant", "per_s": 5}}}},
            "classes": [{{"input_tokens": {{"kind": "lognormal", "p50": 100, "p99": 900}},
                "output_tokens": {{"kind": "lognormal", "p50": 50, "p99": 200}},
                "prefix": {{"groups": 3, "tokens": 48, "share": 0.5, "choice": {{"kind": "uniform"}}}},
                "sessions": {{"turns": {{"kind": "empirical", "values": [1, 3]}},
                    "new_tokens": {{"kind": "constant", "value": 30}},
                    "think_time_ms": {{"kind": "constant", "value": 2000}}}}}}]}}"#
    );
    generate(&config).unwrap()
}

fn done(workload: &Workload, steps: &str) -> Workload {
    transform(workload, steps).unwrap()
}

#[test]
fn nothing_done_changes_nothing() {
    let before = traffic(200);
    for steps in [
        "[]",
        r#"[{"kind": "speedup", "factor": 1}]"#,
        r#"[{"kind": "limit", "requests": 200}]"#,
        r#"[{"kind": "window", "start_ps": 0}]"#,
        r#"[{"kind": "thin", "share": 1, "rest": false, "seed": 0}]"#,
    ] {
        assert_eq!(done(&before, steps).trace, before.trace, "{steps}");
    }
    assert_eq!(merge(&[&before]).unwrap().trace, before.trace);
}

#[test]
fn copies_are_fresh_or_the_same() {
    let before = traffic(100);
    let ids = |workload: &Workload| workload.trace.block_ids.iter().max().unwrap() + 1;
    for (fresh, times) in [(true, 3), (false, 1)] {
        let steps = format!(r#"[{{"kind": "replicate", "copies": 3, "shift_ps": 1, "fresh": {fresh}}}]"#);
        let after = done(&before, &steps);
        assert_eq!(after.trace.len(), 300);
        assert_eq!(ids(&after), times * ids(&before));
        let starts = |workload: &Workload| -> Vec<i64> {
            let trace = &workload.trace;
            (0..trace.len()).filter(|&row| trace.after[row] == NONE).map(|row| trace.arrival_ps[row]).collect()
        };
        let mut expected: Vec<i64> = starts(&before).iter().flat_map(|&time| [time, time + 1, time + 2]).collect();
        expected.sort_unstable();
        assert_eq!(starts(&after), expected);
    }
}

#[test]
fn a_resampled_session_is_new_but_for_what_others_share() {
    let before = traffic(400);
    let after = done(&before, r#"[{"kind": "resample", "seed": 5}]"#);
    let firsts = |trace: &Trace| trace.after.iter().filter(|&&after| after == NONE).count();
    assert_eq!(firsts(&before.trace), firsts(&after.trace));
    // A prefix of three blocks stays shared by all; what follows is of one session only.
    let mut first_user = vec![NONE; after.trace.block_ids.len()];
    let first = after.trace.first_turns();
    for (row, &first) in first.iter().enumerate() {
        for (place, &id) in after.trace.blocks(row).iter().enumerate() {
            let user = &mut first_user[id as usize];
            if *user == NONE {
                *user = first;
            }
            assert!(*user == first || place < 3, "row {row}");
        }
    }
    assert_eq!(after.trace, done(&before, r#"[{"kind": "resample", "seed": 5}]"#).trace);
    assert_ne!(after.trace, done(&before, r#"[{"kind": "resample", "seed": 6}]"#).trace);
}

#[test]
fn a_resampled_stretch_keeps_its_distances() {
    let before = traffic(400);
    let after = done(&before, r#"[{"kind": "resample", "block_ps": 10000000000000, "seed": 5}]"#);
    let offsets = |workload: &Workload| -> std::collections::HashSet<i64> {
        let trace = &workload.trace;
        let starts = (0..trace.len()).filter(|&row| trace.after[row] == NONE);
        starts.map(|row| trace.arrival_ps[row] % 10_000_000_000_000).collect()
    };
    assert!(offsets(&after).is_subset(&offsets(&before)));
    assert!(after.trace.len() > 200);
}

#[test]
fn senseless_steps() {
    let workload = traffic(50);
    for (step, field) in [
        (r#"{"kind": "speedup", "factor": 0}"#, "0.speedup"),
        (r#"{"kind": "limit", "requests": 0}"#, "0.limit"),
        (r#"{"kind": "window", "start_ps": 9000000000000000}"#, "0.window"),
        (r#"{"kind": "window", "start_ps": 5, "end_ps": 5}"#, "0.window"),
        (r#"{"kind": "thin", "share": 0, "rest": false, "seed": 1}"#, "0.thin"),
        (r#"{"kind": "thin", "share": 1, "rest": true, "seed": 1}"#, "0.thin"),
        (r#"{"kind": "replicate", "copies": 1, "shift_ps": 0, "fresh": true}"#, "0.replicate"),
        (r#"{"kind": "replicate", "copies": 4000000000, "shift_ps": 0, "fresh": true}"#, "0.replicate"),
        (r#"{"kind": "replicate", "copies": 2, "shift_ps": 9000000000000000000, "fresh": true}"#, "0.replicate"),
        (r#"{"kind": "resample", "block_ps": 0, "seed": 1}"#, "0.resample"),
        (r#"{"kind": "resample", "block_ps": 1, "seed": 1}"#, "0.resample"),
        (r#"{"kind": "shuffle"}"#, "transforms"),
    ] {
        let error = transform(&workload, &format!("[{step}]")).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{step}: {error}");
    }
    let mut coarse = traffic(5);
    coarse.trace.block_tokens = 32;
    assert_eq!(merge(&[&workload, &coarse]).unwrap_err().field.as_deref(), Some("merge"));
}
