//! More of the same: as many requests as wanted that look like those of a trace.
//!
//! The trace is taken apart into families (see [`families`]), each with its lengths, distances, turns
//! and inner sharing, as they are. New starts are drawn in stretches of time, each from near the same
//! place in the trace (the circular block bootstrap; Politis, Romano, 1992): so the rate changes as it
//! did, bursts and lulls stay, and so does what goes with them. After the trace's end its rates
//! repeat. Content that only one family holds is new in each copy; common beginnings stay shared by
//! all.

pub(crate) mod families;
pub(crate) mod rhythm;
mod ticks;

use serde::{Deserialize, Serialize};

use crate::error::InputError;
use crate::generate::{Draws, Stream};
use crate::trace::NONE;
use crate::transform::{Content, Parts, Pick, Selection, Unit, owners};
use crate::workload::{HORIZON_PS, Workload};
use families::Families;
use rhythm::Rhythm;

/// Different blocks that follow a common beginning, at least.
const COMMON_FROM: u32 = 16;
/// Starts in a stretch, on average.
const STRETCH_STARTS: usize = 50;
/// How far away, in stretches, a stretch may be drawn from.
const NEAR: i64 = 2;
const PS_PER_S: f64 = 1e12;
/// Times what arrives before the horizon on average: no draw comes near it.
const FAR_TOO_MANY: f64 = 8.0;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// None: whoever arrives before `duration_ps`.
    pub requests: Option<u32>,
    /// With `requests`, sets the rate: about so many arrive in it. Alone, it ends the workload.
    pub duration_ps: Option<i64>,
    pub seed: u64,
}

/// What was fitted to a trace.
#[derive(Debug)]
pub struct Model<'w> {
    source: &'w Workload,
    parts: Parts,
    owner: Vec<u32>,
    rhythm: Rhythm,
    stretch_ps: i64,
    common_blocks: u64,
    common_uses: u64,
}

/// The parameters, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Fit {
    pub source_sha256: String,
    pub source_requests: usize,
    /// After which rates repeat.
    pub cycle_s: Option<f64>,
    /// Of the time drawn at once, and how far from its own place.
    pub stretch_s: f64,
    pub near_s: f64,
    /// Times of the source's clock that new arrivals keep to; none where it ticks too finely to tell.
    pub ticks: Option<usize>,
    pub families: usize,
    pub requests_per_family: f64,
    pub largest_family: usize,
    /// Families of one request.
    pub alone: usize,
    /// Different blocks of beginnings that many families share, and their share of all blocks.
    pub common_blocks: u64,
    pub common_share: f64,
    /// What the source's rate was multiplied by.
    pub rate_factor: f64,
}

/// Generates requests like those of `source`.
///
/// # Errors
/// The options ask for nothing, for too much, or for a rate that the source does not have.
pub fn like(source: &Workload, options_json: &str) -> Result<Workload, InputError> {
    let options: Options =
        serde_json::from_str(options_json).map_err(|error| InputError::in_field("workload", error.to_string()))?;
    Model::new(source).generate(&options)
}

impl<'w> Model<'w> {
    pub fn new(source: &'w Workload) -> Self {
        let trace = &source.trace;
        let families = Families::new(trace, COMMON_FROM);
        let parts = Parts::new(&families.of_row, families.count);
        let rhythm = Rhythm::of(trace, &parts, families.count);
        let cycle_ps = rhythm.cycle_ps.unwrap_or(1);
        let stretches = (families.count / STRETCH_STARTS).max(1) as i64;
        Model {
            source,
            parts,
            owner: owners(trace, &families.of_row),
            rhythm,
            stretch_ps: (cycle_ps / stretches).max(1),
            common_blocks: families.common_blocks,
            common_uses: families.common_uses,
        }
    }

