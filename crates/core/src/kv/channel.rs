//! A copy engine: one direction between two memories, one transfer after the other.

use serde::Deserialize;

const PS_PER_S: u128 = 1_000_000_000_000;

/// What a channel can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speed {
    pub bytes_per_s: u64,
    /// Until the first byte of a transfer is there.
    pub latency_ps: i64,
}

/// Transfers in the order in which they are handed in, each when the one before it has ended: so
/// its end is known at once.
#[derive(Clone, Debug)]
pub struct Channel {
    speed: Speed,
    free_ps: i64,
}

impl Channel {
    pub fn new(speed: Speed) -> Self {
        Channel { speed, free_ps: 0 }
    }

    /// When the last transfer so far ends.
    pub fn free_ps(&self) -> i64 {
        self.free_ps
    }

    /// Hands in a transfer of `bytes` at `at_ps`, no earlier than the one before. Returns its end.
    pub fn submit(&mut self, at_ps: i64, bytes: u64) -> i64 {
        let transfer = (u128::from(bytes) * PS_PER_S).div_ceil(u128::from(self.speed.bytes_per_s));
        let transfer = i64::try_from(transfer).unwrap_or(i64::MAX);
        self.free_ps = self.free_ps.max(at_ps).saturating_add(self.speed.latency_ps).saturating_add(transfer);
        self.free_ps
    }
}

#[cfg(test)]
mod tests {
    use super::{Channel, Speed};

    const MS: i64 = 1_000_000_000;

    #[test]
    fn transfers_follow_each_other() {
        // 2 GB/s: 1 MB takes 0.5 ms; the first byte takes 0.1 ms.
        let mut channel = Channel::new(Speed { bytes_per_s: 2_000_000_000, latency_ps: MS / 10 });
        assert_eq!(channel.submit(10 * MS, 1_000_000), 10 * MS + 6 * MS / 10);
        assert_eq!(channel.submit(10 * MS, 1_000_000), 11 * MS + 2 * MS / 10);
        assert_eq!(channel.submit(20 * MS, 1_000_000), 20 * MS + 6 * MS / 10);
    }

    #[test]
    fn an_end_is_rounded_up() {
        let mut channel = Channel::new(Speed { bytes_per_s: 3, latency_ps: 0 });
        assert_eq!(channel.submit(0, 1), 333_333_333_334);
    }
}
