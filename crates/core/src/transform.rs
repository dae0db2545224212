//! What is made of a workload before it runs: faster, shorter, thinner, more, or drawn anew.
//!
//! All transforms choose rows and give them times ([`select`]). Trajectories stay whole: none is cut
//! but by `limit`, which takes requests off their ends. Draws depend on a seed and on the rows, never
//! on what is simulated, so that two deployments meet the same requests.

mod select;

use serde::Deserialize;

use crate::decimal::Speedup;
use crate::error::InputError;
use crate::generate::{Draws, Stream};
use crate::trace::{NONE, Trace};
use crate::workload::{HORIZON_PS, Workload};
pub(crate) use select::{Content, Pick, Selection, Unit};

#[derive(Clone, Debug, Deserialize, serde::Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Divides times and delays, each rounded to the nearest picosecond, halves to even.
    Speedup { factor: f64 },
    /// The first so many rows.
    Limit { requests: u64 },
    /// Trajectories that start in it, whole; its start becomes time 0.
    Window { start_ps: i64, end_ps: Option<i64> },
    /// Each trajectory with this chance; or, with `rest`, those that would have been left out.
    Thin { share: f64, rest: bool, seed: u64 },
    /// Each trajectory so many times, the n-th copy n·`shift_ps` later. `fresh`: no copy shares
    /// anything with another.
    Replicate { copies: u32, shift_ps: i64, fresh: bool },
    /// The bootstrap (Efron, 1979): starts stay, and which trajectory starts at each is drawn with
    /// replacement; or, with `block_ps`, stretches of time of this length are (Künsch, 1989). A
    /// copy's content is new where no other trajectory, or stretch, of the source shares it.
    Resample { block_ps: Option<i64>, seed: u64 },
}

/// Carries out the steps in `steps_json`, one after the other.
///
/// # Errors
/// They are no steps, a value is out of range, or a step leaves nothing. The field is the number of
/// the step, from 0, and its name.
pub fn transform(workload: &Workload, steps_json: &str) -> Result<Workload, InputError> {
    let steps: Vec<Step> =
        serde_json::from_str(steps_json).map_err(|error| InputError::in_field("transforms", error.to_string()))?;
    let mut current: Option<Workload> = None;
    for (index, step) in steps.iter().enumerate() {
        let of = current.as_ref().unwrap_or(workload);
        let done = apply(of, step).and_then(|selection| {
            let selection = selection.non_empty()?;
            selection.build(&[of], noted(of, serde_json::to_value(step).unwrap_or_default()))
        });
        current = Some(done.map_err(|error| InputError { field: Some(format!("{index}.{}", step.name())), ..error })?);
    }
    Ok(current.unwrap_or_else(|| workload.clone()))
}

/// All requests of several workloads, in the order of their arrivals; they share no content.
///
/// # Errors
/// Their blocks differ in size, or there are too many of them.
pub fn merge(workloads: &[&Workload]) -> Result<Workload, InputError> {
    let Some(first) = workloads.first() else {
        return Err(InputError::in_field("merge", "no workloads"));
    };
    let mut all = Selection::default();
    for (source, workload) in workloads.iter().enumerate() {
        let (ours, theirs) = (first.trace.block_tokens, workload.trace.block_tokens);
        if ours != theirs {
            let message = format!("a block id stands for {theirs} tokens there, and for {ours} here");
            return Err(InputError::in_field("merge", message));
        }
        all.picks.extend(same_times(&workload.trace));
        let (end, source) = (all.picks.len(), source as u32);
        all.units.push(Unit { source, end, content: Content::Same, copy: source });
    }
    let hashes: Vec<&str> = workloads[1..].iter().map(|workload| workload.sha256.as_str()).collect();
    all.build(workloads, noted(first, serde_json::json!({"kind": "merge", "sha256": hashes})))
}

/// The source's notes, and what was done to it.
fn noted(source: &Workload, step: serde_json::Value) -> serde_json::Value {
    let mut notes = source.notes.clone();
    if let Some(notes) = notes.as_object_mut() {
        notes.entry("source_sha256").or_insert_with(|| source.sha256.clone().into());
        if let Some(steps) = notes.entry("transforms").or_insert_with(|| serde_json::json!([])).as_array_mut() {
            steps.push(step);
        }
    }
    notes
}

fn same_times(trace: &Trace) -> impl Iterator<Item = Pick> + '_ {
    trace.arrival_ps.iter().enumerate().map(|(row, &time_ps)| Pick { row: row as u32, time_ps })
}

impl Selection {
    fn non_empty(self) -> Result<Self, InputError> {
        if self.picks.is_empty() {
            return Err(InputError::in_field("transforms", "leaves no request"));
        }
        Ok(self)
    }
}

