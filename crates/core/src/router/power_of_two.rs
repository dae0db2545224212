//! The better of two replicas drawn at random (Mitzenmacher: The Power of Two Choices in Randomized
//! Load Balancing, 2001), as the SGLang Model Gateway does it.

use super::loads::Loads;
use super::{Fleet, Native, Pick};
use crate::random;

pub(super) struct PowerOfTwo {
    pub(super) seed: u64,
    pub(super) replicas: u32,
    /// Own requests in flight; none if telemetry's tokens are compared instead.
    pub(super) loads: Option<Loads>,
}

impl Native for PowerOfTwo {
    fn reasons(&self) -> &'static [&'static str] {
        &["fewer of two", "two alike"]
    }

    fn pick(&mut self, request: u32, _now_ps: i64, fleet: &Fleet) -> Pick {
        let [first, second] = two(self.seed, request, self.replicas);
        let load = |replica: u32| match &self.loads {
            Some(loads) => loads.of(replica),
            None => u64::from(fleet.views[replica as usize].used_blocks),
        };
        let reason = u32::from(load(first) == load(second));
        let replica = if load(first) <= load(second) { first } else { second };
        if let Some(loads) = &mut self.loads {
            loads.add(replica, 1);
        }
        Pick::new(replica, reason)
    }

    fn ended(&mut self, _request: u32, replica: u32) {
        if let Some(loads) = &mut self.loads {
            loads.remove(replica, 1);
        }
    }
}

/// Two different replicas, if there are two.
fn two(seed: u64, request: u32, replicas: u32) -> [u32; 2] {
    let draw = |which: u64, count: u32| (random::draw(seed, &[u64::from(request), which]) % u64::from(count)) as u32;
    let first = draw(0, replicas);
    [first, if replicas == 1 { first } else { (first + 1 + draw(1, replicas - 1)) % replicas }]
}
