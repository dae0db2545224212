//! Of a pipeline: micro-batches that take turns, and runs of passes in which all of them only decode.

use super::Pass;
use crate::decode_set::DecodeSet;
use crate::step_time::Features;

/// Micro-batch `pass` modulo their number decides and ends pass number `pass`, from 0 on. A *quiet* pass does
/// nothing but decode the rows that decode now.
pub trait Turns<'a> {
    fn micro_batches(&self) -> u64;

    /// The decode set of the micro-batch of a pass, and its counter.
    fn batch_of(&self, pass: u64) -> (&DecodeSet<'a>, u64);

    /// What comes next is the decision or the results of this pass.
    fn turn_to(&mut self, pass: u64);

    /// How many passes from number `pass` on, which is decided next, are certain to be quiet, as far as can be
    /// seen without any result that is still to come.
    fn quiet_passes(&self, pass: u64) -> i64;

    /// `passes` quiet passes are decided, number `pass` first.
    fn skip(&mut self, pass: u64, passes: i64);

    /// The results of a quiet pass are in at `results_ps`: `gap_ps` after those of the last pass of its
    /// micro-batch.
    fn skip_results(&mut self, pass: u64, results_ps: i64, gap_ps: i64);

    /// When a pass starts in the first stage, and how long it takes to its results.
    fn log_times(&mut self, pass: &Pass, start_ps: i64, time_ps: i64);

    /// Whether the last decision, though no pass came of it, took rows out of the batch.
    fn has_taken_out(&self) -> bool {
        false
    }

    /// What the next pass of the micro-batch of `pass` does if it is a quiet one.
    fn quiet_features(&self, pass: u64) -> Features {
        let (decoding, k) = self.batch_of(pass);
        if decoding.is_empty() {
            return Features::default();
        }
        let longest = decoding.longest(k + 1, &[]);
        Features::decode(decoding.len() as i64, decoding.context(k + 1)).with_longest(longest)
    }

    /// Makes `pass` what is under way as number `number`, the last quiet pass of its micro-batch.
    fn quiet_pass(&self, number: u64, pass: &mut Pass) {
        let (decoding, k) = self.batch_of(number);
        pass.clear();
        pass.begin_step(&self.quiet_features(number), 0);
        (pass.serial, pass.decoding, pass.given) = (k, decoding.len() as i64, decoding.len() as i64);
    }

    /// Passes from number `pass` on, `most` at the most, up to the first that may end a row; none if nobody decodes.
    fn passes_to_an_end(&self, pass: u64, most: i64) -> i64 {
        let count = self.micro_batches() as i64;
        let until = |ahead: i64| {
            let (decoding, k) = self.batch_of(pass + ahead as u64);
            let left = decoding.first_finish()? as i64 - k as i64;
            Some(if left > 0 { ahead + (left - 1) * count + 1 } else { 0 })
        };
        (0..count).filter_map(until).min().map_or(0, |passes| passes.min(most))
    }

    /// Blocks that `passes` quiet passes take, number `pass` first.
    fn demand_from(&self, pass: u64, passes: i64) -> i64 {
        let count = self.micro_batches() as i64;
        let of = |ahead: i64| {
            let (decoding, k) = self.batch_of(pass + ahead as u64);
            let its = (passes - ahead + count - 1) / count;
            if its > 0 && !decoding.is_empty() { decoding.demand(k, its) } else { 0 }
        };
        (0..count).map(of).sum()
    }

    /// As many of `passes` quiet passes, number `pass` first, as take no more than `free` blocks.
    fn passes_that_fit(&self, pass: u64, passes: i64, free: i64) -> i64 {
        if self.demand_from(pass, passes) <= free {
            return passes;
        }
        let (mut fits, mut fails) = (0, passes);
        while fails - fits > 1 {
            let middle = fits + (fails - fits) / 2;
            if self.demand_from(pass, middle) <= free { fits = middle } else { fails = middle }
        }
        fits
    }
}

/// Micro-batches whose turn it is not; in the place of the one whose turn it is, nothing that counts.
pub(super) struct Parked<B> {
    pub(super) batches: Vec<B>,
    pub(super) turn: usize,
}

impl<B> Parked<B> {
    pub(super) fn new(count: u64, batch: impl Fn() -> B) -> Self {
        Parked { batches: (0..count).map(|_| batch()).collect(), turn: 0 }
    }

    /// The place of the micro-batch of a pass.
    pub(super) fn of(&self, pass: u64) -> usize {
        (pass % self.batches.len() as u64) as usize
    }

    /// The micro-batch of a pass, unless it is its turn.
    pub(super) fn elsewhere(&self, pass: u64) -> Option<&B> {
        let index = self.of(pass);
        (index != self.turn).then(|| &self.batches[index])
    }

    pub(super) fn others(&self) -> impl Iterator<Item = &B> {
        self.batches.iter().enumerate().filter(|&(index, _)| index != self.turn).map(|(_, batch)| batch)
    }

    pub(super) fn into_others(self) -> impl Iterator<Item = B> {
        let turn = self.turn;
        self.batches.into_iter().enumerate().filter(move |&(index, _)| index != turn).map(|(_, batch)| batch)
    }
}
