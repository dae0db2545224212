//! Routers that look at nothing.

use super::{Fleet, Native, Pick};
use crate::random;

/// Each replica in turn.
pub(super) struct RoundRobin {
    pub(super) replicas: u32,
    pub(super) next: u32,
}

impl Native for RoundRobin {
    fn reasons(&self) -> &'static [&'static str] {
        &["turn"]
    }

    fn pick(&mut self, _request: u32, _now_ps: i64, _fleet: &Fleet) -> Pick {
        let replica = self.next;
        self.next = (replica + 1) % self.replicas;
        Pick::new(replica, 0)
    }
}

/// Any replica, by seed and request.
pub(super) struct Random {
    pub(super) replicas: u32,
    pub(super) seed: u64,
}

impl Native for Random {
    fn reasons(&self) -> &'static [&'static str] {
        &["draw"]
    }

    fn pick(&mut self, request: u32, _now_ps: i64, _fleet: &Fleet) -> Pick {
        Pick::new(any(self.seed, request, self.replicas), 0)
    }
}

/// One of `count` things, drawn for `request`.
pub(super) fn any(seed: u64, request: u32, count: u32) -> u32 {
    (random::draw(seed, &[u64::from(request)]) % u64::from(count)) as u32
}