impl Step {
    fn name(&self) -> &'static str {
        match self {
            Step::Speedup { .. } => "speedup",
            Step::Limit { .. } => "limit",
            Step::Window { .. } => "window",
            Step::Thin { .. } => "thin",
            Step::Replicate { .. } => "replicate",
            Step::Resample { .. } => "resample",
        }
    }
}

fn apply(workload: &Workload, step: &Step) -> Result<Selection, InputError> {
    let trace = &workload.trace;
    let fault = |message: String| Err(InputError::in_field("transforms", message));
    match *step {
        Step::Speedup { factor } => {
            let Some(speedup) = Speedup::new(factor) else {
                return fault(format!("{factor} is not between 0.001 and 1000000"));
            };
            let mut picks: Vec<Pick> = same_times(trace).collect();
            for pick in &mut picks {
                let time_ps = speedup.divide(pick.time_ps);
                if time_ps > i128::from(HORIZON_PS) {
                    return fault(format!("{factor} moves request {} beyond 100 days", pick.row));
                }
                pick.time_ps = time_ps as i64;
            }
            Ok(Selection::of(picks))
        }
        Step::Limit { requests: 0 } => fault("0 leaves no request".to_owned()),
        Step::Limit { requests } => {
            Ok(Selection::of(same_times(trace).take(usize::try_from(requests).unwrap_or(usize::MAX)).collect()))
        }
        Step::Window { start_ps, end_ps } => window(trace, start_ps, end_ps.unwrap_or(HORIZON_PS + 1)),
        Step::Thin { share, .. } if !(share > 0.0 && share <= 1.0) => {
            fault(format!("{share} is not above 0 and at most 1"))
        }
        Step::Thin { share, rest, seed } => {
            let draws = Draws::new(seed, Stream::Thin);
            let first = trace.trajectories();
            let kept = |pick: &Pick| (draws.uniform(first[pick.row as usize].into()) <= share) != rest;
            Ok(Selection::of(same_times(trace).filter(kept).collect()))
        }
        Step::Replicate { copies, .. } if copies < 2 => fault(format!("{copies} copies; at least 2 make a difference")),
        Step::Replicate { copies, shift_ps, fresh } => replicate(trace, copies, shift_ps, fresh),
        Step::Resample { block_ps: None, seed } => Ok(resample_trajectories(trace, seed)),
        Step::Resample { block_ps: Some(block_ps), .. } if block_ps < 1 => fault(format!("{block_ps} ps is no length")),
        Step::Resample { block_ps: Some(block_ps), seed } => resample_blocks(trace, block_ps, seed),
    }
}

fn window(trace: &Trace, start_ps: i64, end_ps: i64) -> Result<Selection, InputError> {
    let first = trace.trajectories();
    let starts = |pick: &Pick| trace.arrival_ps[first[pick.row as usize] as usize];
    let mut picks: Vec<Pick> = same_times(trace).filter(|pick| (start_ps..end_ps).contains(&starts(pick))).collect();
    for pick in &mut picks {
        if trace.is_root(pick.row as usize) {
            pick.time_ps -= start_ps;
        }
    }
    if picks.is_empty() {
        let seconds = |time_ps: i64| time_ps as f64 / 1e12;
        let starts = || same_times(trace).filter(|pick| trace.is_root(pick.row as usize));
        let message = format!(
            "no session starts in it; they start from {} to {} s",
            seconds(starts().map(|pick| pick.time_ps).next().unwrap_or(0)),
            seconds(starts().map(|pick| pick.time_ps).last().unwrap_or(0)),
        );
        return Err(InputError::in_field("transforms", message));
    }
    Ok(Selection::of(picks))
}

fn replicate(trace: &Trace, copies: u32, shift_ps: i64, fresh: bool) -> Result<Selection, InputError> {
    let rows = trace.len() as u64 * u64::from(copies);
    let last_ps = trace.arrival_ps.iter().max().map_or(0, |&last_ps| i128::from(last_ps));
    if rows >= u64::from(NONE) || last_ps + i128::from(shift_ps) * i128::from(copies - 1) > i128::from(HORIZON_PS) {
        let message = format!("{copies} copies make {rows} requests, up to beyond 2^32 of them or 100 days");
        return Err(InputError::in_field("transforms", message));
    }
    let mut all = Selection::default();
    for copy in 0..copies {
        let later_ps = i64::from(copy) * shift_ps;
        all.picks.extend(same_times(trace).map(|pick| match trace.is_root(pick.row as usize) {
            true => Pick { time_ps: pick.time_ps + later_ps, ..pick },
            false => pick,
        }));
        let content = if fresh && copy > 0 { Content::Fresh } else { Content::Same };
        all.units.push(Unit { source: 0, end: all.picks.len(), content, copy });
    }
    Ok(all)
}

