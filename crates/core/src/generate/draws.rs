//! Random numbers of the generators: each from its own stream, by what it is for.

use super::portable;
use crate::random::draw;

/// One a subsystem: what one of them draws does not depend on another's options.
#[derive(Clone, Copy)]
pub enum Stream {
    Arrivals = 1,
    InputTokens,
    OutputTokens,
    Sharing,
    Group,
    Class,
    /// The classes after the first have seeds of their own.
    ClassSeed,
    Phases,
    Turns,
    NewTokens,
    ThinkTime,
    /// Where in a trace a stretch of look-alikes is drawn from.
    Stretches,
    Thin,
    Resample,
}

/// Draws of one subsystem.
#[derive(Clone, Copy)]
pub struct Draws {
    seed: u64,
    stream: Stream,
}

impl Draws {
    pub fn new(seed: u64, stream: Stream) -> Self {
        Draws { seed, stream }
    }

    pub fn bits(&self, ordinal: u64) -> u64 {
        draw(self.seed, &[self.stream as u64, ordinal])
    }

    /// From above 0 to 1, in steps of 2^-53.
    pub fn uniform(&self, ordinal: u64) -> f64 {
        uniform(self.bits(ordinal))
    }

    /// From 0 to `below` - 1.
    pub fn index(&self, ordinal: u64, below: u64) -> u64 {
        ((u128::from(self.bits(ordinal)) * u128::from(below)) >> 64) as u64
    }

    /// The `which`-th number of several that one ordinal needs.
    fn nth(&self, ordinal: u64, which: u64) -> f64 {
        uniform(draw(self.seed, &[self.stream as u64, ordinal, which]))
    }

    /// Of mean 1.
    pub fn exponential(&self, ordinal: u64) -> f64 {
        -portable::ln(self.uniform(ordinal))
    }

    /// A standard normal number by the polar method (Marsaglia, 1962).
    pub fn normal(&self, ordinal: u64) -> f64 {
        self.normal_from(ordinal, 0).0
    }

    /// From the `first`-th number on; and how many pairs it took.
    fn normal_from(&self, ordinal: u64, first: u64) -> (f64, u64) {
        for attempt in 0.. {
            let number = |which: u64| 2.0 * self.nth(ordinal, first + 2 * attempt + which) - 1.0;
            let (x, y) = (number(0), number(1));
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return (x * (-2.0 * portable::ln(square) / square).sqrt(), attempt + 1);
            }
        }
        unreachable!("more than three of four attempts succeed")
    }

    /// A gamma number of this shape and scale 1 (Marsaglia, Tsang: A simple method for generating
    /// gamma variables, 2000; below shape 1 by their power of a uniform number).
    pub fn gamma(&self, ordinal: u64, shape: f64) -> f64 {
        let (boost, shape) = if shape < 1.0 {
            (portable::exp(portable::ln(self.nth(ordinal, 0)) / shape), shape + 1.0)
        } else {
            (1.0, shape)
        };
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        let mut which = 1;
        loop {
            let (x, pairs) = self.normal_from(ordinal, which);
            let u = self.nth(ordinal, which + 2 * pairs);
            which += 2 * pairs + 1;
            let cube = 1.0 + c * x;
            let v = cube * cube * cube;
            if v > 0.0 && portable::ln(u) < 0.5 * x * x + d - d * v + d * portable::ln(v) {
                return boost * d * v;
            }
        }
    }
}

fn uniform(bits: u64) -> f64 {
    ((bits >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// Chooses among weights by their sums.
#[derive(Clone, Debug)]
pub struct Chooser {
    sums: Vec<f64>,
}

impl Chooser {
    /// `weights`: none negative, some above 0.
    pub fn new(weights: impl Iterator<Item = f64>) -> Self {
        let mut total = 0.0;
        let sum = |weight| {
            total += weight;
            total
        };
        Chooser { sums: weights.map(sum).collect() }
    }

    /// `chance`: above 0, at most 1.
    pub fn choose(&self, chance: f64) -> usize {
        let total = self.sums.last().copied().unwrap_or(0.0);
        let place = chance * total;
        self.sums.partition_point(|&sum| sum < place).min(self.sums.len() - 1)
    }
}
