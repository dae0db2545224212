//! Rows of any source, one after the other, to a trace: what holds between rows.
//!
//! [`turns`] says what a later turn of a session repeats, and when it arrives; [`waits`] what else a
//! request waits for; [`order`] puts the whole into the order of arrival.

mod interner;
mod order;
mod turns;
mod waits;

use std::hash::BuildHasher;

use hashbrown::{HashMap, HashTable};
use rustc_hash::FxBuildHasher;
use serde::Serialize;

use crate::decimal::Speedup;
use crate::error::{Fault, InputError};
use crate::trace::{NONE, Trace};
use crate::workload::{BLOCK_IDS_MAX, BLOCK_TOKENS_MAX, Names, TOKENS_MAX};
use interner::Interner;
use turns::Turn;
pub use turns::Turns;
pub use waits::WaitFor;
use waits::Waits;

/// What is asked of every reader.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tokens one block id stands for.
    pub block_tokens: u32,
    /// Only the first so many rows of the file.
    pub limit: Option<u64>,
    /// Divides arrival times and delays, each rounded to the nearest picosecond, halves to even.
    /// Meant as the decimal it is written as, so 1.1 is eleven tenths exactly.
    pub speedup: f64,
    /// The output limit every client asked for; none: as each row says, or else its real length.
    pub max_output_tokens: Option<u32>,
    /// What later turns of a session mean; none: refuse those that could mean more than one thing.
    pub turns: Option<Turns>,
}

impl Default for Options {
    fn default() -> Self {
        Options { block_tokens: 512, limit: None, speedup: 1.0, max_output_tokens: None, turns: None }
    }
}

impl Options {
    /// # Errors
    /// Names the option that makes no sense.
    pub fn check(&self) -> Result<Speedup, InputError> {
        if self.block_tokens == 0 || self.block_tokens > BLOCK_TOKENS_MAX {
            return Err(InputError::in_field(
                "block_tokens",
                format!("{} is not between 1 and {BLOCK_TOKENS_MAX}", self.block_tokens),
            ));
        }
        if self.limit == Some(0) {
            return Err(InputError::in_field("limit", "0 leaves no requests; leave it out to take all rows"));
        }
        if let Some(limit) = self.max_output_tokens.filter(|&limit| limit > TOKENS_MAX) {
            return Err(InputError::in_field("max_output_tokens", format!("{limit} is above {TOKENS_MAX}")));
        }
        Speedup::new(self.speedup).ok_or_else(|| {
            InputError::in_field("speedup", format!("{} is not between 0.001 and 1000000", self.speedup))
        })
    }
}

/// What the columns are called where the rows are from, for messages.
#[derive(Clone, Debug)]
pub struct Fields {
    pub time: String,
    pub delay: String,
    pub input: String,
    pub output: String,
    pub ids: String,
    pub name: String,
}

/// One row, each of its values sound by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    pub time_ps: Option<i64>,
    /// From the end of the turn before.
    pub delay_ps: Option<i64>,
    /// How long it took when it was recorded: with the time, when the next turn's delay began.
    pub elapsed_ps: Option<i64>,
    pub session: Option<&'a str>,
    pub name: Option<&'a str>,
    pub input_tokens: u32,
    pub output_tokens: u32,
    /// Of the output, what no later turn repeats.
    pub reasoning_tokens: u32,
    pub max_output_tokens: Option<u32>,
    pub priority: i32,
    pub wait_for: WaitFor<'a>,
}

/// What is known of a prompt's content.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// Nothing but, for a later turn, what it is a turn of.
    Unknown,
    /// An id for each block of the prompt; any more are of generated text.
    Ids(&'a [u64]),
    /// The first so many blocks of the turn before, then its own.
    Kept(u32),
}

/// What was seen and taken for granted; counts are of rows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    pub rows: u64,
    pub sessions: u64,
    /// Rows that wait for another one.
    pub later_turns: u64,
    /// Delays that were not given, but are the difference of two times.
    pub delays_from_timestamps: u64,
    /// Times that play no part, because a delay is given.
    pub timestamps_without_effect: u64,
    /// Requests that wait for no other, by their own word, and do not say when they come: at 0.
    pub roots_without_time: u64,
    /// Turns that were sent before the one before them ended: their delay is 0.
    pub overlapping_turns: u64,
    /// Turns whose prompt is shorter than what it should repeat: they repeat nothing.
    pub shortened_turns: u64,
    /// Ids of later turns that say less than their session does.
    pub ids_without_effect: u64,
    pub without_hash_ids: u64,
    pub prefill_only: u64,
    pub with_priority: u64,
    /// Rows that arrive before the one above them.
    pub out_of_order: u64,
}

pub struct Rows {
    options: Options,
    speedup: Speedup,
    fields: Fields,
    pub trace: Trace,
    /// When a request arrives if nothing before it takes any time: the order of the trace.
    earliest_ps: Vec<i64>,
    lines: Vec<u64>,
    interner: Interner,
    sessions: HashMap<Box<str>, Turn, FxBuildHasher>,
    /// The number of each row's session, or `NONE`.
    session_of: Vec<u32>,
    waits: Waits,
    /// Where rows wait for more than the turn before: all of them, each after those it waits for.
    by_waits: Vec<u32>,
    /// Empty where a row has none; no entries at all before the first that has one.
    names: Names,
    rows_by_name: HashTable<u32>,
    /// Ids are dense ones already, and the order stays unless it is none: a trace of ours comes back as it was.
    pub as_written: bool,
    latest_ps: i64,
    pub seen: Seen,
}

