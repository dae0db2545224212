//! More of the same: as many requests as wanted that look like those of a trace.
//!
//! What is fitted are *when* and *what*. When: a rate that changes over the length of the trace and
//! repeats after it, and the gaps that are left once it is taken out. What: the trace's families
//! (see [`families`]), each with its lengths, distances, turns and inner sharing, as they are. Runs
//! of consecutive starts are drawn together, gaps and families, from the same part of the trace (the
//! block bootstrap; Künsch, 1989), so that bursts, drifts and what goes with them stay. Content that
//! only one family holds is new in each copy; common beginnings stay shared by all.

mod families;

use serde::{Deserialize, Serialize};

use crate::error::InputError;
use crate::generate::{Clock, Draws, Piece, Stream};
use crate::trace::NONE;
use crate::transform::{Content, Parts, Pick, Selection, Unit, owners};
use crate::workload::{HORIZON_PS, Workload};
use families::Families;

/// Starts that are drawn together.
const RUN: u64 = 32;
/// Parts of the rate's curve, at most, and starts in each on average, at least.
const PARTS_MAX: usize = 96;
const STARTS_A_PART: usize = 50;
/// From this share of arrivals at the time of another one on, times are those of a clock that ticks.
const TICKS_FROM: f64 = 0.5;
const PS_PER_S: f64 = 1e12;

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
    /// When each family starts, from the first.
    starts_ps: Vec<i64>,
    /// Before each start, in starts that are expected.
    gaps: Vec<f64>,
    /// The first start of each part of the curve; one more at the end.
    first_of_part: Vec<usize>,
    /// After which the curve repeats; none where all start at once.
    cycle_ps: Option<i64>,
    /// When requests can arrive, from the first; empty where at any time.
    ticks_ps: Vec<i64>,
    common_blocks: u64,
    common_uses: u64,
}

