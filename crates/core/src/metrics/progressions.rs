//! Statistics of numbers given as arithmetic progressions, exact and without writing them out.

use super::stats::{PERCENTS, Stats, interpolate, position};
use crate::record::Gaps;

/// `count` values from `first` up, `step` apart, each `weight` times.
#[derive(Clone, Copy, Debug)]
struct Part {
    first: i64,
    step: i64,
    count: i64,
    weight: i64,
}

impl Part {
    fn new(gaps: &Gaps) -> Self {
        let Gaps { start_ps, step_ps, count, weight } = *gaps;
        match step_ps {
            0 => Part { first: start_ps, step: 0, count: 1, weight: weight * count },
            1.. => Part { first: start_ps, step: step_ps, count, weight },
            _ => Part { first: start_ps + step_ps * (count - 1), step: -step_ps, count, weight },
        }
    }

    fn last(&self) -> i64 {
        self.first + self.step * (self.count - 1)
    }

    /// How many of its values are at most `bound`, each counted once.
    fn up_to(&self, bound: i64) -> i64 {
        if bound >= self.last() {
            self.count
        } else if bound < self.first {
            0
        } else {
            (bound - self.first) / self.step + 1
        }
    }

    fn total(&self) -> u64 {
        (self.count * self.weight) as u64
    }
}

/// Of all gaps, divided by `unit`.
pub fn stats(gaps: &[Gaps], unit: f64) -> Stats {
    let mut range = Range { parts: Vec::with_capacity(gaps.len()), ..Range::default() };
    gaps.iter().filter(|gaps| gaps.count > 0 && gaps.weight > 0).for_each(|gaps| range.push(Part::new(gaps)));
    let Range { low, high, total: count, .. } = range;
    if count == 0 {
        return Stats::default();
    }
    let sum: i128 = range.parts.iter().map(sum).sum();
    let mean = (sum / i128::from(count)) as f64 + (sum % i128::from(count)) as f64 / count as f64;
    let squares: f64 = range.parts.iter().map(|part| squares_about(part, mean)).sum();

    let positions = PERCENTS.map(|percent| position(percent, count));
    let mut ranks: Vec<u64> = positions.iter().flat_map(|&(rank, _)| [rank, (rank + 1).min(count - 1)]).collect();
    ranks.sort_unstable();
    ranks.dedup();
    let mut values = Vec::with_capacity(ranks.len());
    range.select(&ranks, 0, &mut values);
    let value = |rank: u64| values[ranks.partition_point(|&other| other < rank)] as f64;
    Stats {
        count,
        mean: mean / unit,
        min: low as f64 / unit,
        max: high as f64 / unit,
        std: (squares / count as f64).sqrt() / unit,
        percentiles: positions
            .map(|(rank, share)| interpolate(value(rank), value((rank + 1).min(count - 1)), share) / unit),
    }
}

fn sum(part: &Part) -> i128 {
    let (first, step, count) = (i128::from(part.first), i128::from(part.step), i128::from(part.count));
    i128::from(part.weight) * (first * count + step * (count * (count - 1) / 2))
}

/// The sum of squared differences from `mean`.
fn squares_about(part: &Part, mean: f64) -> f64 {
    // About the middle of a progression, its values are symmetric.
    let count = part.count as f64;
    let middle = part.first as f64 + part.step as f64 * (count - 1.0) / 2.0;
    let spread = (part.step as f64).powi(2) * count * (count * count - 1.0) / 12.0;
    part.weight as f64 * (count * (middle - mean).powi(2) + spread)
}

/// Some parts, and what is known of all their values.
struct Range {
    parts: Vec<Part>,
    low: i64,
    high: i64,
    /// How many values there are.
    total: u64,
}

impl Default for Range {
    fn default() -> Self {
        Range { parts: Vec::new(), low: i64::MAX, high: i64::MIN, total: 0 }
    }
}

impl Range {
    fn push(&mut self, part: Part) {
        self.low = self.low.min(part.first);
        self.high = self.high.max(part.last());
        self.total += part.total();
        self.parts.push(part);
    }

    /// Appends the values at `ranks`, ascending, where the smallest value here has rank `first`.
    ///
    /// Cuts the values into buckets and looks further only into those that hold a rank.
    fn select(&self, mut ranks: &[u64], mut first: u64, values: &mut Vec<i64>) {
        if self.low == self.high {
            values.extend(ranks.iter().map(|_| self.low));
            return;
        }
        let bounds = self.bounds();
        let mut totals = vec![0; bounds.len()];
        for part in &self.parts {
            cut(*part, &bounds, |bucket, piece| totals[bucket] += piece.total());
        }
        let mut inside: Vec<(u64, &[u64])> = Vec::with_capacity(bounds.len());
        for total in totals {
            let (here, later) = ranks.split_at(ranks.partition_point(|&rank| rank < first + total));
            inside.push((first, here));
            ranks = later;
            first += total;
        }
        let mut ranges: Vec<Option<Range>> =
            inside.iter().map(|(_, ranks)| (!ranks.is_empty()).then(Range::default)).collect();
        for part in &self.parts {
            cut(*part, &bounds, |bucket, piece| {
                if let Some(range) = &mut ranges[bucket] {
                    range.push(piece);
                }
            });
        }
        for (range, (first, ranks)) in ranges.into_iter().zip(inside) {
            if let Some(range) = range {
                range.select(ranks, first, values);
            }
        }
    }

    /// The greatest value of each bucket, ascending. A few of the parts give buckets of about equal
    /// work, and the middle of the range a bound to how often it can be cut.
    fn bounds(&self) -> Vec<i64> {
        const SAMPLES: usize = 32;
        let stride = self.parts.len().div_ceil(SAMPLES);
        let middles = self.parts.iter().step_by(stride).map(|part| part.first + part.step * (part.count / 2));
        let mut bounds: Vec<i64> = middles.filter(|&bound| bound < self.high).collect();
        bounds.extend([self.low + (self.high - self.low) / 2, self.high]);
        bounds.sort_unstable();
        bounds.dedup();
        bounds
    }
}

/// Hands out the pieces of `part` bucket by bucket.
fn cut(mut part: Part, bounds: &[i64], mut piece: impl FnMut(usize, Part)) {
    let mut bucket = bounds.partition_point(|&bound| bound < part.first);
    loop {
        let count = part.up_to(bounds[bucket]);
        if count == part.count {
            return piece(bucket, part);
        }
        if count > 0 {
            piece(bucket, Part { count, ..part });
            part.first += part.step * count;
            part.count -= count;
        }
        bucket += 1;
    }
}
