//! The SGLang Model Gateway's `cache_aware`: the replica that got most of the prompt before, if that
//! is more than a share of it; else, and whenever loads are out of balance, the one with the fewest
//! requests.

use super::loads::Loads;
use super::text_tree::TextTree;
use super::{Fleet, Native, Pick};
use crate::trace::Trace;

const MATCH: u32 = 0;
const NO_MATCH: u32 = 1;
const IMBALANCE: u32 = 2;

pub(super) struct CacheAware<'a> {
    pub(super) trace: &'a Trace,
    pub(super) block_size: u32,
    pub(super) cache_threshold: f64,
    pub(super) balance_abs_threshold: u64,
    pub(super) balance_rel_threshold: f64,
    /// Zero: nothing is ever evicted.
    pub(super) eviction_ps: i64,
    pub(super) max_tree_size: u64,
    pub(super) tree: TextTree<'a>,
    pub(super) loads: Loads,
    /// Evictions so far, at the multiples of `eviction_ps`.
    pub(super) evictions: i64,
}

impl CacheAware<'_> {
    fn evict_by(&mut self, now_ps: i64) {
        if self.eviction_ps > 0 && now_ps / self.eviction_ps > self.evictions {
            self.evictions = now_ps / self.eviction_ps;
            self.tree.evict(self.max_tree_size);
        }
    }

    fn out_of_balance(&self) -> bool {
        let ((least, _), most) = (self.loads.least(), self.loads.most());
        most - least > self.balance_abs_threshold && most as f64 > least as f64 * self.balance_rel_threshold
    }
}

impl Native for CacheAware<'_> {
    fn reasons(&self) -> &'static [&'static str] {
        &["longest match", "no match, fewest requests", "out of balance, fewest requests"]
    }

    fn pick(&mut self, request: u32, now_ps: i64, _fleet: &Fleet) -> Pick {
        self.evict_by(now_ps);
        let (_, least) = self.loads.least();
        let pick = if self.out_of_balance() {
            Pick::new(least, IMBALANCE)
        } else {
            let (blocks, replica) = self.tree.find(request).unwrap_or((0, least));
            let matched = blocks * self.block_size;
            let input = self.trace.input_tokens[request as usize];
            let enough = f64::from(matched) > self.cache_threshold * f64::from(input);
            let (replica, reason) = if enough { (replica, MATCH) } else { (least, NO_MATCH) };
            Pick { replica, reason, overlap_tokens: matched }
        };
        self.tree.insert(request, pick.replica);
        self.loads.add(pick.replica, 1);
        pick
    }

    fn ended(&mut self, _request: u32, replica: u32) {
        self.loads.remove(replica, 1);
    }
}
