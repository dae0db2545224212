//! The metrics of a run, by dotted name. `docs/metrics.md` defines each; this is the code for it.

mod backlog;
mod handovers;
mod idle;
mod limits;
mod options;
mod progressions;
mod speculation;
mod stats;
mod trajectories;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::record::{Gaps, NEVER, Requests, Speculated, Status};
pub use handovers::PoolUse;
pub use options::{Limit, ServiceLevel, Statistic, SummaryOptions};
use stats::Stats;

const PS_PER_MS: f64 = 1e9;
const PS_PER_S: f64 = 1e12;
const S_PER_HOUR: f64 = 3600.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    Integer(u64),
    Number(f64),
    Flag(bool),
}

/// Metrics in the order in which they are to be shown; what is undefined is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary(pub Vec<(String, Value)>);

impl Summary {
    pub fn get(&self, key: &str) -> Option<Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("names and finite numbers")
    }

    fn integer(&mut self, key: &str, value: u64) {
        self.0.push((key.to_owned(), Value::Integer(value)));
    }

    fn number(&mut self, key: &str, value: f64) {
        debug_assert!(value.is_finite(), "{key}");
        self.0.push((key.to_owned(), Value::Number(value)));
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.0.push((key.to_owned(), Value::Flag(value)));
    }

    fn stats(&mut self, key: &str, stats: &Stats) {
        self.integer(&format!("{key}.count"), stats.count);
        for statistic in Statistic::ALL {
            if let Some(value) = stats.get(statistic) {
                self.number(&format!("{key}.{}", statistic.name()), value);
            }
        }
    }
}

impl Serialize for Summary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            match value {
                Value::Integer(value) => map.serialize_entry(key, value)?,
                Value::Number(value) => map.serialize_entry(key, value)?,
                Value::Flag(value) => map.serialize_entry(key, value)?,
            }
        }
        map.end()
    }
}

/// Computes all metrics. `input_tokens` and `limits`, the most output tokens asked for, have one
/// entry a request, as the columns of `requests`; so has `trajectories`, the first request of each
/// request's trajectory, if any waits for another. `gaps`, `speculated` and `pools` are those of the whole run.
#[expect(clippy::too_many_arguments)]
pub fn summarize(
    requests: &Requests,
    input_tokens: &[u32],
    limits: &[u32],
    trajectories: &[u32],
    gaps: &[Gaps],
    speculated: &Speculated,
    pools: &[PoolUse],
    options: &SummaryOptions,
) -> Summary {
    let interval = Interval::new(requests, options);
    let slo = options.slo.as_ref();
    let mut counts = Counts::default();
    let mut samples = Samples::with_capacity(requests.status.len());
    for row in 0..requests.status.len() {
        let counted = interval.counts_arrival(requests.arrival_ps[row]);
        let ended = requests.status[row] == Status::Completed as u8 && interval.counts_end(requests.end_ps[row]);
        if counted || ended {
            let request = Request::new(requests, input_tokens, row);
            let kept = Kept::new(&request, slo);
            if counted {
                counts.arrived(&request, &kept);
                samples.take(&request);
            }
            if ended {
                counts.ended(&request, &kept);
            }
        }
    }
    let latencies = Latencies {
        ttft: Stats::of(&mut samples.ttft_ps, PS_PER_MS),
        tpot: Stats::of(&mut samples.tpot_ps, PS_PER_MS),
        itl: progressions::stats(gaps, PS_PER_MS),
        e2e: Stats::of(&mut samples.e2e_ps, PS_PER_MS),
        queue: Stats::of(&mut samples.queue_ps, PS_PER_MS),
        per_user: Stats::of(&mut samples.tokens_per_s, 1.0),
    };
    let mut summary = Summary::default();
    write_counts(&mut summary, &counts);
    write_rates(&mut summary, &counts, &interval, options.gpus);
    write_latencies(&mut summary, &latencies);
    speculation::write(&mut summary, gaps, speculated);
    backlog::write(&mut summary, requests, &interval);
    trajectories::write(&mut summary, requests, trajectories, &interval);
    handovers::write(&mut summary, requests, &interval, pools);
    idle::write(&mut summary, pools);
    write_cache(&mut summary, &counts);
    limits::write(&mut summary, requests, limits, &interval, options.kv_blocks);
    write_service(&mut summary, &counts, &mut samples, &interval, slo);
    write_cost(&mut summary, &counts, &interval, options);
    summary
}

/// Which part of the run counts: requests that arrive in it, and completions in it.
struct Interval {
    begin_ps: i64,
    /// Neither arrivals nor ends at this time or later count; none: all do.
    before_ps: Option<i64>,
    /// From the begin to the window's end, or to the last completion if that comes first.
    duration_ps: i64,
}

