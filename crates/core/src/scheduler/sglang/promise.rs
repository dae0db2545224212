//! What the batch is expected to take yet, without looking at its rows.

use std::collections::BTreeSet;

/// SGLang's CLIP_MAX_NEW_TOKENS: no request is expected to take more.
pub(super) const CLIP_TOKENS: i64 = 4096;

/// The sum over decoding rows of min(limit − tokens given, [`CLIP_TOKENS`]).
///
/// Of a row, the limit is reached when the counter k comes to `at`, so `at − k` tokens are left.
#[derive(Clone, Debug, Default)]
pub(super) struct Promises {
    near: i64,
    near_at: i64,
    /// Rows with more tokens left than are counted.
    far: BTreeSet<(i64, u32)>,
}

impl Promises {
    pub(super) fn insert(&mut self, at: i64, slot: u32, k: u64) {
        // One less: with overlap, a token may not be known of yet.
        if at - k as i64 >= CLIP_TOKENS {
            self.far.insert((at, slot));
        } else {
            self.near += 1;
            self.near_at += at;
        }
    }

    pub(super) fn remove(&mut self, at: i64, slot: u32) {
        if !self.far.remove(&(at, slot)) {
            self.near -= 1;
            self.near_at -= at;
        }
    }

    pub(super) fn sum(&mut self, k: u64) -> i64 {
        while let Some(&(at, _)) = self.far.first()
            && at - k as i64 <= CLIP_TOKENS
        {
            self.far.pop_first();
            self.near += 1;
            self.near_at += at;
        }
        self.near_at - self.near * k as i64 + self.far.len() as i64 * CLIP_TOKENS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_rows() {
        let rows = [(5_i64, 0_u32), (4097, 1), (9000, 2), (9000, 3)];
        let mut promises = Promises::default();
        rows.iter().for_each(|&(at, slot)| promises.insert(at, slot, 0));
        let expected = |k: i64| rows.iter().map(|&(at, _)| (at - k).min(CLIP_TOKENS)).sum::<i64>();
        for k in [0, 1, 2, 4903, 4904, 4905, 6000] {
            assert_eq!(promises.sum(k as u64), expected(k), "{k}");
        }
        promises.remove(9000, 2);
        assert_eq!(promises.sum(6000), expected(6000) - 3000);
    }
}
