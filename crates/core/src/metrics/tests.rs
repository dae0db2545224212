use super::*;
use crate::config::Role;
use crate::random::draw;
use crate::record::{IdleTime, Reason};

const MS: i64 = 1_000_000_000;
const S: i64 = 1000 * MS;

/// The whole sorted, then numpy's default percentile: linear between the two nearest.
fn naive(mut values: Vec<f64>) -> Stats {
    if values.is_empty() {
        return Stats::default();
    }
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let percentile = |percent: f64| {
        let place = percent / 100.0 * (count - 1.0);
        let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
        below + (above - below) * place.fract()
    };
    Stats {
        count: values.len() as u64,
        mean,
        min: values[0],
        max: values[values.len() - 1],
        std: (values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count).sqrt(),
        percentiles: [50.0, 90.0, 95.0, 99.0].map(percentile),
    }
}

fn assert_close(found: &Stats, wanted: &Stats, what: &str) {
    assert_eq!(found.count, wanted.count, "{what}");
    for statistic in Statistic::ALL {
        let (found, wanted) = (found.get(statistic), wanted.get(statistic));
        let near = match (found, wanted) {
            (Some(found), Some(wanted)) => (found - wanted).abs() <= 1e-9 * wanted.abs().max(1e-3),
            (found, wanted) => found == wanted,
        };
        assert!(near, "{what}: {statistic:?} is {found:?}, not {wanted:?}");
    }
}

fn expand(gaps: &[Gaps]) -> Vec<f64> {
    let values = gaps.iter().flat_map(|gaps| {
        (0..gaps.count).flat_map(move |k| (0..gaps.weight).map(move |_| (gaps.start_ps + gaps.step_ps * k) as f64))
    });
    values.collect()
}

#[test]
fn samples_agree_with_a_naive_count() {
    for round in 0..400 {
        let spread = [2, 10, 1 << 40][round as usize % 3];
        let count = draw(1, &[round]) % 120;
        let values: Vec<f64> = (0..count).map(|index| (draw(2, &[round, index]) % spread) as f64).collect();
        assert_close(&Stats::of(&mut values.clone(), 1.0), &naive(values), &format!("round {round}"));
    }
}

/// With a number far beyond all others in place of the infinite ones.
#[test]
fn endless_samples_agree_with_a_naive_count() {
    const LATE: f64 = 1e200;
    for round in 0..400 {
        let count = 1 + draw(1, &[round]) % 60;
        let endless = draw(2, &[round]) % [1, 5, 80][round as usize % 3];
        let values: Vec<f64> = (0..count).map(|index| (draw(3, &[round, index]) % 50) as f64).collect();
        let found = Stats::with_endless(&mut values.clone(), endless, 1.0);
        let all = values.into_iter().chain(std::iter::repeat_n(LATE, endless as usize)).collect();
        let wanted = naive(all);
        assert_eq!(found.count, wanted.count);
        for statistic in Statistic::ALL {
            let (found, wanted) = (found.get(statistic).unwrap(), wanted.get(statistic).unwrap());
            if wanted > LATE / 1e6 {
                assert_eq!(found, f64::INFINITY, "round {round}: {statistic:?}");
            } else {
                assert!((found - wanted).abs() <= 1e-9 * wanted.max(1e-3), "round {round}: {statistic:?} {found}");
            }
        }
    }
}

#[test]
fn progressions_agree_with_their_expansion() {
    for round in 0..1000 {
        let random = |key: u64, below: u64| (draw(3, &[round, key]) % below) as i64;
        let scale = [1, 50, 1 << 30][round as usize % 3];
        let gaps: Vec<Gaps> = (0..draw(4, &[round]) % 12)
            .map(|index| {
                let count = random(index * 4, 20);
                let step_ps = random(index * 4 + 1, 21) * scale - 10 * scale;
                let start_ps = random(index * 4 + 2, 300) * scale + (-step_ps * count).max(0);
                Gaps { start_ps, step_ps, count, weight: random(index * 4 + 3, 5) }
            })
            .collect();
        assert_close(&progressions::stats(&gaps, 1.0), &naive(expand(&gaps)), &format!("round {round}: {gaps:?}"));
    }
}