    /// # Errors
    /// As `like`.
    pub fn generate(&self, options: &Options) -> Result<Workload, InputError> {
        let factor = self.rate_factor(options)?;
        let end_ps = if options.requests.is_some() { None } else { options.duration_ps };
        let most = options.requests.map_or(NONE as usize - 1, |requests| requests as usize);
        let mut selection = Selection { owner: self.owner.clone(), anonymous: true, ..Selection::default() };
        let mut arrivals = Counted::default();
        let mut starts = self.starts(options.seed, factor);
        while arrivals.so_far < most {
            let Some((start_ps, family)) = starts.next() else {
                if end_ps.is_some() {
                    break;
                }
                return Err(too_long(most));
            };
            if end_ps.is_some_and(|end_ps| start_ps >= end_ps) {
                break;
            }
            arrivals.pass(start_ps);
            self.push_family(&mut selection, &mut arrivals, start_ps, family);
            if self.rhythm.cycle_ps.is_none() {
                arrivals.so_far = selection.picks.len(); // nobody comes later
            }
            if selection.picks.len() >= NONE as usize {
                return Err(InputError::in_field("duration_s", "more than 2^32 requests; shorten it"));
            }
        }
        selection.keep_first(&[self.source], most, end_ps);
        if selection.picks.is_empty() {
            return Err(InputError::in_field("duration_s", "nothing arrives in it; lengthen it"));
        }
        let fit = serde_json::to_value(self.fit(factor)).unwrap_or_default();
        let notes = serde_json::json!({
            "format": "like", "seed": options.seed, "rows": selection.picks.len(), "fit": fit,
        });
        selection.build(&[self.source], notes).map_err(|error| {
            let field = Some(if options.requests.is_some() { "requests" } else { "duration_s" }.to_owned());
            InputError { field, message: format!("{}; ask for less", error.message), ..error }
        })
    }

    fn rate_factor(&self, options: &Options) -> Result<f64, InputError> {
        if options.requests == Some(0) {
            return Err(InputError::in_field("requests", "0 asks for nothing"));
        }
        if options.duration_ps.is_some_and(|duration_ps| !(1..=HORIZON_PS).contains(&duration_ps)) {
            return Err(InputError::in_field("duration_s", "not above 0 and at most 100 days"));
        }
        match (options.requests, options.duration_ps, self.rhythm.cycle_ps) {
            (None, None, _) => Err(InputError::in_field("requests", "neither these nor a duration is given")),
            // Told before thousands of millions of arrivals are drawn.
            (Some(requests), None, Some(cycle_ps))
                if f64::from(requests) > FAR_TOO_MANY * self.expected(HORIZON_PS, cycle_ps) =>
            {
                Err(too_long(requests as usize))
            }
            (_, None, _) | (None, _, Some(_)) => Ok(1.0),
            (Some(requests), Some(duration_ps), Some(cycle_ps)) => {
                Ok(f64::from(requests) / self.expected(duration_ps, cycle_ps))
            }
            (_, Some(_), None) => {
                let message = "all sessions of the trace start at once: it has no rate; ask for requests only";
                Err(InputError::in_field("duration_s", message))
            }
        }
    }

    /// Requests in so long a time, at the trace's own rates.
    fn expected(&self, duration_ps: i64, cycle_ps: i64) -> f64 {
        self.source.trace.len() as f64 * (duration_ps as f64 / cycle_ps as f64)
    }

    /// How far from its own place a stretch may be drawn.
    fn near_ps(&self) -> i64 {
        self.stretch_ps.saturating_mul(NEAR).min(HORIZON_PS)
    }

