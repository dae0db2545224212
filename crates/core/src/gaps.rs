//! Gaps between tokens, kept as arithmetic progressions.

use crate::record::Gaps;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

/// Bits kept of a gap once a list is too long: an error of at most 2^-13, 0.012 %.
const KEPT_BITS: u32 = 13;

/// The list is the same however a sequence of passes is cut into stretches: each gap joins the
/// last progression if it continues it. So leaping and stepping leave the same list.
#[derive(Clone, Debug)]
pub struct GapList {
    list: Vec<Gaps>,
    limit: usize,
    folded: HashMap<i64, i64, FxBuildHasher>,
    /// Gaps between tokens that come in one burst: 0, and no other gap is.
    within_bursts: i64,
}

impl GapList {
    /// Beyond `limit` progressions, the list is folded into buckets.
    pub fn new(limit: usize) -> Self {
        GapList { list: Vec::new(), limit, folded: HashMap::default(), within_bursts: 0 }
    }

    /// `count` gaps of `first`, `first + step`, ..., of `weight` rows each.
    pub fn push(&mut self, first: i64, step: i64, count: i64, weight: i64) {
        // Three gaps settle the step of the last progression; the others continue it.
        let alone = count.min(3);
        for index in 0..alone {
            self.push_one(first + step * index, weight);
        }
        if count > alone
            && weight > 0
            && let Some(last) = self.list.last_mut()
        {
            last.count += count - alone;
        }
    }

    pub fn push_one(&mut self, gap: i64, weight: i64) {
        if weight == 0 {
            return;
        }
        if let Some(last) = self.list.last_mut()
            && last.weight == weight
        {
            if last.count == 1 {
                last.step_ps = gap - last.start_ps;
                last.count = 2;
                return;
            }
            if gap == last.start_ps + last.step_ps * last.count {
                last.count += 1;
                return;
            }
        }
        if self.list.len() >= self.limit {
            self.fold();
        }
        self.list.push(Gaps { start_ps: gap, step_ps: 0, count: 1, weight });
    }

    /// `count` gaps between tokens that come at once.
    pub fn push_within_bursts(&mut self, count: i64) {
        self.within_bursts += count;
    }

    fn fold(&mut self) {
        for gaps in self.list.drain(..) {
            for index in 0..gaps.count {
                let gap = gaps.start_ps + gaps.step_ps * index;
                let dropped = (64 - gap.max(0).leading_zeros()).saturating_sub(KEPT_BITS);
                let middle = if dropped == 0 { 0 } else { 1 << (dropped - 1) };
                *self.folded.entry((gap >> dropped << dropped) + middle).or_default() += gaps.weight;
            }
        }
    }

    /// All gaps, the folded ones in order of size first.
    pub fn finish(self) -> Vec<Gaps> {
        let mut all: Vec<Gaps> =
            self.folded.into_iter().map(|(gap, weight)| Gaps { start_ps: gap, step_ps: 0, count: 1, weight }).collect();
        all.sort_unstable_by_key(|gaps| gaps.start_ps);
        all.extend(self.list);
        if self.within_bursts > 0 {
            all.push(Gaps { start_ps: 0, step_ps: 0, count: 1, weight: self.within_bursts });
        }
        all
    }
}
