//! What a request waits for besides the turn before it: told by name or row, resolved once all rows are there.

use hashbrown::HashSet;
use rustc_hash::FxBuildHasher;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;

use super::turns::Turn;
use super::{Request, Rows, late};
use crate::error::{Fault, InputError};
use crate::trace::NONE;
use crate::workload::HORIZON_PS;

/// How many requests of a cycle a message names.
const SHOWN: usize = 6;

/// What a row says of the requests that must end before it arrives.
#[derive(Clone, Copy, Debug, Default)]
pub enum WaitFor<'a> {
    /// Nothing: the turn before it in its session, if there is one.
    #[default]
    Session,
    /// The turn before it and, by their rows, these.
    Also(&'a [u64]),
    /// By their names, all of them; none: it comes at its own time.
    Only(&'a [Cow<'a, str>]),
}

impl WaitFor<'_> {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            WaitFor::Session => true,
            WaitFor::Also(rows) => rows.is_empty(),
            WaitFor::Only(names) => names.is_empty(),
        }
    }
}

/// What rows said that they wait for.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// Rows that named all they wait for.
    only: Vec<u32>,
    names: Vec<(u32, Box<str>)>,
    rows: Vec<(u32, u64)>,
}

impl Waits {
    pub(super) fn is_empty(&self) -> bool {
        self.only.is_empty() && self.rows.is_empty()
    }
}

impl Rows {
    /// Notes what a row waits for; returns the turn before it, if it goes on from there without a word.
    pub(super) fn enter_waits(
        &mut self,
        request: &Request<'_>,
        previous: Option<Turn>,
        row: u32,
    ) -> Result<Option<Turn>, Fault> {
        match request.wait_for {
            WaitFor::Session => {}
            WaitFor::Also(rows) => self.waits.rows.extend(rows.iter().map(|&before| (row, before))),
            WaitFor::Only(names) => {
                if self.options.turns.is_some() {
                    let message = "given beside turns: a row with it says itself what it follows; leave turns out";
                    return Err(Fault::in_field("wait_for", message));
                }
                self.waits.only.push(row);
                self.waits.names.extend(names.iter().map(|name| (row, name.as_ref().into())));
                return Ok(None);
            }
        }
        Ok(previous)
    }

    /// Of a row that is no later turn: its own time, or the delay after what it waits for.
    pub(super) fn time_or_delay(&mut self, request: &Request<'_>) -> Result<i64, Fault> {
        if request.wait_for.is_empty() {
            return self.own_time(request);
        }
        self.seen.later_turns += 1;
        self.seen.timestamps_without_effect += u64::from(request.time_ps.is_some());
        Ok(request.delay_ps.unwrap_or(0))
    }

    /// Finds who waits for whom, and with that when each could arrive at the earliest.
    pub(super) fn resolve_waits(&mut self, file: &str) -> Result<(), InputError> {
        if self.waits.is_empty() {
            return Ok(());
        }
        let found = self.edges().and_then(|edges| {
            self.set_waits(edges);
            self.set_earliest()
        });
        found.map_err(|(fault, row)| fault.at(file, self.lines[row as usize]))
    }

    /// Who waits for whom, by row and then as told.
    fn edges(&self) -> Result<Vec<(u32, u32)>, (Fault, u32)> {
        let mut edges = Vec::with_capacity(self.waits.names.len() + self.waits.rows.len());
        for (row, name) in &self.waits.names {
            edges.push((*row, self.row_named(name).map_err(|fault| (fault, *row))?));
        }
        let rows = self.trace.len() as u64;
        for &(row, before) in &self.waits.rows {
            if before >= rows {
                let message = format!("found row {before}; the trace has {rows}, from 0");
                return Err((Fault::in_field("wait_for", message), row));
            }
            edges.push((row, before as u32));
        }
        let mut seen: HashSet<(u32, u32), FxBuildHasher> = HashSet::default();
        for &(row, before) in &edges {
            let by_turn = self.trace.after[row as usize] == before;
            if by_turn || !seen.insert((row, before)) {
                let why = if by_turn { "the turn before it anyway" } else { "named twice" };
                let message = format!("found {}, {why}; name each once", self.called(before));
                return Err((Fault::in_field("wait_for", message), row));
            }
        }
        edges.sort_by_key(|&(row, _)| row);
        Ok(edges)
    }

    fn row_named(&self, name: &str) -> Result<u32, Fault> {
        let names = &self.names;
        let found = self.rows_by_name.find(FxBuildHasher.hash_one(name), |&row| names.get(row as usize) == name);
        found.copied().ok_or_else(|| {
            let within = match self.options.limit {
                Some(limit) => format!("the first {limit} rows"),
                None => "the trace".to_owned(),
            };
            let name_field = &self.fields.name;
            Fault::in_field("wait_for", format!("found \"{name}\"; no request of {within} has this {name_field}"))
        })
    }

