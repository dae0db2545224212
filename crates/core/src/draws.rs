//! Tokens that verifying passes give: one table a run, from which every request reads at its own place.
//!
//! Sums over consecutive outcomes are differences of prefix sums, so that the tokens a request has
//! after any number of passes, and the pass in which it ends, are found without going through them.

use crate::random;

/// The most outcomes that are read in one piece.
pub const PIECE: usize = 256;

/// What the draws of a seed are for.
const ORDER: u64 = 0;
const START: u64 = 1;

#[derive(Clone, Debug)]
pub struct Draws {
    seed: u64,
    outcomes: u64,
    /// Tokens of each outcome: the accepted drafts, and one more. The first [`PIECE`] once more at the end.
    tokens: Vec<u8>,
    /// Tokens of the outcomes before each, and of all.
    sums: Vec<u32>,
}

impl Draws {
    /// A table in which `counts[a]` outcomes accept `a` drafts, or `most` if that is less, in an
    /// order drawn from `seed`: Fisher and Yates's, from the last place down.
    pub fn new(counts: &[u32], most: u32, seed: u64) -> Self {
        let accepted = counts.iter().enumerate().flat_map(|(drafts, &count)| (0..count).map(move |_| drafts as u32));
        let mut tokens: Vec<u8> = accepted.map(|accepted| (accepted.min(most) + 1) as u8).collect();
        let outcomes = tokens.len() as u64;
        for place in (1..outcomes).rev() {
            let other = random::draw(seed, &[ORDER, place]) % (place + 1);
            tokens.swap(place as usize, other as usize);
        }
        let mut sums = vec![0];
        sums.extend(tokens.iter().scan(0, |sum, &tokens| {
            *sum += u32::from(tokens);
            Some(*sum)
        }));
        let again: Vec<u8> = tokens.iter().copied().cycle().take(PIECE).collect();
        tokens.extend(again);
        Draws { seed, outcomes, tokens, sums }
    }

    /// Where a request starts.
    pub fn start(&self, request: u32) -> u64 {
        random::draw(self.seed, &[START, u64::from(request)]) % self.outcomes
    }

    /// The number that, with `k` added, is read as `place`.
    pub fn before(&self, place: u64, k: u64) -> u64 {
        (place % self.outcomes + self.outcomes - k % self.outcomes) % self.outcomes
    }

    /// Tokens of one outcome.
    pub fn at(&self, place: u64) -> u32 {
        u32::from(self.tokens[(place % self.outcomes) as usize])
    }

    /// Tokens of the outcomes before `place`; after the last comes the first.
    pub fn total(&self, place: u64) -> i64 {
        if place < self.outcomes {
            return i64::from(self.sums[place as usize]);
        }
        let (rounds, rest) = (place / self.outcomes, place % self.outcomes);
        rounds as i64 * i64::from(self.sums[self.outcomes as usize]) + i64::from(self.sums[rest as usize])
    }

    /// The least number of outcomes from `place` on that give at least `tokens`.
    pub fn passes_for(&self, place: u64, tokens: i64) -> u64 {
        if tokens <= 0 {
            return 0;
        }
        let place = place % self.outcomes;
        let wanted = self.total(place) + tokens;
        let round = i64::from(self.sums[self.outcomes as usize]);
        let rounds = (wanted - 1).div_euclid(round);
        let rest = wanted - rounds * round;
        let within = self.sums.partition_point(|&sum| i64::from(sum) < rest) as u64;
        rounds as u64 * self.outcomes + within - place
    }

    /// Adds the tokens of consecutive outcomes to `sums`, at most [`PIECE`] of them.
    pub fn add_to(&self, place: u64, sums: &mut [u32]) {
        let place = (place % self.outcomes) as usize;
        let piece = self.tokens[place..].iter().take(sums.len());
        debug_assert_eq!(piece.len(), sums.len());
        sums.iter_mut().zip(piece).for_each(|(sum, &tokens)| *sum += u32::from(tokens));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_come_as_often_as_they_should() {
        let draws = Draws::new(&[5, 0, 2, 1], 3, 7);
        let mut tokens: Vec<u32> = (0..8).map(|place| draws.at(place)).collect();
        tokens.sort_unstable();
        assert_eq!(tokens, [1, 1, 1, 1, 1, 3, 3, 4]);
        let off = Draws::new(&[5, 0, 2, 1], 0, 7);
        assert!((0..20).all(|place| off.at(place) == 1));
        assert_eq!(off.total(19), 19);
    }

    #[test]
    fn sums_are_those_of_single_outcomes() {
        let draws = Draws::new(&[3, 4, 2], 2, 1);
        for place in [0, 1, 5, 8, 9, 23] {
            let (mut sum, mut sums) = (0, vec![10; PIECE]);
            draws.add_to(place, &mut sums);
            for passes in 0..40 {
                assert_eq!(draws.total(place + passes) - draws.total(place), sum);
                assert_eq!(draws.passes_for(place, -sum), 0);
                assert_eq!(sums[passes as usize], 10 + draws.at(place + passes));
                for tokens in sum + 1..=sum + i64::from(draws.at(place + passes)) {
                    assert_eq!(draws.passes_for(place, tokens), passes + 1);
                }
                sum += i64::from(draws.at(place + passes));
            }
        }
        for (place, k) in [(0, 0), (7, 3), (2, 100)] {
            assert_eq!(draws.at(draws.before(place, k) + k), draws.at(place));
        }
    }
}
