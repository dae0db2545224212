//! What data ranks in step wait for each other, and pipeline stages for passes.

use super::{PoolUse, Summary};
use crate::config::Role;

/// Writes `barrier_wait_share` or `bubble_share`, of pools one each; nothing where there are neither ranks in step nor
/// stages, or no pass was under way.
pub(super) fn write(summary: &mut Summary, pools: &[PoolUse]) {
    for pool in pools.iter().filter(|pool| pool.idle_time.all_ps > 0) {
        let name = if pool.staged { "bubble_share" } else { "barrier_wait_share" };
        let of = match pool.role {
            Role::Aggregated => "",
            Role::Prefill => ".prefill",
            Role::Decode => ".decode",
        };
        summary.number(&format!("{name}{of}"), pool.idle_time.idle_ps as f64 / pool.idle_time.all_ps as f64);
    }
}