#[test]
fn a_trillion_gaps_are_no_more_work_than_one() {
    let gaps = [Gaps { start_ps: 7, step_ps: 2, count: 1_000_001, weight: 1_000_000 }];
    let stats = progressions::stats(&gaps, 1.0);
    assert_eq!((stats.count, stats.min, stats.max), (1_000_001_000_000, 7.0, 2_000_007.0));
    assert_eq!((stats.mean, stats.percentiles[0], stats.percentiles[1]), (1_000_007.0, 1_000_007.0, 1_800_007.0));
}

/// Three requests that complete, one prefill only, one rejected, one unfinished, one that never arrived.
fn seven() -> (Requests, Vec<u32>) {
    let mut requests = Requests::new(7);
    let rows = [
        // arrival, scheduled, first, last, end, output, cached, preemptions, status
        (1, 2, 3, 13, 13, 11, 8, 0, Status::Completed),
        (2, 2, 7, 7, 7, 1, 0, 2, Status::Completed),
        (5, 6, 8, 28, 28, 5, 0, 0, Status::Completed),
        (6, 7, -1, -1, 10, 0, 4, 0, Status::Completed),
        (7, -1, -1, -1, 7, 0, 0, 0, Status::Rejected),
        (9, 11, 12, 13, -1, 2, 0, 1, Status::Unfinished),
        (-1, -1, -1, -1, -1, 0, 0, 0, Status::Unfinished),
    ];
    for (row, (arrival, scheduled, first, last, end, output, cached, preemptions, status)) in
        rows.into_iter().enumerate()
    {
        let time = |seconds: i64| if seconds < 0 { NEVER } else { seconds * S };
        requests.arrival_ps[row] = time(arrival);
        requests.routed_ps[row] = time(arrival);
        requests.scheduled_ps[row] = time(scheduled);
        requests.first_token_ps[row] = time(first);
        requests.last_token_ps[row] = time(last);
        requests.end_ps[row] = time(end);
        requests.output_tokens[row] = output;
        requests.cached_tokens[row] = cached;
        requests.preemptions[row] = preemptions;
        requests.status[row] = status as u8;
        requests.reason[row] = Reason::None as u8;
    }
    (requests, vec![16, 8, 8, 8, 100, 100, 100])
}

fn summary(options: &str) -> Summary {
    let (requests, input_tokens) = seven();
    let gaps = [
        Gaps { start_ps: S, step_ps: 0, count: 10, weight: 1 },
        Gaps { start_ps: 5 * S, step_ps: 0, count: 4, weight: 1 },
    ];
    summarize(
        &requests,
        &input_tokens,
        &[],
        &[],
        &gaps,
        &Speculated::default(),
        &[],
        &SummaryOptions::from_json(options).unwrap(),
    )
}

fn assert_values(summary: &Summary, wanted: &[(&str, f64)]) {
    for &(key, wanted) in wanted {
        let found = match summary.get(key) {
            Some(Value::Integer(value)) => value as f64,
            Some(Value::Number(value)) => value,
            Some(Value::Flag(value)) => f64::from(u8::from(value)),
            None => panic!("{key} is absent"),
        };
        assert!((found - wanted).abs() <= 1e-12 * wanted.abs(), "{key} is {found}, not {wanted}");
    }
}

