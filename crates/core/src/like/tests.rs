use super::*;
use crate::generate::generate;
use crate::profile::profile;

/// Half an hour of bursts, conversations and single prompts, twenty of them with a prefix that many share.
fn source() -> Workload {
    let sessions = r#"{"turns": {"kind": "empirical", "values": [1, 2, 5]},
        "new_tokens": {"kind": "lognormal", "p50": 60, "p99": 400},
        "think_time_ms": {"kind": "lognormal", "p50": 4000, "p99": 60000, "min": 0}}"#;
    generate(&format!(
        r#"{{"duration_ps": 1800000000000000, "seed": 1, "block_tokens": 16,
            "arrivals": {{"kind": "open", "gaps": {{"cv": 2}},
                "rate": {{"kind": "diurnal", "low_per_s": 0.5, "high_per_s": 3.5, "high_at_s": 600, "day_s": 1800}}}},
            "classes": [
                {{"name": "chat", "share": 0.6, "input_tokens": {{"kind": "lognormal", "p50": 300, "p99": 2000}},
                  "output_tokens": {{"kind": "lognormal", "p50": 80, "p99": 400}}, "sessions": {sessions},
                  "prefix": {{"groups": 4, "tokens": 160, "share": 0.9, "choice": {{"kind": "uniform"}}}}}},
                {{"name": "other", "share": 0.4, "input_tokens": {{"kind": "constant", "value": 900}},
                  "output_tokens": {{"kind": "constant", "value": 7}}}}
            ]}}"#
    ))
    .unwrap()
}

fn alike(source: &Workload, options: &str) -> Workload {
    like(source, options).unwrap()
}

fn assert_near(found: f64, wanted: f64, tolerance: f64, what: &str) {
    assert!((found - wanted).abs() <= tolerance * wanted.abs(), "{what}: {found} is not near {wanted}");
}

