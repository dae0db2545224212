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
use crate::like::rhythm::Rhythm;
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
    /// Drawn once for each of them, from what the one before gave.
    pub seeds: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blocks {
    /// About so long; a whole number of them fills the time.
    pub length_ps: i64,
    /// How far from its own place a block may be drawn.
    pub near_ps: i64,
}

/// When a family starts, from the first start on.
#[derive(Clone, Copy, Debug)]
struct Start {
    at_ps: i64,
    family: u32,
}

/// What is known of a workload before anything is drawn from it.
#[derive(Debug)]
pub struct Prepared {
    /// The first row of each row's trajectory.
    first: Vec<u32>,
    parts: Parts,
    /// As a selection has it.
    owner: Vec<u32>,
    /// In order.
    starts: Vec<Start>,
    rhythm: Rhythm,
}

impl Prepared {
    pub fn new(trace: &Trace) -> Self {
        let families = Families::new(trace, COMMON_FROM);
        let parts = Parts::new(&families.of_row, families.count);
        let rhythm = Rhythm::of(trace, &parts, families.count);
        let starts = (0..).zip(&rhythm.starts_ps).map(|(family, &at_ps)| Start { at_ps, family }).collect();
        let owner = owners(trace, &families.of_row);
        Prepared { first: trace.trajectories(), parts, owner, starts, rhythm }
    }

    /// Draws the families of `source`, of which this is, anew.
    ///
    /// # Errors
    /// The options make no sense, or no family starts in any of the blocks drawn.
    pub fn draw(&self, source: &Workload, options_json: &str) -> Result<Workload, InputError> {
        let fault = |message: String| InputError::in_field("bootstrap", message);
        let options: Options = serde_json::from_str(options_json).map_err(|error| fault(error.to_string()))?;
        let blocks = options.blocks.zip(self.rhythm.cycle_ps);
        if let Some((blocks, cycle_ps)) = blocks
            && (blocks.length_ps < 1 || blocks.near_ps < 0 || cycle_ps / blocks.length_ps > BLOCKS_MAX)
        {
            return Err(fault(format!("{blocks:?} is out of range")));
        }
        let mut starts = self.starts.clone();
        for &seed in &options.seeds {
            let draws = Draws::new(seed, Stream::Resample);
            starts = match blocks {
                Some((blocks, cycle_ps)) => in_blocks(&starts, blocks, cycle_ps, draws),
                None => one_by_one(&starts, draws),
            };
        }
        if starts.is_empty() {
            return Err(fault("no request starts in any block that was drawn".to_owned()));
        }
        self.selection(&source.trace, &starts, blocks.map(|(_, cycle_ps)| cycle_ps))
            .build(&[source], source.notes.clone())
    }

    /// The rows of the families, as late as these start. What would come after `cycle_ps` comes as much after the
    /// beginning: the rate is then the source's from the first moment to the last. Trajectories stay in one piece.
    fn selection(&self, trace: &Trace, starts: &[Start], cycle_ps: Option<i64>) -> Selection {
        let mut all = Selection { owner: self.owner.clone(), ..Selection::default() };
        let mut copies = vec![0; self.starts.len()];
        for start in starts {
            let rows = self.parts.of(start.family as usize);
            let moved_ps = start.at_ps - trace.arrival_ps[rows[0] as usize];
            let moved = |row: u32| trace.arrival_ps[row as usize] + moved_ps;
            let laps = |row: u32| cycle_ps.map_or(0, |cycle_ps| moved(self.first[row as usize]) / cycle_ps);
            let most = rows.iter().map(|&row| laps(row)).max().unwrap_or(0);
            for lap in 0..=most {
                let here = rows.iter().filter(|&&row| laps(row) == lap);
                all.picks.extend(here.map(|&row| {
                    let time_ps = match cycle_ps {
                        _ if !trace.is_root(row as usize) => trace.arrival_ps[row as usize],
                        Some(cycle_ps) => {
                            self.rhythm.first_ps + self.rhythm.ticks.at(moved(row) - lap * cycle_ps, cycle_ps)
                        }
                        None => self.rhythm.first_ps + moved(row),
                    };
                    Pick { row, time_ps }
                }));
            }
            let copy = &mut copies[start.family as usize];
            let content = Content::FreshWhereOwned { part: start.family };
            all.units.push(Unit { source: 0, end: all.picks.len(), content, copy: *copy });
            *copy += 1;
        }
        all
    }
}

fn one_by_one(from: &[Start], draws: Draws) -> Vec<Start> {
    let drawn = |slot: usize| from[draws.index(slot as u64, from.len() as u64) as usize].family;
    from.iter().enumerate().map(|(slot, start)| Start { family: drawn(slot), ..*start }).collect()
}

fn in_blocks(from: &[Start], blocks: Blocks, cycle_ps: i64, draws: Draws) -> Vec<Start> {
    let at = |time_ps: i64| from.partition_point(|start| start.at_ps < time_ps);
    let count = ((cycle_ps + blocks.length_ps / 2) / blocks.length_ps).max(1);
    let edge = |slot: i64| (i128::from(cycle_ps) * i128::from(slot) / i128::from(count)) as i64;
    let near_ps = blocks.near_ps.min(cycle_ps / 2);
    let mut drawn = Vec::with_capacity(from.len());
    for slot in 0..count {
        let (from_ps, to_ps) = (edge(slot), edge(slot + 1));
        let away_ps = draws.index(slot as u64, 2 * near_ps as u64 + 1) as i64 - near_ps;
        let source_ps = (from_ps + away_ps).rem_euclid(cycle_ps);
        let end_ps = source_ps + (to_ps - from_ps);
        let mut moved = |starts: &[Start], by_ps: i64| {
            drawn.extend(starts.iter().map(|start| Start { at_ps: start.at_ps + by_ps, ..*start }));
        };
        // Round the end of the trace.
        moved(&from[at(source_ps)..at(end_ps)], from_ps - source_ps);
        moved(&from[..at(end_ps - cycle_ps)], from_ps - source_ps + cycle_ps);
    }
    drawn
}

#[cfg(test)]
mod tests;