/// The parameters, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Fit {
    pub source_sha256: String,
    pub source_requests: usize,
    /// The curve's length, and starts a second in its equal parts.
    pub cycle_s: Option<f64>,
    pub starts_per_s: Vec<f64>,
    /// Of the gaps between starts, once the curve is taken out.
    pub gap_cv: f64,
    /// Starts drawn together.
    pub run: u64,
    /// Different times of the source's arrivals that new ones keep to; none where they keep to none.
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
        let families = Families::new(trace);
        let parts = Parts::new(&families.of_row, families.count);
        let first_ps = trace.arrival_ps[0];
        let starts_ps: Vec<i64> =
            (0..families.count).map(|family| trace.arrival_ps[parts.of(family)[0] as usize] - first_ps).collect();
        let arrivals: Vec<i64> = (0..trace.len())
            .filter(|&row| trace.after[row] == NONE)
            .map(|row| trace.arrival_ps[row] - first_ps)
            .collect();
        let span_ps = arrivals[arrivals.len() - 1];
        // The next arrival would come one gap after the last.
        let cycle_ps = (span_ps > 0).then(|| span_ps + (span_ps / (arrivals.len() as i64 - 1)).max(1));
        let tied = arrivals.windows(2).filter(|pair| pair[0] == pair[1]).count();
        let mut ticks_ps = Vec::new();
        if tied as f64 >= TICKS_FROM * arrivals.len() as f64 {
            ticks_ps = arrivals;
            ticks_ps.dedup();
        }
        let count = (starts_ps.len() / STARTS_A_PART).clamp(1, PARTS_MAX);
        let cycle = cycle_ps.unwrap_or(1);
        let mut first_of_part: Vec<usize> = (0..count)
            .map(|part| starts_ps.partition_point(|&start_ps| start_ps < part_start(cycle, part, count)))
            .collect();
        first_of_part.push(starts_ps.len());
        let owner = owners(trace, &families.of_row);
        let mut model = Model {
            source,
            parts,
            owner,
            gaps: Vec::new(),
            starts_ps,
            first_of_part,
            cycle_ps,
            ticks_ps,
            common_blocks: families.common_blocks,
            common_uses: families.common_uses,
        };
        model.gaps = model.unit_gaps(cycle);
        model
    }

    /// The gap before each start on the clock by which starts are even on average in each part.
    fn unit_gaps(&self, cycle_ps: i64) -> Vec<f64> {
        let count = self.curve_parts();
        let expected = |start_ps: i64| {
            let part = self.part_of(start_ps, cycle_ps);
            let (from, to) = (part_start(cycle_ps, part, count), part_start(cycle_ps, part + 1, count));
            let share = (start_ps - from) as f64 / (to - from) as f64;
            let (first, next) = (self.first_of_part[part], self.first_of_part[part + 1]);
            first as f64 + share * (next - first) as f64
        };
        let mut before = expected(self.starts_ps[self.starts_ps.len() - 1]) - self.starts_ps.len() as f64;
        let gap = |&start_ps: &i64| {
            let now = expected(start_ps);
            let gap = now - before;
            before = now;
            gap.max(0.0)
        };
        self.starts_ps.iter().map(gap).collect()
    }

    fn curve_parts(&self) -> usize {
        self.first_of_part.len() - 1
    }

    fn part_of(&self, start_ps: i64, cycle_ps: i64) -> usize {
        let count = self.curve_parts();
        let part = (i128::from(start_ps) * count as i128 / i128::from(cycle_ps)) as usize;
        // Where a part begins is rounded down.
        if start_ps >= part_start(cycle_ps, part + 1, count) { part + 1 } else { part }.min(count - 1)
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
                let message = format!("{most} requests take over 100 days; raise the rate by a duration");
                return Err(InputError::in_field("requests", message));
            };
            if end_ps.is_some_and(|end_ps| start_ps >= end_ps) {
                break;
            }
            arrivals.pass(start_ps);
            self.push_family(&mut selection, &mut arrivals, start_ps, family);
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
        selection.build(&[self.source], notes)
    }

    fn rate_factor(&self, options: &Options) -> Result<f64, InputError> {
        if options.requests == Some(0) {
            return Err(InputError::in_field("requests", "0 asks for nothing"));
        }
        if options.duration_ps.is_some_and(|duration_ps| !(1..=HORIZON_PS).contains(&duration_ps)) {
            return Err(InputError::in_field("duration_s", "not above 0 and at most 100 days"));
        }
        match (options.requests, options.duration_ps, self.cycle_ps) {
            (None, None, _) => Err(InputError::in_field("requests", "neither these nor a duration is given")),
            (_, None, _) | (None, _, Some(_)) => Ok(1.0),
            (Some(requests), Some(duration_ps), Some(cycle_ps)) => {
                let expected = self.source.trace.len() as f64 * (duration_ps as f64 / cycle_ps as f64);
                Ok(f64::from(requests) / expected)
            }
            (_, Some(_), None) => {
                let message = "all sessions of the trace start at once: it has no rate; ask for requests only";
                Err(InputError::in_field("duration_s", message))
            }
        }
    }

    /// Which family starts when, without end.
    fn starts(&self, seed: u64, factor: f64) -> Box<dyn Iterator<Item = (i64, usize)> + '_> {
        let draws = Draws::new(seed, Stream::Runs);
        let Some(cycle_ps) = self.cycle_ps else {
            let count = self.starts_ps.len() as u64;
            return Box::new((0..).map(move |start| (0, draws.index(start, count) as usize)));
        };
        let mut clock = Clock::new(self.curve(cycle_ps, factor));
        let mut family = 0;
        Box::new((0u64..).map_while(move |start| {
            if start % RUN == 0 {
                family = self.drawn_from(self.part_of(clock.now_ps % cycle_ps, cycle_ps), &draws, start / RUN);
            } else {
                family = (family + 1) % self.starts_ps.len();
            }
            // As in the trace, somebody is there when it begins.
            let gap = if start == 0 { 0.0 } else { self.gaps[family] };
            clock.advance(gap).map(|start_ps| (start_ps, family))
        }))
    }

    /// A family that starts in this part of the trace; else in the next in which one does.
    fn drawn_from(&self, part: usize, draws: &Draws, run: u64) -> usize {
        let parts = self.curve_parts();
        let busy = (0..parts).map(|later| (part + later) % parts);
        let range = |part: usize| self.first_of_part[part]..self.first_of_part[part + 1];
        let range = busy.map(range).find(|range| !range.is_empty()).unwrap_or(0..1);
        range.start + draws.index(run, range.len() as u64) as usize
    }

    fn curve(&self, cycle_ps: i64, factor: f64) -> impl Iterator<Item = Piece> + '_ {
        let count = self.curve_parts();
        let cycles =
            (0..).map(move |cycle: i64| cycle.saturating_mul(cycle_ps)).take_while(|&from_ps| from_ps < HORIZON_PS);
        cycles.flat_map(move |from_ps| {
            (0..count).map(move |part| {
                let (from, to) = (part_start(cycle_ps, part, count), part_start(cycle_ps, part + 1, count));
                let starts = self.first_of_part[part + 1] - self.first_of_part[part];
                let rate = starts as f64 * factor / (to - from) as f64;
                Piece { end_ps: from_ps.saturating_add(to), from: rate, to: rate }
            })
        })
    }

    fn push_family(&self, selection: &mut Selection, arrivals: &mut Counted, start_ps: i64, family: usize) {
        let trace = &self.source.trace;
        let rows = self.parts.of(family);
        let shift_ps = start_ps - trace.arrival_ps[rows[0] as usize];
        for &row in rows {
            let mut time_ps = trace.arrival_ps[row as usize];
            if trace.after[row as usize] == NONE {
                time_ps = self.on_a_tick(time_ps + shift_ps);
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
        let Some(cycle_ps) = self.cycle_ps.filter(|_| !self.ticks_ps.is_empty()) else { return time_ps };
        let phase_ps = time_ps % cycle_ps;
        time_ps - phase_ps + self.ticks_ps[self.ticks_ps.partition_point(|&tick_ps| tick_ps <= phase_ps) - 1]
    }

    fn fit(&self, rate_factor: f64) -> Fit {
        let sizes = || (0..self.starts_ps.len()).map(|family| self.parts.of(family).len());
        let mean = self.gaps.iter().sum::<f64>() / self.gaps.len() as f64;
        let variance = self.gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / self.gaps.len() as f64;
        let cycle_s = self.cycle_ps.map(|cycle_ps| cycle_ps as f64 / PS_PER_S);
        let part_s = cycle_s.map(|cycle_s| cycle_s / self.curve_parts() as f64);
        let starts = self.first_of_part.windows(2).map(|pair| (pair[1] - pair[0]) as f64);
        Fit {
            source_sha256: self.source.sha256.clone(),
            source_requests: self.source.trace.len(),
            cycle_s,
            starts_per_s: part_s.map_or_else(Vec::new, |part_s| starts.map(|count| count / part_s).collect()),
            gap_cv: if mean > 0.0 { variance.sqrt() / mean } else { 0.0 },
            run: RUN,
            ticks: (!self.ticks_ps.is_empty()).then_some(self.ticks_ps.len()),
            families: self.starts_ps.len(),
            requests_per_family: self.source.trace.len() as f64 / self.starts_ps.len() as f64,
            largest_family: sizes().max().unwrap_or(0),
            alone: sizes().filter(|&size| size == 1).count(),
            common_blocks: self.common_blocks,
            common_share: self.common_uses as f64 / (self.source.trace.block_ids.len() as f64).max(1.0),
            rate_factor,
        }
    }
}

fn part_start(cycle_ps: i64, part: usize, count: usize) -> i64 {
    (i128::from(cycle_ps) * part as i128 / count as i128) as i64
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