#[test]
fn the_whole_run() {
    let summary = summary("{}");
    assert_values(
        &summary,
        &[
            ("requests", 7.0),
            ("completed", 4.0),
            ("rejected", 1.0),
            ("unfinished", 2.0),
            ("prefill_only", 1.0),
            ("never_arrived", 1.0),
            ("input_tokens", 40.0),
            ("output_tokens", 17.0),
            ("total_tokens", 57.0),
            ("duration_s", 27.0),
            ("ended.requests", 4.0),
            ("requests_per_s", 4.0 / 27.0),
            ("output_tokens_per_s", 17.0 / 27.0),
            ("input_tokens_per_s", 40.0 / 27.0),
            ("total_tokens_per_s", 57.0 / 27.0),
            ("ttft_ms.count", 3.0),
            ("ttft_ms.mean", 10_000.0 / 3.0),
            ("ttft_ms.min", 2_000.0),
            ("ttft_ms.max", 5_000.0),
            ("ttft_ms.p50", 3_000.0),
            ("ttft_ms.p90", 4_600.0),
            ("tpot_ms.count", 2.0),
            ("tpot_ms.min", 1_000.0),
            ("tpot_ms.max", 5_000.0),
            ("request_itl_ms.mean", 3_000.0),
            ("itl_ms.count", 14.0),
            ("itl_ms.mean", 30_000.0 / 14.0),
            ("itl_ms.p50", 1_000.0),
            ("e2e_ms.count", 4.0),
            ("e2e_ms.min", 4_000.0),
            ("e2e_ms.max", 23_000.0),
            ("queue_ms.mean", 750.0),
            ("output_tokens_per_s_per_user.max", 1.0),
            ("output_tokens_per_s_per_user.min", 0.2),
            ("prefix_reuse", 0.3),
            ("preemptions", 3.0),
            ("preempted_requests", 2.0),
            ("availability", 4.0 / 7.0),
        ],
    );
    for absent in ["slo.met", "gpus", "cost", "goodput.requests_per_s", "output_tokens_per_s_per_gpu"] {
        assert_eq!(summary.get(absent), None);
    }
    let keys: std::collections::HashSet<&String> = summary.0.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), summary.0.len(), "each key once");
    let json: serde_json::Value = serde_json::from_str(&summary.to_json()).unwrap();
    assert_eq!(json["completed"], 4);
}