impl Interval {
    fn new(requests: &Requests, options: &SummaryOptions) -> Self {
        let start_ps = requests.arrival_ps.iter().copied().filter(|&time| time != NEVER).min().unwrap_or(0);
        let begin_ps = start_ps.saturating_add(options.warmup_ps);
        let before_ps = options.window_ps.map(|window_ps| begin_ps.saturating_add(window_ps));
        let completed = requests.status.iter().zip(&requests.end_ps);
        let last_end_ps =
            completed.filter(|(status, _)| **status == Status::Completed as u8).map(|(_, end)| *end).max();
        let finish_ps = last_end_ps.unwrap_or(begin_ps).min(before_ps.unwrap_or(i64::MAX));
        Interval { begin_ps, before_ps, duration_ps: (finish_ps - begin_ps).max(0) }
    }

    /// A request that never arrived would have done so after everything else.
    fn counts_arrival(&self, arrival_ps: i64) -> bool {
        if arrival_ps == NEVER { self.before_ps.is_none() } else { self.counts_end(arrival_ps) }
    }

    fn counts_end(&self, time_ps: i64) -> bool {
        time_ps >= self.begin_ps && self.before_ps.is_none_or(|before_ps| time_ps < before_ps)
    }

    /// How much of the time between two points lies in it.
    fn part_of(&self, from_ps: i64, to_ps: i64) -> i64 {
        (to_ps.min(self.begin_ps + self.duration_ps) - from_ps.max(self.begin_ps)).max(0)
    }

    fn duration_s(&self) -> Option<f64> {
        (self.duration_ps > 0).then(|| self.duration_ps as f64 / PS_PER_S)
    }
}

/// One row of the request table, and the times that follow from it.
struct Request {
    status: u8,
    arrived: bool,
    input_tokens: u32,
    output_tokens: u32,
    cached_tokens: u32,
    /// From host memory, a disk and a shared store; None where there is no such place.
    loaded_tokens: [Option<u32>; 3],
    preemptions: u32,
    queue_ps: Option<i64>,
    ttft_ps: Option<i64>,
    /// To the last token; of a request without output, to its end.
    e2e_ps: i64,
    /// From the first token to the last, if there are two.
    decode_ps: Option<i64>,
}

impl Request {
    fn new(requests: &Requests, input_tokens: &[u32], row: usize) -> Self {
        let arrival_ps = requests.arrival_ps[row];
        let since = |from_ps: i64, time_ps: i64| (time_ps != NEVER).then(|| time_ps - from_ps);
        let (first_ps, last_ps) = (requests.first_token_ps[row], requests.last_token_ps[row]);
        let output_tokens = requests.output_tokens[row];
        let loaded = [&requests.loaded.host, &requests.loaded.disk, &requests.loaded.shared];
        Request {
            status: requests.status[row],
            arrived: arrival_ps != NEVER,
            input_tokens: input_tokens[row],
            output_tokens,
            cached_tokens: requests.cached_tokens[row],
            loaded_tokens: loaded.map(|column| column.get(row).copied()),
            preemptions: requests.preemptions[row],
            queue_ps: since(arrival_ps, requests.scheduled_ps[row]),
            ttft_ps: since(arrival_ps, first_ps),
            e2e_ps: if last_ps == NEVER { requests.end_ps[row] } else { last_ps } - arrival_ps,
            decode_ps: if output_tokens >= 2 { since(first_ps, last_ps) } else { None },
        }
    }

    fn completed(&self) -> bool {
        self.status == Status::Completed as u8
    }
}

/// What of the service level a request kept. One that did not complete kept nothing.
struct Kept {
    /// Time to first token, and output rate.
    responsive: bool,
    /// Every limit.
    all: bool,
}

impl Kept {
    fn new(request: &Request, slo: Option<&ServiceLevel>) -> Self {
        if !request.completed() {
            return Kept { responsive: false, all: false };
        }
        let within = |limit: Option<&Limit>, time_ps: Option<i64>, per: i64| match (limit, time_ps) {
            (Some(Limit::Request(limit_ms)), Some(time_ps)) => time_ps as f64 <= limit_ms * PS_PER_MS * per as f64,
            _ => true,
        };
        let ttft = within(slo.and_then(|slo| slo.ttft_ms.as_ref()), request.ttft_ps, 1);
        let gaps = i64::from(request.output_tokens) - 1;
        let tpot = within(slo.and_then(|slo| slo.tpot_ms.as_ref()), request.decode_ps, gaps);
        let e2e = within(slo.and_then(|slo| slo.e2e_ms.as_ref()), Some(request.e2e_ps), 1);
        Kept { responsive: ttft && tpot, all: ttft && tpot && e2e }
    }
}

