use super::*;
use crate::workload::check;

/// One class of Poisson arrivals with these changes, each where it belongs.
fn config(changes: &str) -> String {
    let mut config: serde_json::Value = serde_json::from_str(
        r#"{"requests": 20000, "block_tokens": 16,
            "arrivals": {"kind": "open", "gaps": {"cv": 1}, "rate": {"kind": "constant", "per_s": 100}}}"#,
    )
    .unwrap();
    let mut class: serde_json::Value = serde_json::from_str(
        r#"{"input_tokens": {"kind": "lognormal", "p50": 400, "p99": 4000, "max": 100000},
            "output_tokens": {"kind": "lognormal", "p50": 100, "p99": 500}}"#,
    )
    .unwrap();
    let changes: serde_json::Map<String, serde_json::Value> = serde_json::from_str(changes).unwrap();
    for (name, value) in changes {
        let of_class = ["input_tokens", "output_tokens", "max_output_tokens", "prefix", "sessions"];
        let part = if of_class.contains(&name.as_str()) { &mut class } else { &mut config };
        part.as_object_mut().unwrap().insert(name, value);
    }
    if config.get("classes").is_none() {
        config["classes"] = serde_json::json!([class]);
    }
    config.to_string()
}

fn generated(changes: &str) -> Workload {
    let workload = generate(&config(changes)).unwrap();
    check(&workload.trace).unwrap();
    workload
}

/// The value that `share` of `values` are below.
fn quantile(values: &[u32], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    f64::from(sorted[(sorted.len() as f64 * share) as usize])
}

fn assert_near(found: f64, wanted: f64, tolerance: f64) {
    assert!((found / wanted - 1.0).abs() < tolerance, "{found} is not near {wanted}");
}

#[test]
fn distributions_are_the_ones_asked_for() {
    let trace = generated("{}").trace;
    assert_near(quantile(&trace.input_tokens, 0.5), 400.0, 0.03);
    assert_near(quantile(&trace.input_tokens, 0.99), 4000.0, 0.1);
    assert_near(quantile(&trace.output_tokens, 0.5), 100.0, 0.03);
    assert_near(quantile(&trace.output_tokens, 0.99), 500.0, 0.1);
    // A Poisson process: gaps of mean 10 ms, as large as their spread.
    let gaps: Vec<f64> = trace.arrival_ps.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e10).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    assert_near(mean, 1.0, 0.03);
    assert_near(variance.sqrt(), 1.0, 0.03);
    assert_eq!(trace.max_output_tokens, trace.output_tokens);
}

