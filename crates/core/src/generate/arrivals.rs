//! When sessions start: gaps of mean 1, stretched by a rate that changes over time.
//!
//! A process of unit rate is laid over the integral of the rate, so that any gaps go with any
//! curve: with exponential ones it is the non-homogeneous Poisson process.

use serde::Deserialize;

use super::draws::{Draws, Stream};
use super::portable;
use crate::workload::HORIZON_PS;

pub const PS_PER_S: f64 = 1e12;
/// A day's curve in straight pieces: within 0.004 % of the cosine.
const PIECES_A_DAY: u32 = 288;

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrivals {
    /// All at 0, for a closed loop to send one by one.
    AtOnce {},
    /// By themselves, from 0 on.
    Open { gaps: Gaps, rate: Rate },
}

/// Gaps of mean 1 with this coefficient of variation: gamma-distributed, 1 being exponential; none:
/// all alike.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gaps {
    pub cv: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Rate {
    Constant {
        per_s: f64,
    },
    /// Two rates in turn, the first first, for exponentially distributed times of these means.
    OnOff {
        on_per_s: f64,
        off_per_s: f64,
        on_s: f64,
        off_s: f64,
    },
    /// A cosine with its peak at `high_at_s`, repeated every `day_s`.
    Diurnal {
        low_per_s: f64,
        high_per_s: f64,
        high_at_s: f64,
        day_s: f64,
    },
    /// Each holds until the next, the last for ever.
    Steps {
        steps: Vec<Step>,
    },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub at_s: f64,
    pub rate_per_s: f64,
}

/// A stretch of time in which the rate goes straight from one value to another, in arrivals a
/// picosecond.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub end_ps: i64,
    pub from: f64,
    pub to: f64,
}

/// Turns gaps of mean 1 into times.
pub struct Clock<P> {
    pieces: P,
    piece: Piece,
    start_ps: i64,
    pub now_ps: i64,
}

impl<P: Iterator<Item = Piece>> Clock<P> {
    /// `pieces` go up to the horizon.
    pub fn new(mut pieces: P) -> Self {
        let piece = pieces.next().unwrap_or(Piece { end_ps: HORIZON_PS, from: 0.0, to: 0.0 });
        Clock { pieces, piece, start_ps: 0, now_ps: 0 }
    }

    /// The time by which `load` more arrivals are expected. None if that is beyond the horizon.
    pub fn advance(&mut self, mut load: f64) -> Option<i64> {
        loop {
            let Piece { end_ps, from, to } = self.piece;
            let slope = (to - from) / (end_ps - self.start_ps) as f64;
            let here = from + slope * (self.now_ps - self.start_ps) as f64;
            let left_ps = end_ps - self.now_ps;
            let capacity = (here + to) / 2.0 * left_ps as f64;
            if load <= capacity {
                // Where here·x + slope·x²/2 is the load.
                let gap_ps = if slope == 0.0 {
                    load / here
                } else {
                    2.0 * load / (here + (here * here + 2.0 * slope * load).max(0.0).sqrt())
                };
                let gap_ps = if load > 0.0 { gap_ps.round_ties_even() as i64 } else { 0 };
                self.now_ps += gap_ps.min(left_ps);
                return Some(self.now_ps);
            }
            load -= capacity;
            self.now_ps = end_ps;
            self.start_ps = end_ps;
            self.piece = self.pieces.next().filter(|piece| piece.end_ps > end_ps)?;
        }
    }
}

/// The pieces of a rate, up to the horizon.
pub fn pieces(rate: &Rate, seed: u64) -> Box<dyn Iterator<Item = Piece> + '_> {
    let level = |end_ps, per_s: f64| Piece { end_ps, from: per_s / PS_PER_S, to: per_s / PS_PER_S };
    match rate {
        Rate::Constant { per_s } => Box::new(std::iter::once(level(HORIZON_PS, *per_s))),
        Rate::Steps { steps } => Box::new(steps.iter().enumerate().map(move |(index, step)| {
            let end_ps = steps.get(index + 1).map_or(HORIZON_PS, |next| picoseconds(next.at_s));
            level(end_ps, step.rate_per_s)
        })),
        Rate::OnOff { on_per_s, off_per_s, on_s, off_s } => {
            let draws = Draws::new(seed, Stream::Phases);
            let mut end_ps = 0;
            Box::new((0..).map_while(move |phase| {
                let (mean_s, per_s) = if phase % 2 == 0 { (on_s, on_per_s) } else { (off_s, off_per_s) };
                let lasts_ps = picoseconds(draws.exponential(phase) * mean_s).max(1);
                (end_ps < HORIZON_PS).then(|| {
                    end_ps = (end_ps + lasts_ps).min(HORIZON_PS);
                    level(end_ps, *per_s)
                })
            }))
        }
        Rate::Diurnal { low_per_s, high_per_s, high_at_s, day_s } => {
            let knot_s = move |knot: u64| knot as f64 * (day_s / f64::from(PIECES_A_DAY));
            let at = move |knot: u64| {
                let wave = portable::cos_of_turns((knot_s(knot) - high_at_s) / day_s);
                (low_per_s + (high_per_s - low_per_s) * (0.5 + 0.5 * wave)).max(0.0) / PS_PER_S
            };
            Box::new((0..).map_while(move |knot| {
                let end_ps = picoseconds(knot_s(knot + 1)).min(HORIZON_PS);
                (picoseconds(knot_s(knot)) < HORIZON_PS).then(|| Piece { end_ps, from: at(knot), to: at(knot + 1) })
            }))
        }
    }
}

pub fn picoseconds(seconds: f64) -> i64 {
    (seconds * PS_PER_S).round_ties_even().min(HORIZON_PS as f64) as i64
}

/// Gaps of mean 1.
pub struct GapSource {
    draws: Draws,
    cv: Option<f64>,
}

impl GapSource {
    pub fn new(gaps: &Gaps, seed: u64) -> Self {
        GapSource { draws: Draws::new(seed, Stream::Arrivals), cv: gaps.cv }
    }

    pub fn draw(&self, ordinal: u64) -> f64 {
        match self.cv {
            None => 1.0,
            Some(1.0) => self.draws.exponential(ordinal),
            Some(cv) => {
                let shape = 1.0 / (cv * cv);
                self.draws.gamma(ordinal, shape) / shape
            }
        }
    }
}