    /// For messages.
    fn called(&self, row: u32) -> String {
        match self.names.len() > row as usize && !self.names.get(row as usize).is_empty() {
            true => format!("\"{}\"", self.names.get(row as usize)),
            false => format!("line {}", self.lines[row as usize]),
        }
    }

    /// A row that named all it waits for is the next turn of the first of them that is of the same session, or of
    /// none as it is itself, and that has no next turn yet.
    fn set_waits(&mut self, edges: Vec<(u32, u32)>) {
        let after = &mut self.trace.after;
        let mut continued = vec![false; after.len()];
        for &before in after.iter().filter(|&&before| before != NONE) {
            continued[before as usize] = true;
        }
        let of = |row: u32| {
            let start = edges.partition_point(|&(other, _)| other < row);
            edges[start..].iter().take_while(move |&&(other, _)| other == row).map(|&(_, before)| before)
        };
        for &row in &self.waits.only {
            let session = self.session_of[row as usize];
            let goes_on = |&before: &u32| self.session_of[before as usize] == session && !continued[before as usize];
            if let Some(before) = of(row).find(goes_on) {
                after[row as usize] = before;
                continued[before as usize] = true;
            }
        }
        let trace = &mut self.trace;
        trace.wait_offsets.push(0);
        let mut rest = edges.iter().peekable();
        for row in 0..trace.after.len() {
            while let Some(&(_, before)) = rest.next_if(|&&(other, _)| other as usize == row) {
                if trace.after[row] != before {
                    trace.wait_for.push(before);
                }
            }
            trace.wait_offsets.push(trace.wait_for.len() as u64);
        }
        if trace.wait_for.is_empty() {
            trace.wait_offsets.clear();
        }
    }

    /// When each request arrives if nothing takes any time, and their order by what they wait for.
    fn set_earliest(&mut self) -> Result<(), (Fault, u32)> {
        let rows = self.trace.len();
        let mut waiting: Vec<u32> = (0..rows).map(|row| self.trace.predecessors(row).count() as u32).collect();
        let mut followers: Vec<(u32, u32)> = Vec::new();
        for row in 0..rows {
            followers.extend(self.trace.predecessors(row).map(|before| (before, row as u32)));
        }
        followers.sort_unstable();
        // The earliest row first, so that rows that are in order already stay so.
        let mut ready: BinaryHeap<Reverse<u32>> =
            (0..rows as u32).filter(|&row| waiting[row as usize] == 0).map(Reverse).collect();
        let mut order = Vec::with_capacity(rows);
        let mut earliest_ps = vec![0i64; rows];
        while let Some(Reverse(row)) = ready.pop() {
            let at = row as usize;
            let arrival_ps = i128::from(earliest_ps[at]) + i128::from(self.trace.arrival_ps[at]);
            if arrival_ps > HORIZON_PS.into() {
                return Err((late(&self.fields, !self.trace.is_root(at)), row));
            }
            earliest_ps[at] = arrival_ps as i64;
            order.push(row);
            let start = followers.partition_point(|&(before, _)| before < row);
            for &(_, follower) in followers[start..].iter().take_while(|&&(before, _)| before == row) {
                let follower_at = follower as usize;
                earliest_ps[follower_at] = earliest_ps[follower_at].max(earliest_ps[at]);
                waiting[follower_at] -= 1;
                if waiting[follower_at] == 0 {
                    ready.push(Reverse(follower));
                }
            }
        }
        if order.len() < rows {
            return Err(self.cycle(&waiting));
        }
        if !self.as_written {
            self.seen.out_of_order = earliest_ps.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
        }
        self.earliest_ps = earliest_ps;
        self.by_waits = order;
        Ok(())
    }

    /// The fault of rows that wait for each other, of which there are some.
    fn cycle(&self, waiting: &[u32]) -> (Fault, u32) {
        let stuck = |row: u32| waiting[row as usize] > 0;
        let first_stuck = |mut rows: Box<dyn Iterator<Item = u32> + '_>| rows.find(|&row| stuck(row));
        let mut way: Vec<u32> = Vec::new();
        let mut passed = vec![false; waiting.len()];
        let mut at = first_stuck(Box::new(0..waiting.len() as u32)).expect("some wait");
        while !std::mem::replace(&mut passed[at as usize], true) {
            way.push(at);
            at = first_stuck(Box::new(self.trace.predecessors(at as usize))).expect("it waits for one that waits");
        }
        let circle = &way[way.iter().position(|&row| row == at).unwrap_or(0)..];
        let named: Vec<String> = circle.iter().take(SHOWN).map(|&row| self.called(row)).collect();
        let more = if circle.len() > SHOWN { format!(", and {} more", circle.len() - SHOWN) } else { String::new() };
        let message = match circle.len() {
            1 => format!("{} waits for itself", named[0]),
            _ => format!("{}{more} wait for each other in a circle: none could ever come", named.join(" → ")),
        };
        (Fault::in_field("wait_for", message), at)
    }
}
