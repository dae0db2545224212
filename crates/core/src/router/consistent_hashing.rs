//! A ring of hashes by session or prefix. With a bound on the skew of loads, a replica above it is
//! passed over (Mirrokni et al.: Consistent Hashing with Bounded Loads, 2018), as the SGLang Model
//! Gateway's `bounded_consistent_hashing` does.

use super::loads::Loads;
use super::ring::Ring;
use super::simple::any;
use super::{Fleet, Native, Pick};

const HIT: u32 = 0;
const SPILL: u32 = 1;
const NO_KEY: u32 = 2;

pub(super) struct ConsistentHashing {
    pub(super) seed: u64,
    pub(super) ring: Ring,
    /// By request: its key, if it has one.
    pub(super) keys: Vec<Option<u64>>,
    pub(super) loads: Loads,
    /// The most load of a replica, as a multiple of the mean.
    pub(super) max_load_skew: Option<f64>,
}

impl ConsistentHashing {
    fn fits(&self, replica: u32) -> bool {
        let Some(skew) = self.max_load_skew else { return true };
        let mean = self.loads.total() as f64 / f64::from(self.loads.replicas());
        self.loads.total() == 0 || self.loads.of(replica) as f64 <= mean * skew
    }
}

impl Native for ConsistentHashing {
    fn reasons(&self) -> &'static [&'static str] {
        &["key", "key, next with room", "no key, draw"]
    }

    fn pick(&mut self, request: u32, _now_ps: i64, _fleet: &Fleet) -> Pick {
        let pick = match self.keys[request as usize] {
            None => Pick::new(any(self.seed, request, self.loads.replicas()), NO_KEY),
            Some(key) => {
                let preferred = self.ring.first(key);
                let replica = self.ring.from(key).find(|&replica| self.fits(replica)).unwrap_or(preferred);
                Pick::new(replica, if replica == preferred { HIT } else { SPILL })
            }
        };
        if self.max_load_skew.is_some() {
            self.loads.add(pick.replica, 1);
        }
        pick
    }

    fn ended(&mut self, _request: u32, replica: u32) {
        if self.max_load_skew.is_some() {
            self.loads.remove(replica, 1);
        }
    }
}