/// Frozen: a change of these is a change of every workload anyone has generated.
#[test]
fn a_seed_gives_the_same_workload_everywhere() {
    let trace = generated(r#"{"requests": 4, "seed": 7}"#).trace;
    assert_eq!(trace.arrival_ps, [17610698522, 29275667341, 29828833151, 47289564396]);
    assert_eq!(trace.input_tokens, [178, 264, 400, 962]);
    assert_eq!(trace.output_tokens, [305, 198, 86, 113]);
}

#[test]
fn the_first_requests_do_not_depend_on_the_others() {
    let (few, many) = (generated(r#"{"requests": 100}"#).trace, generated("{}").trace);
    assert_eq!(few.arrival_ps, many.arrival_ps[..100]);
    assert_eq!(few.input_tokens, many.input_tokens[..100]);
    let prefix = r#"{"prefix": {"groups": 3, "tokens": 64, "share": 0.5, "choice": {"kind": "uniform"}}}"#;
    assert_eq!(generated(prefix).trace.input_tokens, many.input_tokens, "nor on other options");
    assert_ne!(generated(r#"{"seed": 1}"#).trace.input_tokens, many.input_tokens);
    assert_ne!(many.input_tokens, many.output_tokens);
}

#[test]
fn prefixes_are_shared_by_group() {
    for (choice, most_popular) in [(r#"{"kind": "uniform"}"#, 0.1), (r#"{"kind": "zipf", "exponent": 1}"#, 1.0 / 2.929)]
    {
        let prefix = format!(r#"{{"prefix": {{"groups": 10, "tokens": 64, "share": 0.7, "choice": {choice}}}}}"#);
        let workload = generated(&prefix);
        let trace = &workload.trace;
        let mut seen = vec![0u32; trace.block_ids.len()];
        trace.block_ids.iter().for_each(|&id| seen[id as usize] += 1);
        let shared: Vec<usize> =
            (0..trace.len()).filter(|&request| seen[trace.blocks(request)[0] as usize] > 1).collect();
        assert_near(shared.len() as f64, 14_000.0, 0.02);
        assert_eq!(workload.notes["with_shared_prefix"], shared.len());
        let mut uses: Vec<u32> = shared.iter().map(|&request| seen[trace.blocks(request)[0] as usize]).collect();
        uses.sort_unstable();
        assert_near(f64::from(*uses.last().unwrap()), 14_000.0 * most_popular, 0.1);
        let first = shared[0];
        for &request in &shared {
            let (these, those) = (trace.blocks(first), trace.blocks(request));
            let alike = these.iter().zip(those).take_while(|(this, that)| this == that).count();
            let longest = 4.min(these.len()).min(those.len());
            assert!(request == first || alike == 0 || alike == longest, "{alike} blocks shared of {longest}");
        }
    }
}

#[test]
fn lengths_are_cut_and_counted() {
    let workload = generated(
        r#"{"input_tokens": {"kind": "lognormal", "p50": 400, "p99": 4000, "min": 300, "max": 500},
            "output_tokens": {"kind": "constant", "value": 50}, "max_output_tokens": {"kind": "fixed", "tokens": 20},
            "arrivals": {"kind": "at_once"}}"#,
    );
    let trace = &workload.trace;
    assert!(trace.input_tokens.iter().all(|tokens| (300..=500).contains(tokens)));
    assert!(workload.notes["input_tokens_cut_to_min_or_max"].as_u64().unwrap() > 10_000);
    assert!(trace.output_tokens.iter().all(|&tokens| tokens == 20));
    assert_eq!(workload.notes["cut_by_max_output_tokens"], 20_000);
    assert!(trace.arrival_ps.iter().all(|&time| time == 0));
}

/// `n` arrivals, in seconds.
fn times_s(changes: &str) -> Vec<f64> {
    generated(changes).trace.arrival_ps.iter().map(|&time| time as f64 / 1e12).collect()
}

fn gaps_cv(times: &[f64]) -> f64 {
    let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt() / mean
}

fn within(times: &[f64], from_s: f64, to_s: f64) -> f64 {
    times.iter().filter(|&&time| (from_s..to_s).contains(&time)).count() as f64
}

#[test]
fn gaps_have_the_cv_asked_for() {
    for cv in [0.25, 0.7, 2.0, 4.0] {
        let arrivals =
            format!(r#"{{"kind": "open", "gaps": {{"cv": {cv}}}, "rate": {{"kind": "constant", "per_s": 100}}}}"#);
        let times = times_s(&format!(r#"{{"arrivals": {arrivals}}}"#));
        assert_near(*times.last().unwrap(), 200.0, 0.05);
        assert_near(gaps_cv(&times), cv, 0.06);
    }
    let evenly = times_s(r#"{"arrivals": {"kind": "open", "gaps": {}, "rate": {"kind": "constant", "per_s": 8}}}"#);
    assert_eq!(&evenly[..3], [0.125, 0.25, 0.375]);
    assert!(gaps_cv(&evenly) < 1e-9);
}

#[test]
fn rates_follow_their_curve() {
    let arrivals = |rate: &str| format!(r#"{{"arrivals": {{"kind": "open", "gaps": {{"cv": 1}}, "rate": {rate}}}}}"#);
    let steps = r#"{"kind": "steps", "steps": [{"at_s": 0, "rate_per_s": 20}, {"at_s": 100, "rate_per_s": 200},
        {"at_s": 130, "rate_per_s": 0}, {"at_s": 140, "rate_per_s": 10}]}"#;
    let times = times_s(&arrivals(steps));
    assert_near(within(&times, 0.0, 100.0), 2000.0, 0.07);
    assert_near(within(&times, 100.0, 130.0), 6000.0, 0.04);
    assert_eq!(within(&times, 130.0, 140.0), 0.0);
    assert_near(within(&times, 140.0, 640.0), 5000.0, 0.05);

    let day = r#"{"kind": "diurnal", "low_per_s": 2, "high_per_s": 18, "high_at_s": 600, "day_s": 1000}"#;
    let times = times_s(&arrivals(day));
    for part in 0..10 {
        let (from, to) = (f64::from(part) * 100.0, f64::from(part + 1) * 100.0);
        let phase = |t: f64| std::f64::consts::TAU * (t - 600.0) / 1000.0;
        let expected = 10.0 * 100.0 + 8.0 * 1000.0 / std::f64::consts::TAU * (phase(to).sin() - phase(from).sin());
        assert_near(within(&times, from, to) + within(&times, from + 1000.0, to + 1000.0), 2.0 * expected, 0.12);
    }

    let bursts = r#"{"kind": "on_off", "on_per_s": 190, "off_per_s": 10, "on_s": 1, "off_s": 1}"#;
    let times = times_s(&arrivals(bursts));
    assert_near(*times.last().unwrap(), 200.0, 0.15);
    assert!(gaps_cv(&times) > 1.5, "{}", gaps_cv(&times));
}

#[test]
fn a_duration_is_as_long_as_asked() {
    let times = times_s(r#"{"requests": null, "duration_ps": 50000000000000}"#);
    assert_near(times.len() as f64, 5000.0, 0.05);
    assert!(times.iter().all(|&time| time < 50.0));
    assert_eq!(times_s(r#"{"requests": 10, "duration_ps": 50000000000000}"#), times[..10]);
}

#[test]
fn empirical_lengths_are_drawn_by_weight() {
    let trace = generated(
        r#"{"input_tokens": {"kind": "empirical", "values": [7, 900]},
            "output_tokens": {"kind": "empirical", "values": [0, 5, 9], "weights": [0, 1, 3]}}"#,
    )
    .trace;
    let count = |values: &[u32], wanted| values.iter().filter(|&&value| value == wanted).count() as f64;
    assert_near(count(&trace.input_tokens, 7), 10_000.0, 0.03);
    assert_near(count(&trace.output_tokens, 9), 15_000.0, 0.03);
    assert_eq!(count(&trace.output_tokens, 0), 0.0);
}

#[test]
fn a_limit_may_be_a_multiple() {
    let trace = generated(r#"{"max_output_tokens": {"kind": "factor", "factor": 1.5}}"#).trace;
    for (&output, &limit) in trace.output_tokens.iter().zip(&trace.max_output_tokens) {
        assert_eq!(limit, (3 * output).div_ceil(2));
    }
}

const CHAT: &str = r#"{"turns": {"kind": "lognormal", "p50": 4, "p99": 20},
    "new_tokens": {"kind": "lognormal", "p50": 50, "p99": 400},
    "think_time_ms": {"kind": "lognormal", "p50": 5000, "p99": 60000, "min": 0}, "max_context_tokens": 3000}"#;

#[test]
fn turns_hold_all_that_was_said_before() {
    let prefix = r#"{"groups": 3, "tokens": 640, "share": 0.8, "choice": {"kind": "uniform"}}"#;
    let workload = generated(&format!(r#"{{"sessions": {CHAT}, "prefix": {prefix}}}"#));
    let trace = &workload.trace;
    let followed: Vec<bool> = {
        let mut followed = vec![false; trace.len()];
        trace.after.iter().filter(|&&after| after != NONE).for_each(|&after| followed[after as usize] = true);
        followed
    };
    let mut uses = vec![0u32; trace.block_ids.len()];
    let mut last_user = vec![NONE; trace.block_ids.len()];
    let mut ended_by_context = 0;
    for (row, &followed) in followed.iter().enumerate() {
        let whole = |tokens: u32| tokens.div_ceil(16) as usize;
        let (input, output) = (trace.input_tokens[row], trace.output_tokens[row]);
        let named = if followed { input + output } else { input };
        assert_eq!(trace.blocks(row).len(), whole(named), "row {row}");
        let before = trace.after[row];
        if before != NONE {
            assert_eq!(before as usize, row - 1);
            let context = trace.input_tokens[row - 1] + trace.output_tokens[row - 1];
            assert!(input > context && input <= 3000);
            assert_eq!(trace.blocks(row)[..whole(context)], *trace.blocks(row - 1));
        }
        for (place, &id) in trace.blocks(row).iter().enumerate() {
            if last_user[id as usize] != before || before == NONE {
                uses[id as usize] += 1;
            }
            last_user[id as usize] = row as u32;
            assert!(uses[id as usize] == 1 || place < 40, "only prefixes are shared between sessions");
        }
        ended_by_context += u32::from(!followed && input + output > 2900);
    }
    assert!(ended_by_context > 100);
    let sessions = workload.notes["sessions"].as_u64().unwrap() as usize;
    assert_eq!(sessions, trace.after.iter().filter(|&&after| after == NONE).count());
    assert!((3..7).contains(&(trace.len() / sessions)));
}

#[test]
fn a_prompt_shorter_than_its_prefix_shares_no_answer() {
    let prefix = r#"{"groups": 1, "tokens": 640, "share": 1, "choice": {"kind": "uniform"}}"#;
    let sessions = CHAT.replace(r#""kind": "lognormal", "p50": 4, "p99": 20"#, r#""kind": "constant", "value": 2"#);
    let lengths = r#""input_tokens": {"kind": "constant", "value": 100}"#;
    let trace =
        generated(&format!(r#"{{"requests": 4, "sessions": {sessions}, "prefix": {prefix}, {lengths}}}"#)).trace;
    let (one, other) = (trace.blocks(0), trace.blocks(2));
    assert_eq!(one[..6], other[..6]);
    assert!(one[6..].iter().all(|id| !other.contains(id)));
}

#[test]
fn mixes_have_their_shares_and_classes_their_own_draws() {
    let class = |name: &str, share: f64, tokens: u32| {
        format!(
            r#"{{"name": "{name}", "share": {share}, "input_tokens": {{"kind": "constant", "value": {tokens}}},
                "output_tokens": {{"kind": "lognormal", "p50": 100, "p99": 500}}}}"#
        )
    };
    let mix = |share: f64| {
        let classes = [class("chat", share, 10), class("agents", 1.0 - share, 20)].join(", ");
        generated(&format!(r#"{{"classes": [{classes}]}}"#))
    };
    let (mostly, rarely) = (mix(0.75), mix(0.25));
    let classes = mostly.labels.classes.as_ref().unwrap();
    assert_eq!(classes.names.iter().collect::<Vec<_>>(), ["chat", "agents"]);
    let of_chat = |workload: &Workload| -> Vec<u32> {
        let trace = &workload.trace;
        let rows = (0..trace.len()).filter(|&row| trace.input_tokens[row] == 10);
        rows.map(|row| trace.output_tokens[row]).collect()
    };
    let (many, few) = (of_chat(&mostly), of_chat(&rarely));
    assert_near(many.len() as f64, 15_000.0, 0.02);
    assert_eq!(many.len(), classes.of.iter().filter(|&&class| class == 0).count());
    assert_eq!(many[..few.len()], few, "the n-th chat is the same in every mix");
    assert_eq!(mostly.trace.arrival_ps, rarely.trace.arrival_ps);
}

#[test]
fn senseless_descriptions() {
    let prefix = |changes: (&str, &str)| {
        let prefix = r#"{"prefix": {"groups": 1, "tokens": 16, "share": 1, "choice": {"kind": "uniform"}}}"#;
        prefix.replace(changes.0, changes.1)
    };
    let open = |gaps: &str, rate: &str| {
        format!(r#"{{"requests": 50, "arrivals": {{"kind": "open", "gaps": {{{gaps}}}, "rate": {{{rate}}}}}}}"#)
    };
    let steps = |steps: &str| open("", &format!(r#""kind": "steps", "steps": [{steps}]"#));
    let day = r#""kind": "diurnal", "low_per_s": 1, "high_per_s": 2, "high_at_s": 5, "day_s": 10"#;
    let bursts = r#""kind": "on_off", "on_per_s": 1, "off_per_s": 0, "on_s": 1, "off_s": 1"#;
    let sessions = |from: &str, to: &str| format!(r#"{{"sessions": {}}}"#, CHAT.replace(from, to));
    let class =
        r#""input_tokens": {"kind": "constant", "value": 1}, "output_tokens": {"kind": "constant", "value": 1}"#;
    let mix = |one: &str, other: &str| format!(r#"{{"classes": [{{{one}, {class}}}, {{{other}, {class}}}]}}"#);
    let cases: Vec<(String, &str)> = vec![
        (r#"{"requests": 0}"#.into(), "requests"),
        (r#"{"requests": null}"#.into(), "requests"),
        (r#"{"requests": null, "arrivals": {"kind": "at_once"}, "duration_ps": 1}"#.into(), "requests"),
        (r#"{"requests": null, "duration_ps": 0}"#.into(), "duration_s"),
        (r#"{"requests": null, "duration_ps": 1}"#.into(), "duration_s"),
        (r#"{"request": 5}"#.into(), "workload"),
        (r#"{"block_tokens": 0}"#.into(), "block_tokens"),
        (open(r#""cv": 1"#, r#""kind": "constant", "per_s": 0"#), "arrivals.rate_per_s"),
        (open(r#""cv": 1"#, r#""kind": "constant", "per_s": 0.000001"#), "arrivals.rate_per_s"),
        (open(r#""cv": 0"#, day), "arrivals.cv"),
        (open(r#""cv": -1"#, day), "arrivals.cv"),
        (open("", &day.replace("1,", "3,")), "arrivals.low_rate_per_s"),
        (open("", &day.replace("5,", "11,")), "arrivals.high_at_s"),
        (open("", &day.replace("10", "0")), "arrivals.day_s"),
        (open("", &bursts.replace(r#""on_s": 1"#, r#""on_s": 0"#)), "arrivals.on_s"),
        (open("", &bursts.replace(r#"_per_s": 1"#, r#"_per_s": 0"#)), "arrivals.on_rate_per_s"),
        (steps(""), "arrivals.steps"),
        (steps(r#"{"at_s": 1, "rate_per_s": 1}"#), "arrivals.steps"),
        (steps(r#"{"at_s": 0, "rate_per_s": 1}, {"at_s": 0, "rate_per_s": 1}"#), "arrivals.steps"),
        (steps(r#"{"at_s": 0, "rate_per_s": 0}"#), "arrivals.steps"),
        (r#"{"arrivals": {"kind": "gamma"}}"#.into(), "workload"),
        (r#"{"arrivals": {"kind": "at_once", "rate_per_s": 1}}"#.into(), "workload"),
        (r#"{"input_tokens": {"kind": "constant", "value": 0}}"#.into(), "input_tokens"),
        (r#"{"input_tokens": {"kind": "lognormal", "p50": 5, "p99": 4}}"#.into(), "input_tokens.p99"),
        (r#"{"input_tokens": {"kind": "lognormal", "p50": 5, "p99": 9, "min": 0}}"#.into(), "input_tokens.min"),
        (
            r#"{"output_tokens": {"kind": "lognormal", "p50": 5, "p99": 9, "min": 4, "max": 3}}"#.into(),
            "output_tokens.max",
        ),
        (r#"{"output_tokens": {"kind": "lognormal", "p50": -5, "p99": 9}}"#.into(), "output_tokens.p50"),
        (r#"{"input_tokens": {"kind": "empirical", "values": []}}"#.into(), "input_tokens.values"),
        (r#"{"input_tokens": {"kind": "empirical", "values": [0]}}"#.into(), "input_tokens.values"),
        (r#"{"input_tokens": {"kind": "empirical", "values": [1], "weights": []}}"#.into(), "input_tokens.weights"),
        (r#"{"input_tokens": {"kind": "empirical", "values": [1], "weights": [0]}}"#.into(), "input_tokens.weights"),
        (r#"{"input_tokens": {"kind": "empirical", "values": [1], "weights": [-1]}}"#.into(), "input_tokens.weights"),
        (r#"{"max_output_tokens": {"kind": "fixed", "tokens": 4000000000}}"#.into(), "max_output_tokens"),
        (r#"{"max_output_tokens": {"kind": "factor", "factor": 0.5}}"#.into(), "max_output_tokens.factor"),
        (sessions(r#""p50": 4, "p99": 20"#, r#""p50": 4, "p99": 2"#), "sessions.turns.p99"),
        (sessions("3000", "0"), "sessions.max_context_tokens"),
        (prefix((r#""groups": 1"#, r#""groups": 0"#)), "prefix.groups"),
        (prefix(("16", "17")), "prefix.tokens"),
        (prefix((r#""share": 1"#, r#""share": 2"#)), "prefix.share"),
        (prefix((r#""uniform""#, r#""zipf", "exponent": 0"#)), "prefix.choice.exponent"),
        (mix(r#""name": "a", "share": 0.5"#, r#""name": "b", "share": 0.4"#), "classes"),
        (mix(r#""name": "a", "share": 0.5"#, r#""share": 0.5"#), "classes"),
        (mix(r#""name": "a", "share": 1.5"#, r#""name": "b", "share": -0.5"#), "classes.a.share"),
        (r#"{"classes": []}"#.into(), "classes"),
    ];
    for (changes, field) in cases {
        let error = generate(&config(&changes)).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{changes}: {error}");
    }
    assert_eq!(generate("{").unwrap_err().field.as_deref(), Some("workload"));
}

/// `cargo test --release -- --ignored --nocapture generate_speed`
#[test]
#[ignore = "a measurement"]
fn generate_speed() {
    let start = std::time::Instant::now();
    let workload = generated(
        r#"{"requests": 1000000, "block_tokens": 512,
            "prefix": {"groups": 1000, "tokens": 1024, "share": 0.5, "choice": {"kind": "zipf", "exponent": 1}}}"#,
    );
    println!("{} requests in {:.0} ms", workload.trace.len(), start.elapsed().as_secs_f64() * 1e3);
}