#[derive(Default)]
struct Counts {
    requests: u64,
    completed: u64,
    rejected: u64,
    unfinished: u64,
    never_arrived: u64,
    prefill_only: u64,
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
    loaded_tokens: [Option<u64>; 3],
    preemptions: u64,
    preempted: u64,
    responsive: u64,
    kept: u64,
    ended: u64,
    ended_input_tokens: u64,
    ended_output_tokens: u64,
    ended_kept: u64,
    ended_kept_output_tokens: u64,
}

impl Counts {
    fn arrived(&mut self, request: &Request, kept: &Kept) {
        self.requests += 1;
        self.preemptions += u64::from(request.preemptions);
        self.preempted += u64::from(request.preemptions > 0);
        self.responsive += u64::from(kept.responsive);
        self.kept += u64::from(kept.all);
        if request.completed() {
            self.completed += 1;
            self.prefill_only += u64::from(request.output_tokens == 0);
            self.input_tokens += u64::from(request.input_tokens);
            self.output_tokens += u64::from(request.output_tokens);
            self.cached_tokens += u64::from(request.cached_tokens);
            for (sum, tokens) in self.loaded_tokens.iter_mut().zip(request.loaded_tokens) {
                if let Some(tokens) = tokens {
                    *sum.get_or_insert(0) += u64::from(tokens);
                }
            }
        } else if request.status == Status::Rejected as u8 {
            self.rejected += 1;
        } else {
            self.unfinished += 1;
            self.never_arrived += u64::from(!request.arrived);
        }
    }

    fn ended(&mut self, request: &Request, kept: &Kept) {
        self.ended += 1;
        self.ended_input_tokens += u64::from(request.input_tokens);
        self.ended_output_tokens += u64::from(request.output_tokens);
        if kept.all {
            self.ended_kept += 1;
            self.ended_kept_output_tokens += u64::from(request.output_tokens);
        }
    }
}

/// Of the counted requests that completed; in floating point, which is exact to 2^53 ps.
struct Samples {
    ttft_ps: Vec<f64>,
    tpot_ps: Vec<f64>,
    tokens_per_s: Vec<f64>,
    e2e_ps: Vec<f64>,
    queue_ps: Vec<f64>,
}

impl Samples {
    fn with_capacity(requests: usize) -> Self {
        let column = || Vec::with_capacity(requests);
        Samples { ttft_ps: column(), tpot_ps: column(), tokens_per_s: column(), e2e_ps: column(), queue_ps: column() }
    }

    fn take(&mut self, request: &Request) {
        if !request.completed() {
            return;
        }
        self.e2e_ps.push(request.e2e_ps as f64);
        self.ttft_ps.extend(request.ttft_ps.map(|time_ps| time_ps as f64));
        self.queue_ps.extend(request.queue_ps.map(|time_ps| time_ps as f64));
        if let Some(decode_ps) = request.decode_ps {
            let tpot_ps = decode_ps as f64 / f64::from(request.output_tokens - 1);
            self.tpot_ps.push(tpot_ps);
            if tpot_ps > 0.0 {
                self.tokens_per_s.push(PS_PER_S / tpot_ps);
            }
        }
    }
}

struct Latencies {
    ttft: Stats,
    tpot: Stats,
    itl: Stats,
    e2e: Stats,
    queue: Stats,
    per_user: Stats,
}

fn write_counts(summary: &mut Summary, counts: &Counts) {
    for (key, value) in [
        ("requests", counts.requests),
        ("completed", counts.completed),
        ("rejected", counts.rejected),
        ("unfinished", counts.unfinished),
        ("prefill_only", counts.prefill_only),
        ("never_arrived", counts.never_arrived),
        ("input_tokens", counts.input_tokens),
        ("output_tokens", counts.output_tokens),
        ("total_tokens", counts.input_tokens + counts.output_tokens),
    ] {
        summary.integer(key, value);
    }
}

fn write_rates(summary: &mut Summary, counts: &Counts, interval: &Interval, gpus: Option<u64>) {
    summary.number("duration_s", interval.duration_ps as f64 / PS_PER_S);
    summary.integer("ended.requests", counts.ended);
    summary.integer("ended.input_tokens", counts.ended_input_tokens);
    summary.integer("ended.output_tokens", counts.ended_output_tokens);
    let Some(duration_s) = interval.duration_s() else { return };
    let total = counts.ended_input_tokens + counts.ended_output_tokens;
    summary.number("requests_per_s", counts.ended as f64 / duration_s);
    summary.number("input_tokens_per_s", counts.ended_input_tokens as f64 / duration_s);
    summary.number("output_tokens_per_s", counts.ended_output_tokens as f64 / duration_s);
    summary.number("total_tokens_per_s", total as f64 / duration_s);
    if let Some(gpus) = gpus {
        let gpu_s = duration_s * gpus as f64;
        summary.number("output_tokens_per_s_per_gpu", counts.ended_output_tokens as f64 / gpu_s);
        summary.number("total_tokens_per_s_per_gpu", total as f64 / gpu_s);
    }
}

