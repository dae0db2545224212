//! What came between a prompt's last pass and its first on another replica.

use super::stats::Stats;
use super::{Interval, PS_PER_MS, Summary};
use crate::config::Role;
use crate::record::{IdleTime, NEVER, Reason, Requests, Status};

/// How long the replicas of a pool had a pass under way, all together, and what their ranks or stages idled in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    pub role: Role,
    pub replicas: u32,
    pub busy_ps: i64,
    /// In stages; else `idle_time` is that of ranks in step, if it is any.
    pub staged: bool,
    pub idle_time: IdleTime,
}

/// Writes `handovers`, `handovers_timed_out`, `handover_tokens`, `handover_ms` and `transfer_ms`, and
/// `busy.prefill` and `busy.decode`; nothing where prompts and outputs have one replica.
pub(super) fn write(summary: &mut Summary, requests: &Requests, interval: &Interval, pools: &[PoolUse]) {
    let handovers = &requests.handovers;
    if handovers.prefill_replica.is_empty() {
        return;
    }
    let (mut timed_out, mut tokens) = (0, 0);
    let (mut handover_ps, mut transfer_ps) = (Vec::new(), Vec::new());
    for row in 0..requests.status.len() {
        if !interval.counts_arrival(requests.arrival_ps[row]) {
            continue;
        }
        timed_out += u64::from(requests.reason[row] == Reason::HandoverTimeout as u8);
        let end_ps = handovers.transfer_end_ps[row];
        if requests.status[row] == Status::Completed as u8 && end_ps != NEVER {
            tokens += u64::from(handovers.transferred_tokens[row]);
            handover_ps.push((end_ps - handovers.prefilled_ps[row]) as f64);
            transfer_ps.extend(since(handovers.transfer_start_ps[row], end_ps));
        }
    }
    summary.integer("handovers", handover_ps.len() as u64);
    summary.integer("handovers_timed_out", timed_out);
    summary.integer("handover_tokens", tokens);
    summary.stats("handover_ms", &Stats::of(&mut handover_ps, PS_PER_MS));
    summary.stats("transfer_ms", &Stats::of(&mut transfer_ps, PS_PER_MS));
    let start_ps = requests.arrival_ps.iter().copied().filter(|&time_ps| time_ps != NEVER).min();
    let length_ps = requests.end_ps.iter().max().unwrap_or(&0) - start_ps.unwrap_or(0);
    for pool in pools.iter().filter(|_| length_ps > 0) {
        let name = match pool.role {
            Role::Aggregated => continue,
            Role::Prefill => "busy.prefill",
            Role::Decode => "busy.decode",
        };
        summary.number(name, pool.busy_ps as f64 / length_ps as f64 / f64::from(pool.replicas));
    }
}

fn since(start_ps: i64, end_ps: i64) -> Option<f64> {
    (start_ps != NEVER).then(|| (end_ps - start_ps) as f64)
}
