//! The SGLang Model Gateway's `prefix_hash`: a ring of hashes over the first tokens of prompts; a
//! replica above a multiple of the mean load gives way to the least loaded one.

use super::contents::prefix_key;
use super::loads::Loads;
use super::ring::Ring;
use super::{Fleet, Native, Pick};
use crate::trace::Trace;

const HIT: u32 = 0;
const OVERLOADED: u32 = 1;

pub(super) struct PrefixHash<'a> {
    pub(super) trace: &'a Trace,
    pub(super) prefix_tokens: u32,
    pub(super) load_factor: f64,
    pub(super) ring: Ring,
    pub(super) loads: Loads,
}

impl PrefixHash<'_> {
    /// Whether a load is at most `load_factor` times the mean, the request that is to be sent included.
    fn fits(&self, load: u64) -> bool {
        let total = self.loads.total();
        let mean = (total + 1) as f64 / f64::from(self.loads.replicas());
        total == 0 || load as f64 <= mean * self.load_factor
    }
}

impl Native for PrefixHash<'_> {
    fn reasons(&self) -> &'static [&'static str] {
        &["prefix", "prefix's replica overloaded"]
    }

    fn pick(&mut self, request: u32, _now_ps: i64, _fleet: &Fleet) -> Pick {
        let preferred = self.ring.first(prefix_key(self.trace, request, self.prefix_tokens));
        let pick = if self.fits(self.loads.of(preferred)) {
            Pick::new(preferred, HIT)
        } else {
            let (least, replica) = self.loads.least();
            Pick::new(if self.fits(least) { replica } else { preferred }, OVERLOADED)
        };
        self.loads.add(pick.replica, 1);
        pick
    }

    fn ended(&mut self, _request: u32, replica: u32) {
        self.loads.remove(replica, 1);
    }
}