    /// Which family starts when, up to the horizon.
    fn starts(&self, seed: u64, factor: f64) -> Box<dyn Iterator<Item = (i64, usize)> + '_> {
        let draws = Draws::new(seed, Stream::Stretches);
        let Some(cycle_ps) = self.rhythm.cycle_ps else {
            let count = self.rhythm.starts_ps.len() as u64;
            return Box::new((0..).map(move |start| (0, draws.index(start, count) as usize)));
        };
        // A stretch of the source, as long as it takes at the new rate.
        let length_ps = (self.stretch_ps as f64 / factor).max(1.0);
        let near_ps = self.near_ps();
        let froms = (0u64..).map(move |stretch| stretch as f64 * length_ps);
        let stretches = froms.take_while(|&from_ps| from_ps < HORIZON_PS as f64).zip(0..);
        let starts = stretches.flat_map(move |(from_ps, stretch)| {
            let from_ps = from_ps.round_ties_even() as i64;
            // As in the trace, somebody is there when it begins.
            let away_ps = match stretch {
                0 => 0,
                _ => i128::from(draws.index(stretch, 2 * near_ps as u64 + 1)) - i128::from(near_ps),
            };
            let source_ps = (i128::from(from_ps % cycle_ps) + away_ps).rem_euclid(cycle_ps.into()) as i64;
            self.starts_in(source_ps, cycle_ps).map(move |(after_ps, family)| {
                let after_ps =
                    if factor == 1.0 { after_ps } else { (after_ps as f64 / factor).round_ties_even() as i64 };
                (from_ps.saturating_add(after_ps), family)
            })
        });
        Box::new(starts.take_while(|&(start_ps, _)| start_ps <= HORIZON_PS))
    }

    /// The families of the stretch from `from_ps` on, and how long after it they start; round the end of the trace.
    fn starts_in(&self, from_ps: i64, cycle_ps: i64) -> impl Iterator<Item = (i64, usize)> + '_ {
        let at = |time_ps: i64| self.rhythm.starts_ps.partition_point(|&start_ps| start_ps < time_ps);
        let left_ps = cycle_ps - from_ps; // to the end of the trace
        let before_end = at(from_ps)..at(from_ps.saturating_add(self.stretch_ps));
        let beyond = 0..at(self.stretch_ps - left_ps);
        let before_end = before_end.map(move |family| (self.rhythm.starts_ps[family] - from_ps, family));
        before_end.chain(beyond.map(move |family| (self.rhythm.starts_ps[family] + left_ps, family)))
    }

    fn push_family(&self, selection: &mut Selection, arrivals: &mut Counted, start_ps: i64, family: usize) {
        let trace = &self.source.trace;
        let rows = self.parts.of(family);
        let shift_ps = start_ps - trace.arrival_ps[rows[0] as usize];
        for &row in rows {
            let mut time_ps = trace.arrival_ps[row as usize];
            if trace.is_root(row as usize) {
                time_ps = self.on_a_tick(time_ps.saturating_add(shift_ps));
                arrivals.at(time_ps);
            } else {
                arrivals.with_the_last();
            }
            selection.picks.push(Pick { row, time_ps });
        }
        let content = Content::FreshWhereOwned { part: family as u32 };
        selection.units.push(Unit { source: 0, end: selection.picks.len(), content, copy: 0 });
    }

    /// The last tick at or before `time_ps`.
    fn on_a_tick(&self, time_ps: i64) -> i64 {
        self.rhythm.cycle_ps.map_or(time_ps, |cycle_ps| self.rhythm.ticks.at(time_ps, cycle_ps))
    }

    fn fit(&self, rate_factor: f64) -> Fit {
        let sizes = || (0..self.rhythm.starts_ps.len()).map(|family| self.parts.of(family).len());
        Fit {
            source_sha256: self.source.sha256.clone(),
            source_requests: self.source.trace.len(),
            cycle_s: self.rhythm.cycle_ps.map(|cycle_ps| cycle_ps as f64 / PS_PER_S),
            stretch_s: self.stretch_ps as f64 / PS_PER_S,
            near_s: self.near_ps() as f64 / PS_PER_S,
            ticks: self.rhythm.ticks.count(),
            families: self.rhythm.starts_ps.len(),
            requests_per_family: self.source.trace.len() as f64 / self.rhythm.starts_ps.len() as f64,
            largest_family: sizes().max().unwrap_or(0),
            alone: sizes().filter(|&size| size == 1).count(),
            common_blocks: self.common_blocks,
            common_share: self.common_uses as f64 / (self.source.trace.block_ids.len() as f64).max(1.0),
            rate_factor,
        }
    }
}

fn too_long(requests: usize) -> InputError {
    InputError::in_field("requests", format!("{requests} requests take over 100 days; raise the rate by a duration"))
}

/// How many requests have arrived by a start: those of families go on after it.
#[derive(Default)]
struct Counted {
    so_far: usize,
    later: std::collections::BinaryHeap<std::cmp::Reverse<i64>>,
    latest_ps: i64,
}

impl Counted {
    fn at(&mut self, time_ps: i64) {
        self.latest_ps = time_ps;
        self.with_the_last();
    }

    /// A later turn stands behind the request before it.
    fn with_the_last(&mut self) {
        self.later.push(std::cmp::Reverse(self.latest_ps));
    }

    fn pass(&mut self, start_ps: i64) {
        while self.later.peek().is_some_and(|&std::cmp::Reverse(time_ps)| time_ps < start_ps) {
            self.later.pop();
            self.so_far += 1;
        }
    }
}

#[cfg(test)]
mod tests;