/// The rows of each part of a trace, in order.
#[derive(Debug)]
pub(crate) struct Parts {
    rows: Vec<u32>,
    ends: Vec<usize>,
}

impl Parts {
    pub(crate) fn new(part_of: &[u32], count: usize) -> Self {
        let mut ends = vec![0; count];
        part_of.iter().for_each(|&part| ends[part as usize] += 1);
        let mut sum = 0;
        for end in &mut ends {
            (*end, sum) = (sum, sum + *end);
        }
        let mut rows = vec![0; part_of.len()];
        for (row, &part) in part_of.iter().enumerate() {
            rows[ends[part as usize]] = row as u32;
            ends[part as usize] += 1;
        }
        Parts { rows, ends }
    }

    pub(crate) fn of(&self, part: usize) -> &[u32] {
        let start = if part == 0 { 0 } else { self.ends[part - 1] };
        &self.rows[start..self.ends[part]]
    }

    /// Parts as drawn, each with the new time of each of its rows.
    fn drawn(
        &self,
        trace: &Trace,
        part_of: &[u32],
        drawn: impl Iterator<Item = usize>,
        time_ps: impl Fn(usize, u32) -> i64,
    ) -> Selection {
        let mut all = Selection { owner: owners(trace, part_of), ..Selection::default() };
        let mut copies = vec![0; self.ends.len()];
        for (slot, part) in drawn.enumerate() {
            let picks = self.of(part).iter().map(|&row| Pick { row, time_ps: time_ps(slot, row) });
            all.picks.extend(picks);
            let copy = copies[part];
            copies[part] += 1;
            let content = if copy == 0 { Content::Same } else { Content::FreshWhereOwned { part: part as u32 } };
            all.units.push(Unit { source: 0, end: all.picks.len(), content, copy });
        }
        all
    }
}

/// Of each block id the only part whose rows hold it, or `NONE`.
pub(crate) fn owners(trace: &Trace, part_of: &[u32]) -> Vec<u32> {
    const UNSEEN: u32 = NONE - 1;
    let mut owner = vec![UNSEEN; trace.block_ids.iter().max().map_or(0, |&id| id as usize + 1)];
    for (row, &part) in part_of.iter().enumerate() {
        for &id in trace.blocks(row) {
            let owner = &mut owner[id as usize];
            *owner = if *owner == UNSEEN || *owner == part { part } else { NONE };
        }
    }
    owner
}

fn resample_trajectories(trace: &Trace, seed: u64) -> Selection {
    let first = trace.trajectories();
    let starts: Vec<u32> = (0..trace.len() as u32).filter(|&row| first[row as usize] == row).collect();
    let mut part_of_start = vec![NONE; trace.len()];
    for (part, &row) in starts.iter().enumerate() {
        part_of_start[row as usize] = part as u32;
    }
    let part_of: Vec<u32> = first.iter().map(|&row| part_of_start[row as usize]).collect();
    let start_ps = |row: u32| trace.arrival_ps[row as usize];
    let draws = Draws::new(seed, Stream::Resample);
    let drawn = (0..starts.len()).map(|slot| draws.index(slot as u64, starts.len() as u64) as usize);
    Parts::new(&part_of, starts.len()).drawn(trace, &part_of, drawn, |slot, row| {
        let moved_ps = start_ps(starts[slot]) - start_ps(first[row as usize]);
        start_ps(row) + if trace.is_root(row as usize) { moved_ps } else { 0 }
    })
}

fn resample_blocks(trace: &Trace, block_ps: i64, seed: u64) -> Result<Selection, InputError> {
    let first = trace.trajectories();
    let block_of = |row: u32| trace.arrival_ps[first[row as usize] as usize] / block_ps;
    let part_of: Vec<u32> = (0..trace.len() as u32).map(|row| block_of(row).min(NONE.into()) as u32).collect();
    let count = part_of.iter().max().map_or(0, |&last| u64::from(last) + 1);
    if count > 10_000_000 {
        let message = format!("{count} stretches of time; at most 10 million are drawn: take longer ones");
        return Err(InputError::in_field("transforms", message));
    }
    let draws = Draws::new(seed, Stream::Resample);
    let drawn = (0..count).map(|slot| draws.index(slot, count) as usize);
    Ok(Parts::new(&part_of, count as usize).drawn(trace, &part_of, drawn, |slot, row| {
        let time_ps = trace.arrival_ps[row as usize];
        let moved_ps = (slot as i64 - block_of(row)) * block_ps;
        time_ps + if trace.is_root(row as usize) { moved_ps } else { 0 }
    }))
}

#[cfg(test)]
pub(crate) mod tests;