#[test]
fn look_alikes_match_at_any_scale() {
    let source = source();
    let was = profile(&source);
    let folded = |workload: &Workload| -> Vec<f64> {
        let trace = &workload.trace;
        let mut counts = vec![0.0; 6];
        for row in (0..trace.len()).filter(|&row| trace.after[row] == NONE) {
            counts[(trace.arrival_ps[row] as f64 / 1.8e15 * 6.0) as usize % 6] += 1.0;
        }
        let all: f64 = counts.iter().sum();
        counts.into_iter().map(|count| count / all).collect()
    };
    for (requests, tolerance) in [(source.trace.len(), 0.12), (60_000, 0.06)] {
        let generated = alike(&source, &format!(r#"{{"requests": {requests}, "seed": 3}}"#));
        let now = profile(&generated);
        assert_eq!(now.requests, requests);
        assert_near(now.rate_per_s.unwrap(), was.rate_per_s.unwrap(), tolerance, "rate");
        assert_near(now.gap_cv.unwrap(), was.gap_cv.unwrap(), tolerance, "CV");
        assert_near(now.turns.mean, was.turns.mean, tolerance, "turns");
        assert_near(now.think_time_s.unwrap().p50, was.think_time_s.as_ref().unwrap().p50, tolerance, "think time");
        assert_near(now.input_tokens.p50, was.input_tokens.p50, tolerance, "input");
        assert_near(now.input_tokens.p90, was.input_tokens.p90, tolerance, "input");
        assert_near(now.output_tokens.mean, was.output_tokens.mean, tolerance, "output");
        assert_near(now.ideal_prefix_hit, was.ideal_prefix_hit, tolerance, "hit");
        for (found, wanted) in folded(&generated).into_iter().zip(folded(&source)) {
            assert!((found - wanted).abs() < 0.06, "{found} {wanted}");
        }
    }
}

#[test]
fn a_duration_sets_the_end_or_the_rate() {
    let source = source();
    let rate = profile(&source).rate_per_s.unwrap();
    let hour = alike(&source, r#"{"duration_ps": 3600000000000000, "seed": 0}"#);
    let now = profile(&hour);
    assert!(now.last_s < 3600.0 && now.last_s > 3500.0);
    assert_near(now.rate_per_s.unwrap(), rate, 0.1, "rate");
    let fast = alike(&source, r#"{"requests": 40000, "duration_ps": 3600000000000000, "seed": 0}"#);
    let now = profile(&fast);
    assert_eq!(now.requests, 40_000);
    assert_near(now.last_s, 3600.0, 0.1, "end");
    assert_near(now.gap_cv.unwrap(), profile(&source).gap_cv.unwrap(), 0.1, "CV");
    assert_near(fast.notes["fit"]["rate_factor"].as_f64().unwrap(), now.rate_per_s.unwrap() / rate, 0.1, "factor");
}

#[test]
fn copies_share_nothing_but_common_beginnings() {
    let source = source();
    let generated = alike(&source, r#"{"requests": 9000, "seed": 2}"#);
    let trace = &generated.trace;
    let mut first: Vec<usize> = Vec::new();
    let mut user = vec![usize::MAX; trace.block_ids.len()];
    for row in 0..trace.len() {
        first.push(if trace.after[row] == NONE { row } else { first[trace.after[row] as usize] });
        for (place, &id) in trace.blocks(row).iter().enumerate() {
            let user = &mut user[id as usize];
            assert!(*user == usize::MAX || *user == first[row] || place < 10, "row {row}, place {place}");
            *user = first[row];
        }
    }
    assert_eq!(generated.notes["fit"]["common_blocks"], 40, "four prefixes of ten blocks");
    let classes = generated.labels.classes.unwrap();
    assert_eq!(classes.names.iter().collect::<Vec<_>>(), ["chat", "other"]);
}

#[test]
fn a_seed_names_a_look_alike() {
    let source = source();
    let of = |seed: u32| alike(&source, &format!(r#"{{"requests": 500, "seed": {seed}}}"#)).sha256;
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    let few = alike(&source, r#"{"requests": 100, "seed": 1}"#).trace;
    let many = alike(&source, r#"{"requests": 500, "seed": 1}"#).trace;
    assert_eq!(few.arrival_ps, many.arrival_ps[..100]);
    assert_eq!(few.input_tokens, many.input_tokens[..100]);
}

#[test]
fn rounded_times_stay_rounded() {
    let mut source = source();
    for (time_ps, &after) in source.trace.arrival_ps.iter_mut().zip(&source.trace.after) {
        if after == NONE {
            *time_ps -= *time_ps % 3_000_000_000_000;
        }
    }
    let source = Workload::from_trace(source.trace, serde_json::json!({})).unwrap();
    let generated = alike(&source, r#"{"requests": 20000, "seed": 2}"#);
    let (was, now) = (profile(&source), profile(&generated));
    assert_near(now.simultaneous, was.simultaneous, 0.05, "ties");
    assert_near(now.gap_cv.unwrap(), was.gap_cv.unwrap(), 0.1, "CV");
}

#[test]
fn sessions_that_start_at_once_do_so_again() {
    let mut source = source();
    for (time_ps, &after) in source.trace.arrival_ps.iter_mut().zip(&source.trace.after) {
        if after == NONE {
            *time_ps = 0;
        }
    }
    let source = Workload::from_trace(source.trace, serde_json::json!({})).unwrap();
    let generated = alike(&source, r#"{"requests": 700, "seed": 2}"#);
    assert_eq!((generated.trace.len(), profile(&generated).last_s), (700, 0.0));
    assert_eq!(generated.notes["fit"]["cycle_s"], serde_json::Value::Null);
    let error = like(&source, r#"{"duration_ps": 1000000000000, "seed": 2, "requests": 5}"#).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("duration_s"));
}

#[test]
fn one_request_is_enough() {
    let one = crate::transform::transform(&source(), r#"[{"kind": "limit", "requests": 1}]"#).unwrap();
    assert_eq!(alike(&one, r#"{"requests": 3, "seed": 2}"#).trace.len(), 3);
    let two =
        crate::transform::transform(&source(), r#"[{"kind": "window", "start_ps": 0, "end_ps": 20000000000000}]"#);
    assert_eq!(alike(&two.unwrap(), r#"{"requests": 500, "seed": 2}"#).trace.len(), 500);
}

#[test]
fn senseless_options() {
    let source = source();
    for (options, field) in [
        (r#"{"seed": 0}"#, "requests"),
        (r#"{"requests": 0, "seed": 0}"#, "requests"),
        (r#"{"duration_ps": 0, "seed": 0}"#, "duration_s"),
        (r#"{"duration_ps": 9000000000000000000, "seed": 0}"#, "duration_s"),
        (r#"{"requests": 4, "sed": 0}"#, "workload"),
    ] {
        let error = like(&source, options).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{options}: {error}");
    }
    let slow = crate::transform::transform(&source, r#"[{"kind": "speedup", "factor": 0.001}]"#).unwrap();
    let error = like(&slow, r#"{"requests": 100000, "seed": 0}"#).unwrap_err();
    assert!(error.message.contains("over 100 days"), "{error}");
}

#[test]
fn a_trace_of_months_repeats_up_to_the_horizon() {
    let day_ps = HORIZON_PS / 100;
    for (days, clock) in [(60, 1), (60, 2), (95, 1), (95, 2)] {
        // Twenty requests, one or two at a time.
        let json = r#"{"requests": 20, "seed": 1, "arrivals": {"kind": "at_once"}, "classes": [{
            "input_tokens": {"kind": "constant", "value": 9}, "output_tokens": {"kind": "constant", "value": 1}}]}"#;
        let mut trace = generate(json).unwrap().trace;
        trace.arrival_ps = (0..20).map(|row| day_ps / 20 * days * (row / clock * clock)).collect();
        let source = Workload::from_trace(trace, serde_json::json!({})).unwrap();
        for seed in 0..20 {
            let ask = |requests: u32| like(&source, &format!(r#"{{"requests": {requests}, "seed": {seed}}}"#));
            let near_s = ask(20).unwrap().notes["fit"]["near_s"].as_f64().unwrap();
            assert_eq!(near_s, 8_640_000.0, "no further than time goes");
            let error = ask(60).unwrap_err();
            assert!(error.message.contains("take over 100 days"), "{days} days, seed {seed}: {error}");
            let end = like(&source, &format!(r#"{{"duration_ps": {HORIZON_PS}, "seed": {seed}}}"#)).unwrap();
            assert_near(end.trace.len() as f64, 2000.0 / days as f64, 0.3, "requests");
        }
    }
}
