//! Another workload that the same source might have sent: families of a trace (see [`families`]) drawn anew in
//! blocks of time.
//!
//! The moving-block bootstrap (Künsch, 1989), round the end of the trace (Politis, Romano, 1992), each block drawn
//! from near its own place (Paparoditis, Politis, 2002): bursts shorter than a block stay as they are, rates that
//! change slowly stay where they are. Families stay whole, so prompts find in the cache what they found before;
//! content that only one family holds is new in each copy, common beginnings stay shared by all.
//!
//! [`families`]: crate::like::families

use serde::Deserialize;

use crate::error::InputError;
use crate::generate::{Draws, Stream};
use crate::like::families::Families;
use crate::like::ticks::Ticks;
use crate::trace::Trace;
use crate::transform::{Content, Parts, Pick, Selection, Unit, owners};
use crate::workload::Workload;

/// Different blocks that follow a common beginning, at least: prompts that share it come whenever they come, and would
/// be torn from the bursts that they are part of if they were kept together. Conversations branch less.
const COMMON_FROM: u32 = 4;

/// More of them are more than any trace has starts to tell apart.
const BLOCKS_MAX: i64 = 10_000_000;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// None: times stay, and which family starts at each is drawn (Efron, 1979). So it is too where all start at once.
    pub blocks: Option<Blocks>,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blocks {
    /// About so long; a whole number of them fills the time.
    pub length_ps: i64,
    /// How far from its own place a block may be drawn.
    pub near_ps: i64,
}

/// Draws the families of `source` anew.
///
/// # Errors
/// The options make no sense, or no family starts in any of the blocks drawn.
pub fn bootstrap(source: &Workload, options_json: &str) -> Result<Workload, InputError> {
    let fault = |message: String| InputError::in_field("bootstrap", message);
    let options: Options = serde_json::from_str(options_json).map_err(|error| fault(error.to_string()))?;
    let families = Families::new(&source.trace, COMMON_FROM);
    let drawn = Drawn::new(&source.trace, &families);
    let selection = match (options.blocks, drawn.cycle_ps) {
        (Some(blocks), Some(cycle_ps)) => {
            if blocks.length_ps < 1 || blocks.near_ps < 0 || cycle_ps / blocks.length_ps > BLOCKS_MAX {
                return Err(fault(format!("{blocks:?} is out of range")));
            }
            drawn.blocks(blocks, cycle_ps, options.seed)
        }
        _ => drawn.one_by_one(options.seed),
    };
    if selection.picks.is_empty() {
        return Err(fault("no request starts in any block that was drawn".to_owned()));
    }
    selection.build(&[source], source.notes.clone())
}

/// All times are from the first start on.
struct Drawn<'t> {
    trace: &'t Trace,
    first_ps: i64,
    /// The first row of each row's trajectory.
    first: Vec<u32>,
    parts: Parts,
    owner: Vec<u32>,
    /// When each family starts.
    starts_ps: Vec<i64>,
    /// After which times begin again: one gap after the last start. None where all start at once.
    cycle_ps: Option<i64>,
    ticks: Ticks,
}

impl<'t> Drawn<'t> {
    fn new(trace: &'t Trace, families: &Families) -> Self {
        let parts = Parts::new(&families.of_row, families.count);
        let first_ps = trace.arrival_ps[0];
        let starts_ps: Vec<i64> =
            (0..families.count).map(|family| trace.arrival_ps[parts.of(family)[0] as usize] - first_ps).collect();
        let roots: Vec<i64> =
            (0..trace.len()).filter(|&row| trace.is_root(row)).map(|row| trace.arrival_ps[row] - first_ps).collect();
        let span_ps = roots[roots.len() - 1];
        let cycle_ps = (span_ps > 0).then(|| span_ps + (span_ps / (roots.len() as i64 - 1)).max(1));
        let owner = owners(trace, &families.of_row);
        let ticks = Ticks::of(roots);
        Drawn { trace, first_ps, first: trace.trajectories(), parts, owner, starts_ps, cycle_ps, ticks }
    }

