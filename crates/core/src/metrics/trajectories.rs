//! What users waited for: all that hangs together, from its first request to its last token.

use super::stats::Stats;
use super::{Interval, PS_PER_MS, Summary};
use crate::record::{NEVER, Requests, Status};

/// Writes `trajectories`, `trajectories_completed` and `trajectory_ms`; nothing where `first`, the first
/// request of each request's trajectory, has no entries.
pub(super) fn write(summary: &mut Summary, requests: &Requests, first: &[u32], interval: &Interval) {
    if first.is_empty() {
        return;
    }
    // By first request: the first arrival, the last end, and whether all have completed.
    let mut begin_ps = vec![i64::MAX; first.len()];
    let mut end_ps = vec![NEVER; first.len()];
    let mut whole = vec![true; first.len()];
    for (row, &first) in first.iter().enumerate() {
        let first = first as usize;
        if requests.arrival_ps[row] != NEVER {
            begin_ps[first] = begin_ps[first].min(requests.arrival_ps[row]);
        }
        whole[first] &= requests.status[row] == Status::Completed as u8;
        let last_ps = requests.last_token_ps[row];
        end_ps[first] = end_ps[first].max(if last_ps == NEVER { requests.end_ps[row] } else { last_ps });
    }
    let (mut count, mut times_ps) = (0, Vec::new());
    for (row, _) in first.iter().enumerate().filter(|&(row, &first)| first as usize == row) {
        let arrival_ps = if begin_ps[row] == i64::MAX { NEVER } else { begin_ps[row] };
        if interval.counts_arrival(arrival_ps) {
            count += 1;
            if whole[row] {
                times_ps.push((end_ps[row] - begin_ps[row]) as f64);
            }
        }
    }
    summary.integer("trajectories", count);
    summary.integer("trajectories_completed", times_ps.len() as u64);
    summary.stats("trajectory_ms", &Stats::of(&mut times_ps, PS_PER_MS));
}