#[test]
fn warm_up_and_window() {
    // From 4 s to 14 s: the third to sixth request arrive in it, the first, second and fourth end in it.
    let summary = summary(&format!(r#"{{"warmup_ps": {}, "window_ps": {}}}"#, 3 * S, 10 * S));
    assert_values(
        &summary,
        &[
            ("requests", 4.0),
            ("completed", 2.0),
            ("rejected", 1.0),
            ("unfinished", 1.0),
            ("never_arrived", 0.0),
            ("output_tokens", 5.0),
            ("ended.requests", 3.0),
            ("ended.output_tokens", 12.0),
            ("duration_s", 10.0),
            ("output_tokens_per_s", 1.2),
            ("ttft_ms.count", 1.0),
        ],
    );
    // A window that outlasts the run ends with it, and what ends then counts.
    let summary = super::tests::summary(&format!(r#"{{"warmup_ps": {}, "window_ps": {}}}"#, 3 * S, 100 * S));
    assert_values(&summary, &[("duration_s", 24.0), ("ended.requests", 4.0), ("requests", 4.0)]);
    // After all arrivals and ends there is nothing to divide by.
    let summary = super::tests::summary(&format!(r#"{{"warmup_ps": {}}}"#, 100 * S));
    assert_values(&summary, &[("requests", 1.0), ("duration_s", 0.0), ("ttft_ms.count", 0.0)]);
    assert_eq!(summary.get("requests_per_s"), None);
    assert_eq!(summary.get("ttft_ms.p50"), None);
}

#[test]
fn limits_on_requests() {
    let options =
        r#"{"slo": {"ttft_ms": 3000, "tpot_ms": 1000, "attainment": 0.4}, "gpus": 2, "gpu_price_per_hour": 3}"#;
    let met = summary(options);
    assert_values(
        &met,
        &[
            ("availability", 2.0 / 7.0), // the first, and the one without output
            ("slo.attainment", 2.0 / 7.0),
            ("slo.met", 0.0),
            ("goodput.requests_per_s", 2.0 / 27.0),
            ("goodput.output_tokens_per_s", 11.0 / 27.0),
            ("gpus", 2.0),
            ("gpu_hours", 54.0 / 3600.0),
            ("cost", 0.045),
            ("cost_per_million_output_tokens", 0.045 / 17e-6),
            ("output_tokens_per_s_per_gpu", 17.0 / 54.0),
        ],
    );
    let e2e = summary(r#"{"slo": {"e2e_ms": 5000, "attainment": 0.28}}"#);
    assert_values(&e2e, &[("availability", 4.0 / 7.0), ("slo.attainment", 2.0 / 7.0), ("slo.met", 1.0)]);
}

#[test]
fn limits_on_the_run() {
    // Three of seven requests were not served: they are late beyond all limits.
    let summary =
        summary(r#"{"slo": {"ttft_ms": {"p90": 4600, "mean": 3000, "min": 2000}, "e2e_ms": {"max": 23000}}}"#);
    assert_values(
        &summary,
        &[
            ("slo.ttft_ms.p90.limit", 4600.0),
            ("slo.ttft_ms.p90.met", 0.0),
            ("slo.ttft_ms.mean.met", 0.0),
            ("slo.ttft_ms.min.met", 1.0),
            ("slo.e2e_ms.max.met", 0.0),
            ("slo.met", 0.0),
        ],
    );
    for absent in ["slo.ttft_ms.p90.value", "slo.ttft_ms.mean.value", "slo.e2e_ms.max.value"] {
        assert_eq!(summary.get(absent), None);
    }
    for absent in ["slo.attainment", "goodput.requests_per_s"] {
        assert_eq!(summary.get(absent), None);
    }
}

#[test]
fn senseless_options() {
    for (json, field) in [
        (r#"{"warmup": 1}"#, "metrics"),
        (r#"{"warmup_ps": -1}"#, "metrics.warmup"),
        (r#"{"window_ps": 0}"#, "metrics.window"),
        (r#"{"gpus": 0}"#, "gpus"),
        (r#"{"gpu_price_per_hour": -1}"#, "gpu_price_per_hour"),
        (r#"{"slo": {"ttft_ms": 1}}"#, "slo.attainment"),
        (r#"{"slo": {"ttft_ms": 1, "attainment": 1.1}}"#, "slo.attainment"),
        (r#"{"slo": {"ttft_ms": {"p95": 1}, "attainment": 0.9}}"#, "slo.attainment"),
        (r#"{"slo": {"ttft_ms": {"p42": 1}}}"#, "metrics"),
        (r#"{"slo": {"ttft_ms": {}}}"#, "slo.ttft_ms"),
        (r#"{"slo": {"e2e_ms": -2, "attainment": 0.9}}"#, "slo.e2e_ms"),
    ] {
        let error = SummaryOptions::from_json(json).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{json}: {error}");
    }
}

#[test]
fn a_run_without_requests_that_count() {
    let summary =
        summarize(&Requests::new(2), &[1, 1], &[], &[], &[], &Speculated::default(), &[], &SummaryOptions::default());
    assert_values(&summary, &[("requests", 2.0), ("never_arrived", 2.0), ("duration_s", 0.0), ("availability", 0.0)]);
}

/// `cargo test --release -- --ignored --nocapture summary_speed`
#[test]
#[ignore = "a measurement"]
fn summary_speed() {
    for count in [23_608u64, 1_000_000] {
        let mut requests = Requests::new(count as usize);
        for row in 0..count as usize {
            let random = |key: u64, below: u64| (draw(5, &[row as u64, key]) % below) as i64;
            requests.arrival_ps[row] = row as i64 * 150 * MS;
            requests.scheduled_ps[row] = requests.arrival_ps[row] + random(0, 1 << 35);
            requests.first_token_ps[row] = requests.scheduled_ps[row] + random(1, 1 << 40);
            requests.output_tokens[row] = random(2, 400) as u32;
            requests.last_token_ps[row] =
                requests.first_token_ps[row] + i64::from(requests.output_tokens[row]) * (10 * MS + random(3, 1 << 33));
            requests.end_ps[row] = requests.last_token_ps[row];
            requests.status[row] = Status::Completed as u8;
        }
        let input_tokens = vec![8000; count as usize];
        let gaps: Vec<Gaps> = (0..count * 2)
            .map(|index| {
                let random = |key: u64, below: u64| (draw(6, &[index, key]) % below) as i64;
                let start_ps = 6 * MS + random(0, 1 << 33) + if index % 5 == 0 { random(1, 1 << 38) } else { 0 };
                Gaps { start_ps, step_ps: random(2, 1 << 16), count: 1 + random(3, 100), weight: 1 + random(4, 60) }
            })
            .collect();
        let options = SummaryOptions::from_json(r#"{"slo": {"ttft_ms": 500, "attainment": 0.9}, "gpus": 8}"#).unwrap();
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = std::time::Instant::now();
            let summary = summarize(&requests, &input_tokens, &[], &[], &gaps, &Speculated::default(), &[], &options);
            best = best.min(start.elapsed().as_secs_f64());
            assert!(summary.get("slo.met").is_some());
        }
        let start = std::time::Instant::now();
        progressions::stats(&gaps, 1.0);
        let gaps_ms = start.elapsed().as_secs_f64() * 1e3;
        println!("{count} requests, {} progressions: {:.2} ms, of which {gaps_ms:.2} the gaps", gaps.len(), best * 1e3);
    }
}

#[test]
fn gaps_within_bursts_count_but_for_chunks() {
    let mut requests = Requests::new(1);
    requests.status[0] = Status::Completed as u8;
    // Two passes of 2 ms and 4 ms gave three tokens each, the first token came before.
    let gaps = [
        Gaps { start_ps: 2_000_000_000, step_ps: 2_000_000_000, count: 2, weight: 1 },
        Gaps { start_ps: 0, step_ps: 0, count: 1, weight: 4 },
    ];
    let speculated = Speculated { verifications: 2, drafts: 6, accepted: 4 };
    let summary = summarize(&requests, &[1], &[], &[], &gaps, &speculated, &[], &SummaryOptions::default());
    for (name, value) in [
        ("itl_ms.mean", Value::Number(1.0)),
        ("itl_ms.p50", Value::Number(0.0)),
        ("chunk_itl_ms.count", Value::Integer(2)),
        ("chunk_itl_ms.mean", Value::Number(3.0)),
        ("chunk_itl_ms.min", Value::Number(2.0)),
        ("acceptance_length", Value::Number(3.0)),
        ("draft_acceptance_rate", Value::Number(4.0 / 6.0)),
        ("drafts", Value::Integer(6)),
    ] {
        assert_eq!(summary.get(name), Some(value), "{name}");
    }
    let without = summarize(&requests, &[1], &[], &[], &gaps, &Speculated::default(), &[], &SummaryOptions::default());
    assert_eq!(without.get("acceptance_length"), None);
}

#[test]
fn each_pool_of_ranks_or_stages_says_what_it_idles() {
    let pool = |role, staged, all_ps, idle_ps| PoolUse {
        role,
        replicas: 1,
        busy_ps: 0,
        staged,
        idle_time: IdleTime { all_ps, idle_ps },
    };
    let shares = |pools: &[PoolUse]| {
        let mut summary = Summary::default();
        idle::write(&mut summary, pools);
        summary.0
    };
    let share = |name: &str, value| (name.to_owned(), Value::Number(value));
    assert_eq!(shares(&[pool(Role::Aggregated, false, 1 << 70, 1 << 68)]), [share("barrier_wait_share", 0.25)]);
    assert_eq!(
        shares(&[pool(Role::Prefill, true, 8, 4), pool(Role::Decode, false, 5, 0)]),
        [share("bubble_share.prefill", 0.5), share("barrier_wait_share.decode", 0.0)]
    );
    assert_eq!(shares(&[pool(Role::Aggregated, false, 0, 0)]), []);
}

#[test]
fn a_backlog_is_counted_halfway_and_at_the_last_arrival() {
    // Five arrive a second apart. At 2 s two are in flight (the second and third), at 4 s three.
    let mut requests = Requests::new(6);
    for (row, end_s) in [1, 9, 3, NEVER, 9].into_iter().enumerate() {
        requests.arrival_ps[row] = row as i64 * S;
        requests.end_ps[row] = if end_s == NEVER { NEVER } else { end_s * S };
        requests.status[row] = Status::Completed as u8;
    }
    requests.status[3] = Status::Unfinished as u8;
    // Turned away at once, and no part of it.
    (requests.arrival_ps[5], requests.end_ps[5]) = (4 * S, 4 * S);
    requests.status[5] = Status::Rejected as u8;
    let options = SummaryOptions::default();
    let interval = Interval::new(&requests, &options);
    let mut summary = Summary::default();
    backlog::write(&mut summary, &requests, &interval);
    let found = ["backlog.middle", "backlog.end", "backlog.arrivals"].map(|key| summary.get(key));
    assert_eq!(found, [2, 3, 2].map(|count| Some(Value::Integer(count))));
}

#[test]
fn arrivals_at_one_time_have_no_backlog() {
    let mut requests = Requests::new(3);
    requests.arrival_ps.fill(7 * S);
    let mut summary = Summary::default();
    backlog::write(&mut summary, &requests, &Interval::new(&requests, &SummaryOptions::default()));
    assert_eq!(summary.0, []);
}
