//! Whether a deployment keeps up: requests that had arrived and not ended, halfway through the
//! arrivals and at the last one.

use super::{Interval, Summary};
use crate::record::{NEVER, Requests, Status};

/// Writes `backlog.middle`, `backlog.end` and `backlog.arrivals`, those between the two; nothing
/// where all counted requests arrive at once.
pub(super) fn write(summary: &mut Summary, requests: &Requests, interval: &Interval) {
    let counted = |&time_ps: &i64| time_ps != NEVER && interval.counts_arrival(time_ps);
    let Some(end_ps) = requests.arrival_ps.iter().copied().filter(counted).max() else { return };
    let middle_ps = interval.begin_ps + (end_ps - interval.begin_ps) / 2;
    if middle_ps == end_ps {
        return;
    }
    let (mut middle, mut end, mut arrivals) = (0, 0, 0);
    for (row, &arrival_ps) in requests.arrival_ps.iter().enumerate() {
        let turned_away = requests.status[row] == Status::Rejected as u8;
        if arrival_ps == NEVER || arrival_ps > end_ps || turned_away {
            continue;
        }
        let lasts = |time_ps: i64| requests.end_ps[row] == NEVER || requests.end_ps[row] > time_ps;
        if arrival_ps <= middle_ps {
            middle += u64::from(lasts(middle_ps));
        } else {
            arrivals += 1;
        }
        end += u64::from(lasts(end_ps));
    }
    summary.integer("backlog.middle", middle);
    summary.integer("backlog.end", end);
    summary.integer("backlog.arrivals", arrivals);
}
