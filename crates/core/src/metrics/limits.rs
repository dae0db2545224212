//! What limits on outputs cost: of the answers asked for only a part came, and some engines hold the
//! cache free for the rest.

use super::{Interval, Summary};
use crate::record::{NEVER, Requests, Status};

/// Writes `output_limit_use` and `unused_reserve`; each is absent where limits cost nothing.
/// `limits` has one entry a request, `kv_blocks` are those of all replicas.
pub(super) fn write(
    summary: &mut Summary,
    requests: &Requests,
    limits: &[u32],
    interval: &Interval,
    kv_blocks: Option<u64>,
) {
    let (mut asked, mut came, mut unused) = (0_u64, 0_u64, 0_i128);
    for (row, &limit) in limits.iter().enumerate() {
        if requests.status[row] != Status::Completed as u8 {
            continue;
        }
        if interval.counts_arrival(requests.arrival_ps[row]) {
            asked += u64::from(limit.max(requests.output_tokens[row]));
            came += u64::from(requests.output_tokens[row]);
        }
        if requests.scheduled_ps[row] != NEVER {
            let held_ps = interval.part_of(requests.scheduled_ps[row], requests.end_ps[row]);
            unused += i128::from(held_ps) * i128::from(requests.unused_blocks[row]);
        }
    }
    if came < asked {
        summary.number("output_limit_use", came as f64 / asked as f64);
    }
    let whole = i128::from(interval.duration_ps) * i128::from(kv_blocks.unwrap_or(0));
    if unused > 0 && whole > 0 {
        summary.number("unused_reserve", unused as f64 / whole as f64);
    }
}
