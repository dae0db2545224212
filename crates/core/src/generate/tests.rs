use super::*;
use crate::workload::check;

fn config(changes: &str) -> String {
    let mut config: serde_json::Value = serde_json::from_str(
        r#"{"requests": 20000, "block_tokens": 16, "arrivals": {"kind": "poisson", "rate_per_s": 100},
            "input_tokens": {"kind": "lognormal", "p50": 400, "p99": 4000, "max": 100000},
            "output_tokens": {"kind": "lognormal", "p50": 100, "p99": 500}}"#,
    )
    .unwrap();
    let changes: serde_json::Map<String, serde_json::Value> = serde_json::from_str(changes).unwrap();
    config.as_object_mut().unwrap().extend(changes);
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
            "output_tokens": {"kind": "constant", "value": 50}, "max_output_tokens": 20,
            "arrivals": {"kind": "at_once"}}"#,
    );
    let trace = &workload.trace;
    assert!(trace.input_tokens.iter().all(|tokens| (300..=500).contains(tokens)));
    assert!(workload.notes["input_tokens_cut_to_min_or_max"].as_u64().unwrap() > 10_000);
    assert!(trace.output_tokens.iter().all(|&tokens| tokens == 20));
    assert_eq!(workload.notes["cut_by_max_output_tokens"], 20_000);
    assert!(trace.arrival_ps.iter().all(|&time| time == 0));
}

#[test]
fn senseless_descriptions() {
    for (changes, field) in [
        (r#"{"requests": 0}"#, "requests"),
        (r#"{"request": 5}"#, "workload"),
        (r#"{"block_tokens": 0}"#, "block_tokens"),
        (r#"{"arrivals": {"kind": "poisson", "rate_per_s": 0}}"#, "arrivals.rate_per_s"),
        (r#"{"arrivals": {"kind": "poisson", "rate_per_s": 0.000001}}"#, "arrivals.rate_per_s"),
        (r#"{"arrivals": {"kind": "gamma"}}"#, "workload"),
        (r#"{"arrivals": {"kind": "at_once", "rate_per_s": 1}}"#, "workload"),
        (r#"{"input_tokens": {"kind": "constant", "value": 0}}"#, "input_tokens"),
        (r#"{"input_tokens": {"kind": "lognormal", "p50": 5, "p99": 4}}"#, "input_tokens.p99"),
        (r#"{"input_tokens": {"kind": "lognormal", "p50": 5, "p99": 9, "min": 0}}"#, "input_tokens.min"),
        (r#"{"output_tokens": {"kind": "lognormal", "p50": 5, "p99": 9, "min": 4, "max": 3}}"#, "output_tokens.max"),
        (r#"{"output_tokens": {"kind": "lognormal", "p50": -5, "p99": 9}}"#, "output_tokens.p50"),
        (r#"{"max_output_tokens": 4000000000}"#, "max_output_tokens"),
        (r#"{"prefix": {"groups": 0, "tokens": 16, "share": 1, "choice": {"kind": "uniform"}}}"#, "prefix.groups"),
        (r#"{"prefix": {"groups": 1, "tokens": 17, "share": 1, "choice": {"kind": "uniform"}}}"#, "prefix.tokens"),
        (r#"{"prefix": {"groups": 1, "tokens": 16, "share": 2, "choice": {"kind": "uniform"}}}"#, "prefix.share"),
        (
            r#"{"prefix": {"groups": 1, "tokens": 16, "share": 1, "choice": {"kind": "zipf", "exponent": 0}}}"#,
            "prefix.choice.exponent",
        ),
    ] {
        let error = generate(&config(changes)).unwrap_err();
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
