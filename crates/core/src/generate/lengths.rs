//! Numbers of tokens, turns and milliseconds.

use serde::Deserialize;

use super::draws::{Chooser, Draws, Stream};
use super::portable;
use crate::workload::TOKENS_MAX;

/// The 99th percentile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326_347_874_040_841;

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Lengths {
    Constant {
        value: u32,
    },
    /// Lognormal with this median and 99th percentile, rounded, then cut to `min` and `max`.
    Lognormal {
        p50: f64,
        p99: f64,
        #[serde(default = "one")]
        min: u32,
        #[serde(default = "most")]
        max: u32,
    },
    /// One of these, each as likely as its weight; without weights, all alike.
    Empirical {
        values: Vec<u32>,
        weights: Option<Vec<f64>>,
    },
}

fn one() -> u32 {
    1
}

fn most() -> u32 {
    TOKENS_MAX
}

/// Draws lengths.
pub struct LengthSource {
    draws: Draws,
    shape: Shape,
    /// How many were below or above.
    pub cut: u64,
}

enum Shape {
    Constant(u32),
    Lognormal { median: f64, sigma: f64, least: u32, most: u32 },
    Empirical { values: Vec<u32>, weights: Option<Chooser> },
}

impl LengthSource {
    pub fn new(lengths: &Lengths, seed: u64, stream: Stream) -> Self {
        let shape = match lengths {
            Lengths::Constant { value } => Shape::Constant(*value),
            Lengths::Lognormal { min, max, .. } if min == max => Shape::Constant(*min),
            Lengths::Lognormal { p50, p99, min, max } => {
                Shape::Lognormal { median: *p50, sigma: portable::ln(p99 / p50) / NORMAL_P99, least: *min, most: *max }
            }
            Lengths::Empirical { values, weights } => Shape::Empirical {
                values: values.clone(),
                weights: weights.as_ref().map(|weights| Chooser::new(weights.iter().copied())),
            },
        };
        LengthSource { draws: Draws::new(seed, stream), shape, cut: 0 }
    }

    pub fn draw(&mut self, ordinal: u64) -> u32 {
        match &self.shape {
            Shape::Constant(value) => *value,
            Shape::Lognormal { median, sigma, least, most } => {
                let length = median * portable::exp(sigma * self.draws.normal(ordinal));
                let length = length.round_ties_even();
                let within = length.clamp(f64::from(*least), f64::from(*most));
                self.cut += u64::from(within != length);
                within as u32
            }
            Shape::Empirical { values, weights: None } => {
                values[self.draws.index(ordinal, values.len() as u64) as usize]
            }
            Shape::Empirical { values, weights: Some(weights) } => values[weights.choose(self.draws.uniform(ordinal))],
        }
    }
}
