//! The one primitive below all transforms: rows chosen, with new times, in units that may be copies.

use crate::error::InputError;
use crate::trace::{NONE, Trace};
use crate::workload::{BLOCK_IDS_MAX, Classes, Labels, Names, Workload};

/// A chosen row.
#[derive(Clone, Copy, Debug)]
pub struct Pick {
    pub row: u32,
    /// The new arrival; of a request that waits, the new delay.
    pub time_ps: i64,
}

/// What becomes of a unit's block ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The source's own.
    Same,
    /// New ones, shared within the unit only.
    Fresh,
    /// New ones for what no row outside this part of the source holds; see `Selection::owner`.
    FreshWhereOwned { part: u32 },
}

/// Picks that belong together: what a request waits for is in its unit, before it.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    pub source: u32,
    /// Of all picks, those before this one belong to this unit or the ones before it.
    pub end: usize,
    pub content: Content,
    /// Which copy of the same rows it is; sets copies' names apart.
    pub copy: u32,
}

#[derive(Debug, Default)]
pub struct Selection {
    pub picks: Vec<Pick>,
    pub units: Vec<Unit>,
    /// Of each block id the only part of the source that holds it, or `NONE`.
    pub owner: Vec<u32>,
    /// Leaves the names of requests out.
    pub anonymous: bool,
}

impl Selection {
    /// All picks as one unit of the first source.
    pub fn of(picks: Vec<Pick>) -> Self {
        let unit = Unit { source: 0, end: picks.len(), content: Content::Same, copy: 0 };
        Selection { picks, units: vec![unit], ..Selection::default() }
    }

    /// The chosen rows as a workload: by their arrival, those that wait where they stood, right behind
    /// the row before them in their unit. Ids are numbered by first use.
    ///
    /// # Errors
    /// Too many rows or block ids; a time outside 100 days.
    pub fn build(&self, sources: &[&Workload], notes: serde_json::Value) -> Result<Workload, InputError> {
        let rows = self.picks.len();
        if rows >= NONE as usize {
            return Err(InputError::in_field("transforms", format!("{rows} requests; fewer than {NONE} are possible")));
        }
        let order = self.order(&self.keys(sources));
        let mut rank = vec![0u32; rows];
        for (place, &pick) in order.iter().enumerate() {
            rank[pick as usize] = place as u32;
        }
        let mut trace = Trace { block_tokens: sources[0].trace.block_tokens, ..Trace::default() };
        let source_of = self.source_of();
        let at = |pick: u32| (sources[source_of[pick as usize] as usize], self.picks[pick as usize].row as usize);
        let column = |of: fn(&Trace) -> &Vec<u32>| -> Vec<u32> {
            order.iter().map(|&pick| at(pick)).map(|(source, row)| of(&source.trace)[row]).collect()
        };
        trace.input_tokens = column(|trace| &trace.input_tokens);
        trace.output_tokens = column(|trace| &trace.output_tokens);
        trace.max_output_tokens = column(|trace| &trace.max_output_tokens);
        trace.priority = order.iter().map(|&pick| at(pick)).map(|(source, row)| source.trace.priority[row]).collect();
        trace.arrival_ps = order.iter().map(|&pick| self.picks[pick as usize].time_ps).collect();
        self.set_predecessors(sources, &order, &rank, &mut trace)?;
        let mut ids = 0;
        trace.block_offsets = Vec::with_capacity(rows + 1);
        trace.block_offsets.push(0);
        for &pick in &order {
            let (source, row) = at(pick);
            ids += source.trace.blocks(row).len() as u64;
            trace.block_offsets.push(ids);
        }
        if ids > BLOCK_IDS_MAX {
            let message = format!("{ids} block ids; at most {BLOCK_IDS_MAX} are possible");
            return Err(InputError::in_field("transforms", message));
        }
        self.fill_ids(sources, &rank, &mut trace);
        number_by_first_use(&mut trace.block_ids);
        Workload::new(trace, self.labels(sources, &order, &source_of), None, notes)
    }