    fn one_by_one(&self, seed: u64) -> Selection {
        let draws = Draws::new(seed, Stream::Resample);
        let mut all = Building::new(self);
        for (slot, &start_ps) in self.starts_ps.iter().enumerate() {
            let family = draws.index(slot as u64, self.starts_ps.len() as u64) as usize;
            all.push(family, start_ps - self.starts_ps[family], None);
        }
        all.selection
    }

    fn blocks(&self, blocks: Blocks, cycle_ps: i64, seed: u64) -> Selection {
        let draws = Draws::new(seed, Stream::Resample);
        let mut all = Building::new(self);
        let count = ((cycle_ps + blocks.length_ps / 2) / blocks.length_ps).max(1);
        let edge = |slot: i64| (i128::from(cycle_ps) * i128::from(slot) / i128::from(count)) as i64;
        let near_ps = blocks.near_ps.min(cycle_ps / 2);
        for slot in 0..count {
            let (from_ps, to_ps) = (edge(slot), edge(slot + 1));
            let away_ps = draws.index(slot as u64, 2 * near_ps as u64 + 1) as i64 - near_ps;
            let source_ps = (from_ps + away_ps).rem_euclid(cycle_ps);
            for (start_ps, family) in self.starts_in(source_ps, to_ps - from_ps, cycle_ps) {
                all.push(family, from_ps + start_ps - self.starts_ps[family], Some(cycle_ps));
            }
        }
        all.selection
    }

    /// The families of a block, and how long after its beginning they start; round the end of the trace.
    fn starts_in(&self, from_ps: i64, length_ps: i64, cycle_ps: i64) -> impl Iterator<Item = (i64, usize)> + '_ {
        let at = |time_ps: i64| self.starts_ps.partition_point(|&start_ps| start_ps < time_ps);
        let left_ps = cycle_ps - from_ps;
        let before_end = (at(from_ps)..at(from_ps.saturating_add(length_ps))).map(move |family| (-from_ps, family));
        let beyond = (0..at(length_ps - left_ps)).map(move |family| (left_ps, family));
        before_end.chain(beyond).map(|(moved_ps, family)| (self.starts_ps[family] + moved_ps, family))
    }
}

struct Building<'d, 't> {
    drawn: &'d Drawn<'t>,
    selection: Selection,
    copies: Vec<u32>,
}

impl<'d, 't> Building<'d, 't> {
    fn new(drawn: &'d Drawn<'t>) -> Self {
        let selection = Selection { owner: drawn.owner.clone(), ..Selection::default() };
        Building { drawn, selection, copies: vec![0; drawn.starts_ps.len()] }
    }

    /// A family, so much later. What would come after `cycle_ps` comes as much after the beginning: the rate is then
    /// the source's from the first moment to the last. Trajectories stay in one piece.
    fn push(&mut self, family: usize, moved_ps: i64, cycle_ps: Option<i64>) {
        let Drawn { trace, first_ps, first, ticks, .. } = self.drawn;
        let rows = self.drawn.parts.of(family);
        let moved = |row: u32| trace.arrival_ps[row as usize] - first_ps + moved_ps;
        let laps = |row: u32| cycle_ps.map_or(0, |cycle_ps| moved(first[row as usize]) / cycle_ps);
        let most = rows.iter().map(|&row| laps(row)).max().unwrap_or(0);
        for lap in 0..=most {
            let here = rows.iter().filter(|&&row| laps(row) == lap);
            self.selection.picks.extend(here.map(|&row| {
                let time_ps = match cycle_ps {
                    _ if !trace.is_root(row as usize) => trace.arrival_ps[row as usize],
                    Some(cycle_ps) => first_ps + ticks.at(moved(row) - lap * cycle_ps, cycle_ps),
                    None => first_ps + moved(row),
                };
                Pick { row, time_ps }
            }));
        }
        let copy = self.copies[family];
        self.copies[family] += 1;
        let content = Content::FreshWhereOwned { part: family as u32 };
        self.selection.units.push(Unit { source: 0, end: self.selection.picks.len(), content, copy });
    }
}

#[cfg(test)]
mod tests;
