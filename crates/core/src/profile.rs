//! What a workload is like, in figures that two workloads can be compared by.

use serde::Serialize;

use crate::chain::Trie;
use crate::trace::{NONE, Trace};
use crate::workload::Workload;

const PS_PER_S: f64 = 1e12;
/// Points of the rate over time.
const PARTS: usize = 60;

#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    pub requests: usize,
    pub sessions: usize,
    /// Requests that wait for no other: what starts.
    pub starts: usize,
    /// Of the starts, in seconds.
    pub first_s: f64,
    pub last_s: f64,
    /// Starts a second; none where all start at once.
    pub rate_per_s: Option<f64>,
    /// Coefficient of variation of the gaps between starts: 1 for a Poisson process, 0 for even ones.
    pub gap_cv: Option<f64>,
    /// Share of the starts at the very time of another one.
    pub simultaneous: f64,
    /// Starts a second in equal parts of the time from the first to the last.
    pub rates_per_s: Vec<f64>,
    pub input_tokens: Distribution,
    pub output_tokens: Distribution,
    pub max_output_tokens: Distribution,
    /// Rank correlation (Spearman) of input and output lengths; none where one is always the same.
    pub input_output_correlation: Option<f64>,
    /// Share of the prompts' blocks that a request before it had, its answer included: what a cache
    /// that forgets nothing could find.
    pub ideal_prefix_hit: f64,
    /// Share of the requests that could find anything.
    pub requests_with_hit: f64,
    /// Blocks that a request could find.
    pub hit_blocks: Distribution,
    /// Seconds since the last of them was used before, of requests that wait for no other: how long
    /// a cache has to remember. None where nobody finds anything.
    pub reuse_s: Option<Distribution>,
    /// Different blocks, and all of them.
    pub distinct_blocks: u64,
    pub blocks: u64,
    pub block_tokens: u32,
    pub turns: Distribution,
    /// Seconds from the end of what a request waits for; none where none waits.
    pub think_time_s: Option<Distribution>,
    /// Sessions that wait for each other; none where none does.
    pub trajectories: Option<Trajectories>,
    /// Requests of each class.
    pub classes: Vec<(String, u64)>,
    pub failed: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Trajectories {
    pub count: u64,
    pub requests: Distribution,
    pub sessions: Distribution,
    /// Sessions that begin after a request of another one.
    pub called_sessions: u64,
    /// Requests that wait for several.
    pub joins: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distribution {
    pub mean: f64,
    pub min: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Distribution {
    /// Percentiles by rank: the smallest value that at least so many percent do not exceed. None of nothing.
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let rank = |percent: usize| values[(values.len() * percent).div_ceil(100).max(1) - 1];
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Some(Distribution { mean, min, p50: rank(50), p90: rank(90), p95: rank(95), p99: rank(99), max })
    }

    fn of_tokens(tokens: &[u32]) -> Self {
        Self::of(tokens.iter().map(|&tokens| tokens.into()).collect()).expect("a workload has a request")
    }
}

/// Figures of a workload. Costs its block ids, once.
pub fn profile(workload: &Workload) -> Profile {
    let trace = &workload.trace;
    let starts: Vec<i64> =
        (0..trace.len()).filter(|&row| trace.is_root(row)).map(|row| trace.arrival_ps[row]).collect();
    let (first_ps, last_ps) = (starts[0], starts[starts.len() - 1]);
    let span_s = (last_ps - first_ps) as f64 / PS_PER_S;
    let gaps: Vec<f64> = starts.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
    let (turns, think_times) = sessions(trace);
    let reuse = reuse(trace);
    Profile {
        requests: trace.len(),
        sessions: turns.len(),
        starts: starts.len(),
        first_s: first_ps as f64 / PS_PER_S,
        last_s: last_ps as f64 / PS_PER_S,
        rate_per_s: (span_s > 0.0).then(|| (starts.len() - 1) as f64 / span_s),
        gap_cv: (span_s > 0.0).then(|| variation(&gaps)),
        simultaneous: gaps.iter().filter(|&&gap| gap == 0.0).count() as f64 / starts.len() as f64,
        rates_per_s: rates(&starts, span_s),
        input_tokens: Distribution::of_tokens(&trace.input_tokens),
        output_tokens: Distribution::of_tokens(&trace.output_tokens),
        max_output_tokens: Distribution::of_tokens(&trace.max_output_tokens),
        input_output_correlation: rank_correlation(&trace.input_tokens, &trace.output_tokens),
        ideal_prefix_hit: reuse.hits.iter().sum::<f64>() / reuse.prompt_blocks as f64,
        requests_with_hit: reuse.hits.iter().filter(|&&hits| hits > 0.0).count() as f64 / trace.len() as f64,
        hit_blocks: Distribution::of(reuse.hits).expect("a workload has a request"),
        reuse_s: Distribution::of(reuse.after_s),
        distinct_blocks: reuse.nodes,
        blocks: trace.block_ids.len() as u64,
        block_tokens: trace.block_tokens,
        turns: Distribution::of(turns).expect("a workload has a session"),
        think_time_s: Distribution::of(think_times),
        trajectories: trajectories(trace),
        classes: classes(workload),
        failed: workload.labels.failed.as_ref().map(|failed| failed.iter().filter(|&&failed| failed).count() as u64),
    }
}

fn variation(gaps: &[f64]) -> f64 {
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt() / mean
}

fn rates(starts: &[i64], span_s: f64) -> Vec<f64> {
    if span_s == 0.0 {
        return Vec::new();
    }
    let mut counts = vec![0.0; PARTS];
    for &start in starts {
        let part = (start - starts[0]) as f64 / PS_PER_S / span_s * PARTS as f64;
        counts[(part as usize).min(PARTS - 1)] += PARTS as f64 / span_s;
    }
    counts
}

/// Turns of each session, and the seconds before each later one.
fn sessions(trace: &Trace) -> (Vec<f64>, Vec<f64>) {
    let mut turns = vec![0u32; trace.len()];
    let mut think_times = Vec::new();
    for (row, first) in trace.first_turns().into_iter().enumerate() {
        turns[first as usize] += 1;
        if !trace.is_root(row) {
            think_times.push(trace.arrival_ps[row] as f64 / PS_PER_S);
        }
    }
    (turns.into_iter().filter(|&turns| turns > 0).map(f64::from).collect(), think_times)
}

fn trajectories(trace: &Trace) -> Option<Trajectories> {
    if trace.wait_for.is_empty() {
        return None;
    }
    let (mut requests, mut sessions) = (vec![0.0; trace.len()], vec![0.0; trace.len()]);
    let (mut called_sessions, mut joins) = (0, 0);
    for (row, first) in trace.trajectories().into_iter().enumerate() {
        requests[first as usize] += 1.0;
        joins += u64::from(trace.predecessors(row).count() > 1);
        if trace.after[row] == NONE {
            sessions[first as usize] += 1.0;
            called_sessions += u64::from(!trace.is_root(row));
        }
    }
    requests.retain(|&count| count > 0.0);
    sessions.retain(|&count| count > 0.0);
    Some(Trajectories {
        count: requests.len() as u64,
        requests: Distribution::of(requests)?,
        sessions: Distribution::of(sessions)?,
        called_sessions,
        joins,
    })
}

struct Reuse {
    hits: Vec<f64>,
    after_s: Vec<f64>,
    prompt_blocks: u64,
    nodes: u64,
}

fn reuse(trace: &Trace) -> Reuse {
    let mut trie = Trie::new(trace);
    let mut reuse = Reuse { hits: Vec::with_capacity(trace.len()), after_s: Vec::new(), prompt_blocks: 0, nodes: 0 };
    let mut used_ps: Vec<i64> = Vec::new();
    let mut now_ps = 0;
    for row in 0..trace.len() {
        if trace.is_root(row) {
            now_ps = trace.arrival_ps[row];
        }
        let of_prompt = trace.input_tokens[row].div_ceil(trace.block_tokens) as usize;
        let (mut at, mut hits, mut last_hit_ps) = (NONE, 0, None);
        for (place, &id) in trace.blocks(row).iter().enumerate() {
            let (node, new) = trie.step(at, id);
            if new {
                used_ps.push(now_ps);
            } else if place < of_prompt {
                hits += 1; // what comes below a new node is new
                last_hit_ps = Some(used_ps[node as usize]);
            }
            used_ps[node as usize] = now_ps;
            at = node;
        }
        reuse.hits.push(f64::from(hits));
        reuse.prompt_blocks += of_prompt as u64;
        if let Some(last_hit_ps) = last_hit_ps.filter(|_| trace.is_root(row)) {
            reuse.after_s.push((now_ps - last_hit_ps) as f64 / PS_PER_S);
        }
    }
    reuse.nodes = trie.parent.len() as u64;
    reuse
}

/// Spearman's, with mean ranks for ties.
fn rank_correlation(one: &[u32], other: &[u32]) -> Option<f64> {
    let (one, other) = (ranks(one), ranks(other));
    let mean = (one.len() as f64 - 1.0) / 2.0;
    let sum = |of: &[f64], with: &[f64]| of.iter().zip(with).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let spread = (sum(&one, &one) * sum(&other, &other)).sqrt();
    (spread > 0.0).then(|| sum(&one, &other) / spread)
}

fn ranks(values: &[u32]) -> Vec<f64> {
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    order.sort_unstable_by_key(|&row| values[row as usize]);
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for tied in order.chunk_by(|&a, &b| values[a as usize] == values[b as usize]) {
        for &row in tied {
            ranks[row as usize] = start as f64 + (tied.len() as f64 - 1.0) / 2.0;
        }
        start += tied.len();
    }
    ranks
}

fn classes(workload: &Workload) -> Vec<(String, u64)> {
    let Some(classes) = &workload.labels.classes else { return Vec::new() };
    let mut counts = vec![0; classes.names.len()];
    classes.of.iter().for_each(|&class| counts[class as usize] += 1);
    classes.names.iter().map(str::to_owned).zip(counts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_small_workload() {
        let trace = Trace {
            arrival_ps: vec![0, 2_000_000_000_000, 3_000_000_000_000, 10_000_000_000_000],
            input_tokens: vec![32, 48, 60, 16],
            output_tokens: vec![16, 4, 3, 2],
            max_output_tokens: vec![16, 4, 3, 2],
            priority: vec![0; 4],
            after: vec![NONE, NONE, 0, NONE],
            wait_for: vec![],
            wait_offsets: vec![],
            block_tokens: 16,
            // The third repeats the first's prompt and answer; the last stands in another context.
            block_ids: vec![0, 1, 2, 0, 3, 4, 0, 1, 2, 5, 1],
            block_offsets: vec![0, 3, 6, 10, 11],
        };
        let profile = profile(&Workload::from_trace(trace, serde_json::json!({})).unwrap());
        assert_eq!((profile.requests, profile.sessions, profile.distinct_blocks, profile.blocks), (4, 3, 7, 11));
        assert_eq!((profile.rate_per_s, profile.last_s), (Some(0.2), 10.0));
        assert!((profile.gap_cv.unwrap() - 0.6).abs() < 1e-12);
        assert_eq!(profile.ideal_prefix_hit, (1.0 + 3.0) / (2.0 + 3.0 + 4.0 + 1.0));
        assert_eq!(profile.requests_with_hit, 0.5);
        assert_eq!((profile.hit_blocks.mean, profile.hit_blocks.max), (1.0, 3.0));
        assert_eq!(profile.reuse_s.unwrap().max, 2.0);
        assert_eq!((profile.turns.p50, profile.turns.max), (1.0, 2.0));
        assert_eq!(profile.think_time_s.unwrap().p50, 3.0);
        assert_eq!(profile.input_tokens, Distribution::of(vec![16.0, 32.0, 48.0, 60.0]).unwrap());
        assert_eq!((profile.input_tokens.p50, profile.input_tokens.p90), (32.0, 60.0));
        // Ranks 1, 2, 3, 0 and 3, 2, 1, 0.
        assert!((profile.input_output_correlation.unwrap() - 0.2).abs() < 1e-12);
    }
}