    fn unit_starts(&self) -> impl Iterator<Item = (usize, Unit)> + '_ {
        let starts = std::iter::once(0).chain(self.units.iter().map(|unit| unit.end));
        starts.zip(self.units.iter().copied())
    }

    fn source_of(&self) -> Vec<u32> {
        self.unit_starts().flat_map(|(start, unit)| std::iter::repeat_n(unit.source, unit.end - start)).collect()
    }

    /// Leaves out all but the first `most` requests of the new trace, and those at or after `end_ps`.
    pub fn keep_first(&mut self, sources: &[&Workload], most: usize, end_ps: Option<i64>) {
        let keys = self.keys(sources);
        let mut kept: Vec<bool> = keys.iter().map(|&key| end_ps.is_none_or(|end_ps| key < end_ps)).collect();
        for &pick in self.order(&keys).iter().skip(most) {
            kept[pick as usize] = false;
        }
        let mut left = 0;
        let mut start = 0;
        for unit in &mut self.units {
            left += kept[start..unit.end].iter().filter(|&&kept| kept).count();
            start = unit.end;
            unit.end = left;
        }
        let mut kept = kept.into_iter();
        self.picks.retain(|_| kept.next() == Some(true));
    }

    /// Picks in the order of the new trace.
    fn order(&self, keys: &[i64]) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.picks.len() as u32).collect();
        if !keys.is_sorted() {
            order.sort_by_key(|&pick| keys[pick as usize]);
        }
        order
    }

    /// What picks are put in order by.
    fn keys(&self, sources: &[&Workload]) -> Vec<i64> {
        let mut keys = Vec::with_capacity(self.picks.len());
        for (start, unit) in self.unit_starts() {
            let mut latest_ps = 0;
            for pick in &self.picks[start..unit.end] {
                if sources[unit.source as usize].trace.is_root(pick.row as usize) {
                    latest_ps = pick.time_ps;
                }
                keys.push(latest_ps);
            }
        }
        keys
    }

    fn set_predecessors(
        &self,
        sources: &[&Workload],
        order: &[u32],
        rank: &[u32],
        trace: &mut Trace,
    ) -> Result<(), InputError> {
        trace.after = vec![NONE; self.picks.len()];
        let rows = sources.iter().map(|source| source.trace.len()).max().unwrap_or(0);
        let mut pick_of = vec![(NONE, 0u32); rows];
        // By pick; most have none.
        let mut waits: Vec<(u32, Vec<u32>)> = Vec::new();
        for (index, (start, unit)) in self.unit_starts().enumerate() {
            let source = &sources[unit.source as usize].trace;
            for (pick, &place) in rank.iter().enumerate().take(unit.end).skip(start) {
                let row = self.picks[pick].row as usize;
                pick_of[row] = (index as u32, place);
                let place_of = |before: u32| match pick_of[before as usize] {
                    (its_unit, place) if its_unit == index as u32 => Ok(place),
                    _ => {
                        let message = format!("request {row} is chosen without the one that it waits for");
                        Err(InputError::in_field("transforms", message))
                    }
                };
                if source.after[row] != NONE {
                    trace.after[place as usize] = place_of(source.after[row])?;
                }
                if !source.waits(row).is_empty() {
                    let places = source.waits(row).iter().map(|&before| place_of(before));
                    waits.push((pick as u32, places.collect::<Result<_, _>>()?));
                }
            }
        }
        if !waits.is_empty() {
            trace.wait_offsets.push(0);
            for &pick in order {
                if let Ok(at) = waits.binary_search_by_key(&pick, |&(pick, _)| pick) {
                    trace.wait_for.extend(&waits[at].1);
                }
                trace.wait_offsets.push(trace.wait_for.len() as u64);
            }
        }
        Ok(())
    }

    fn fill_ids(&self, sources: &[&Workload], rank: &[u32], trace: &mut Trace) {
        trace.block_ids = vec![0; *trace.block_offsets.last().unwrap_or(&0) as usize];
        let id_count = |source: &&Workload| source.trace.block_ids.iter().max().map_or(0, |&id| id + 1);
        let mut bases = vec![0u32];
        for source in sources {
            bases.push(bases[bases.len() - 1] + id_count(source));
        }
        let mut next_id = bases[sources.len()];
        let mut fresh: Vec<(u32, u32)> = vec![(NONE, 0); next_id as usize];
        for (index, (start, unit)) in self.unit_starts().enumerate() {
            let (source, base) = (&sources[unit.source as usize].trace, bases[unit.source as usize]);
            for (pick, &to) in self.picks[start..unit.end].iter().zip(&rank[start..unit.end]) {
                let into = trace.block_offsets[to as usize] as usize;
                for (place, &id) in source.blocks(pick.row as usize).iter().enumerate() {
                    let kept = match unit.content {
                        Content::Same => true,
                        Content::Fresh => false,
                        Content::FreshWhereOwned { part } => self.owner[id as usize] != part,
                    };
                    trace.block_ids[into + place] = if kept {
                        base + id
                    } else {
                        let known = &mut fresh[(base + id) as usize];
                        if known.0 != index as u32 {
                            *known = (index as u32, next_id);
                            next_id += 1;
                        }
                        known.1
                    };
                }
            }
        }
    }

    fn labels(&self, sources: &[&Workload], order: &[u32], source_of: &[u32]) -> Labels {
        let mut labels = Labels::default();
        let at = |pick: u32| (source_of[pick as usize] as usize, self.picks[pick as usize].row as usize);
        if !self.anonymous && sources.iter().any(|source| source.labels.request_ids.is_some()) {
            let mut copies = vec![0; self.picks.len()];
            for (start, unit) in self.unit_starts() {
                copies[start..unit.end].fill(unit.copy);
            }
            let mut names = Names::default();
            for &pick in order {
                let (source, row) = at(pick);
                let name = match &sources[source].labels.request_ids {
                    Some(known) => known.get(row).to_owned(),
                    None => format!("{row}"),
                };
                match copies[pick as usize] {
                    0 => names.push(&name),
                    copy => names.push(&format!("{name}#{copy}")),
                }
            }
            labels.request_ids = Some(names);
        }
        if sources.iter().any(|source| source.labels.classes.is_some()) {
            labels.classes = Some(merged_classes(sources, order.iter().map(|&pick| at(pick))));
        }
        if sources.iter().any(|source| source.labels.failed.is_some()) {
            let failed =
                |(source, row): (usize, usize)| sources[source].labels.failed.as_ref().is_some_and(|of| of[row]);
            labels.failed = Some(order.iter().map(|&pick| failed(at(pick))).collect());
        }
        labels
    }
}

/// Classes of the same name are one; rows of a source without classes are of one without a name.
fn merged_classes(sources: &[&Workload], rows: impl Iterator<Item = (usize, usize)>) -> Classes {
    let mut names: Vec<&str> = Vec::new();
    let mut index_of = |name| {
        names.iter().position(|&known| known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        }) as u32
    };
    let known: Vec<Vec<u32>> = sources
        .iter()
        .map(|source| match &source.labels.classes {
            Some(classes) => classes.names.iter().map(&mut index_of).collect(),
            None => vec![index_of("")],
        })
        .collect();
    let of = rows.map(|(source, row)| match &sources[source].labels.classes {
        Some(classes) => known[source][classes.of[row] as usize],
        None => known[source][0],
    });
    let of = of.collect();
    Classes { names: names.into_iter().collect(), of }
}

/// So that the same content has the same ids, wherever it was cut from.
fn number_by_first_use(ids: &mut [u32]) {
    let mut number_of = vec![NONE; ids.iter().max().map_or(0, |&id| id as usize + 1)];
    let mut next = 0;
    for id in ids {
        let number = &mut number_of[*id as usize];
        if *number == NONE {
            *number = next;
            next += 1;
        }
        *id = *number;
    }
}