fn write_latencies(summary: &mut Summary, latencies: &Latencies) {
    summary.stats("output_tokens_per_s_per_user", &latencies.per_user);
    summary.stats("ttft_ms", &latencies.ttft);
    summary.stats("tpot_ms", &latencies.tpot);
    summary.stats("itl_ms", &latencies.itl);
    // A request's mean gap is its TPOT, as long as the first token comes alone.
    summary.stats("request_itl_ms", &latencies.tpot);
    summary.stats("e2e_ms", &latencies.e2e);
    summary.stats("queue_ms", &latencies.queue);
}

fn write_cache(summary: &mut Summary, counts: &Counts) {
    if counts.input_tokens > 0 {
        summary.number("prefix_reuse", counts.cached_tokens as f64 / counts.input_tokens as f64);
        for (place, tokens) in ["host", "disk", "shared"].into_iter().zip(counts.loaded_tokens) {
            if let Some(tokens) = tokens {
                summary.number(&format!("prefix_reuse.{place}"), tokens as f64 / counts.input_tokens as f64);
            }
        }
    }
    summary.integer("preemptions", counts.preemptions);
    summary.integer("preempted_requests", counts.preempted);
}

fn write_service(
    summary: &mut Summary,
    counts: &Counts,
    samples: &mut Samples,
    interval: &Interval,
    slo: Option<&ServiceLevel>,
) {
    // A quotient of counts is the double nearest to it, as is a limit written as a decimal: they
    // compare as the fractions do.
    let share = |of: u64| (counts.requests > 0).then(|| of as f64 / counts.requests as f64);
    if let Some(availability) = share(counts.responsive) {
        summary.number("availability", availability);
    }
    let Some(slo) = slo else { return };
    let mut met = true;
    if let Some(wanted) = slo.wanted_attainment() {
        let attainment = share(counts.kept);
        if let Some(attainment) = attainment {
            summary.number("slo.attainment", attainment);
        }
        met &= attainment.is_some_and(|attainment| attainment >= wanted);
    }
    let unserved = counts.requests - counts.completed;
    for (key, limit, samples) in [
        ("ttft_ms", &slo.ttft_ms, &mut samples.ttft_ps),
        ("tpot_ms", &slo.tpot_ms, &mut samples.tpot_ps),
        ("e2e_ms", &slo.e2e_ms, &mut samples.e2e_ps),
    ] {
        let Some(Limit::Run(limits)) = limit else { continue };
        let stats = Stats::with_endless(samples, unserved, PS_PER_MS);
        for (statistic, &limit) in limits {
            let key = format!("slo.{key}.{}", statistic.name());
            let value = stats.get(*statistic).filter(|value| value.is_finite());
            let kept = value.is_some_and(|value| value <= limit);
            summary.number(&format!("{key}.limit"), limit);
            if let Some(value) = value {
                summary.number(&format!("{key}.value"), value);
            }
            summary.flag(&format!("{key}.met"), kept);
            met &= kept;
        }
    }
    summary.flag("slo.met", met);
    if let (Some(_), Some(duration_s)) = (slo.wanted_attainment(), interval.duration_s()) {
        summary.number("goodput.requests_per_s", counts.ended_kept as f64 / duration_s);
        summary.number("goodput.output_tokens_per_s", counts.ended_kept_output_tokens as f64 / duration_s);
    }
}

fn write_cost(summary: &mut Summary, counts: &Counts, interval: &Interval, options: &SummaryOptions) {
    let Some(gpus) = options.gpus else { return };
    let gpu_hours = gpus as f64 * interval.duration_ps as f64 / PS_PER_S / S_PER_HOUR;
    summary.integer("gpus", gpus);
    summary.number("gpu_hours", gpu_hours);
    if let Some(price) = options.gpu_price_per_hour {
        summary.number("cost", gpu_hours * price);
        if counts.ended_output_tokens > 0 {
            let millions = counts.ended_output_tokens as f64 / 1e6;
            summary.number("cost_per_million_output_tokens", gpu_hours * price / millions);
        }
    }
}

#[cfg(test)]
mod tests;