impl Rows {
    /// # Errors
    /// An option makes no sense.
    pub fn new(options: &Options, fields: Fields) -> Result<Self, InputError> {
        let speedup = options.check()?;
        Ok(Rows {
            options: options.clone(),
            speedup,
            fields,
            trace: Trace { block_tokens: options.block_tokens, block_offsets: vec![0], ..Trace::default() },
            earliest_ps: Vec::new(),
            lines: Vec::new(),
            interner: Interner::new(),
            sessions: HashMap::default(),
            session_of: Vec::new(),
            waits: Waits::default(),
            by_waits: Vec::new(),
            names: Names::default(),
            rows_by_name: HashTable::new(),
            as_written: false,
            latest_ps: 0,
            seen: Seen::default(),
        })
    }

    pub fn is_full(&self) -> bool {
        self.options.limit.is_some_and(|limit| self.trace.len() as u64 >= limit)
    }

    /// Takes the row that stands at `line`.
    ///
    /// # Errors
    /// It does not go with its own values or with the rows before it; the trace is of no use then.
    pub fn push(&mut self, request: &Request<'_>, content: Content<'_>, line: u64) -> Result<(), Fault> {
        let row = self.trace.len();
        if row >= NONE as usize {
            return Err(Fault::in_row(format!("over {NONE} requests; split the trace")));
        }
        let limit = self.output_limit(request)?;
        let previous = self.enter_session(request, row as u32);
        let previous = self.enter_waits(request, previous, row as u32)?;
        let input_tokens = self.push_content(request, content, previous.as_ref())?;
        self.push_arrival(request, previous.as_ref())?;
        self.push_name(request.name, row as u32)?;
        self.trace.input_tokens.push(input_tokens);
        self.trace.output_tokens.push(request.output_tokens);
        self.trace.max_output_tokens.push(limit);
        self.trace.priority.push(request.priority);
        self.lines.push(line);
        self.seen.rows += 1;
        self.seen.prefill_only += u64::from(request.output_tokens == 0);
        Ok(())
    }

    fn output_limit(&self, request: &Request<'_>) -> Result<u32, Fault> {
        let output = request.output_tokens;
        match self.options.max_output_tokens {
            Some(limit) if output > limit => Err(Fault::in_field(
                &self.fields.output,
                format!("found {output}, above max_output_tokens ({limit}); raise that, or shorten the output"),
            )),
            Some(limit) => Ok(limit),
            None => match request.max_output_tokens {
                Some(limit) if output > limit => Err(Fault::in_field(
                    &self.fields.output,
                    format!("found {output}, but the row's own limit is {limit}; no output is longer than its limit"),
                )),
                limit => Ok(limit.unwrap_or(output)),
            },
        }
    }

    /// Fails if so many more ids would be too many.
    fn room_for(&self, blocks: usize) -> Result<(), Fault> {
        if self.trace.block_ids.len() as u64 + blocks as u64 > BLOCK_IDS_MAX {
            return Err(Fault::in_field(&self.fields.ids, format!("over {BLOCK_IDS_MAX} in the trace; split it")));
        }
        Ok(())
    }

    fn push_fresh(&mut self, blocks: usize) {
        let interner = &mut self.interner;
        self.trace.block_ids.extend((0..blocks).map(|_| interner.fresh()));
    }

    fn push_name(&mut self, name: Option<&str>, index: u32) -> Result<(), Fault> {
        let Some(name) = name else {
            if !self.names.is_empty() {
                self.names.push("");
            }
            return Ok(());
        };
        while self.names.len() < index as usize {
            self.names.push("");
        }
        if let Some(other) = self.claim(name, index) {
            return Err(Fault::in_field(
                &self.fields.name,
                format!("\"{name}\" again: line {} has it too; ids must differ", self.lines[other as usize]),
            ));
        }
        self.names.push(name);
        Ok(())
    }

    /// Enters a name, or returns the row that has it already.
    fn claim(&mut self, name: &str, index: u32) -> Option<u32> {
        let (names, hash) = (&self.names, |name: &str| FxBuildHasher.hash_one(name));
        let entry = self.rows_by_name.entry(
            hash(name),
            |&row| names.get(row as usize) == name,
            |&row| hash(names.get(row as usize)),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(other) => Some(*other.get()),
            hashbrown::hash_table::Entry::Vacant(free) => {
                free.insert(index);
                None
            }
        }
    }

    /// Rows without a name go by their line.
    fn all_named(&self) -> Option<Names> {
        if self.names.is_empty() {
            return None;
        }
        let mut names = Names::default();
        for (name, line) in self.names.iter().zip(&self.lines) {
            if name.is_empty() { names.push(&format!("line {line}")) } else { names.push(name) }
        }
        Some(names)
    }
}

fn late(fields: &Fields, turn: bool) -> Fault {
    let field = if turn { &fields.delay } else { &fields.time };
    Fault::in_field(field, "arrives over 100 days after the start of the trace (session delays and speedup applied)")
}

#[cfg(test)]
mod tests;
