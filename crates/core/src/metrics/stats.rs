//! Mean, spread and percentiles of samples.

use super::options::Statistic;

/// The percentiles shown, ascending.
pub const PERCENTS: [u64; 4] = [50, 90, 95, 99];

/// Undefined, but for the count, if there are no samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    pub count: u64,
    pub mean: f64,
    pub min: f64,
    pub max: f64,
    /// Of the samples themselves, not an estimate for a larger population.
    pub std: f64,
    /// As `PERCENTS`.
    pub percentiles: [f64; 4],
}

impl Stats {
    /// Of `samples`, divided by `unit`. Leaves them in another order.
    pub fn of(samples: &mut [f64], unit: f64) -> Stats {
        if samples.is_empty() {
            return Stats::default();
        }
        let count = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / count;
        let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / count;
        let percentiles = percentiles(samples, samples.len() as u64);
        Stats {
            count: samples.len() as u64,
            mean: mean / unit,
            min: samples.iter().copied().fold(f64::INFINITY, f64::min) / unit,
            max: samples.iter().copied().fold(f64::NEG_INFINITY, f64::max) / unit,
            std: variance.sqrt() / unit,
            percentiles: percentiles.map(|value| value / unit),
        }
    }

    /// The same with `endless` samples more, each longer than any number: what they make infinite is.
    pub fn with_endless(samples: &mut [f64], endless: u64, unit: f64) -> Stats {
        let stats = Stats::of(samples, unit);
        if endless == 0 || stats.count == 0 {
            return stats;
        }
        let count = stats.count + endless;
        let percentiles = percentiles(samples, count).map(|value| value / unit);
        let (mean, max, std) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
        Stats { count, mean, max, std, percentiles, ..stats }
    }

    pub fn get(&self, statistic: Statistic) -> Option<f64> {
        (self.count > 0).then_some(match statistic {
            Statistic::Mean => self.mean,
            Statistic::Min => self.min,
            Statistic::Max => self.max,
            Statistic::Std => self.std,
            Statistic::P50 => self.percentiles[0],
            Statistic::P90 => self.percentiles[1],
            Statistic::P95 => self.percentiles[2],
            Statistic::P99 => self.percentiles[3],
        })
    }
}

/// Where the percentile lies among `count` samples in order: the rank below it, from 0, and how
/// far it is from there to the next.
pub fn position(percent: u64, count: u64) -> (u64, f64) {
    let hundredths = u128::from(percent) * u128::from(count - 1);
    ((hundredths / 100) as u64, (hundredths % 100) as f64 / 100.0)
}

pub fn interpolate(below: f64, above: f64, share: f64) -> f64 {
    below + (above - below) * share
}

/// Of `count` samples, those beyond `samples` being infinite. Selects instead of sorting: each percentile looks only
/// at what lies above the one before it.
fn percentiles(samples: &mut [f64], count: u64) -> [f64; 4] {
    let mut rest = samples;
    let mut dropped = 0;
    PERCENTS.map(|percent| {
        let (rank, share) = position(percent, count);
        let rank = rank as usize;
        if rank - dropped >= rest.len() {
            return f64::INFINITY;
        }
        let (_, &mut below, above) = rest.select_nth_unstable_by(rank - dropped, f64::total_cmp);
        let next = above.iter().copied().fold(f64::INFINITY, f64::min);
        let value = if share > 0.0 { interpolate(below, next, share) } else { below };
        // The next rank may be the same one, so it stays.
        rest = &mut std::mem::take(&mut rest)[rank - dropped..];
        dropped = rank;
        value
    })
}
