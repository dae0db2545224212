//! Rows, one after the other, to a trace: what holds between fields, and between rows.

use std::hash::BuildHasher;

use hashbrown::{HashMap, HashTable};
use rustc_hash::FxBuildHasher;
use serde::Serialize;

use super::blocks::Interner;
use super::decimal::Speedup;
use super::row::Row;
use super::{Fault, Options, careful, scan};
use crate::error::InputError;
use crate::trace::{NONE, Trace};
use crate::workload::{BLOCK_IDS_MAX, HORIZON_PS, Labels, Names, Workload};

/// Block sizes to suggest where the given one does not fit the trace.
const USUAL_BLOCK_TOKENS: [u32; 7] = [16, 32, 64, 128, 256, 512, 1024];

/// What the reader saw and took for granted; counts are of rows.
#[derive(Debug, Serialize)]
pub struct Notes {
    pub format: &'static str,
    pub rows: u64,
    pub sessions: u64,
    /// Rows that wait for an earlier one of their session.
    pub later_turns: u64,
    /// Delays that were not given, but are the difference of two timestamps.
    pub delays_from_timestamps: u64,
    /// Timestamps that play no part, because a delay is given.
    pub timestamps_without_effect: u64,
    pub without_hash_ids: u64,
    pub prefill_only: u64,
    pub max_output_tokens: &'static str,
    pub with_priority: u64,
    /// Fields that are checked but change nothing in an engine.
    pub strict_priority_without_effect: u64,
    pub policy_class_without_effect: u64,
    pub output_token_ids_without_effect: u64,
    /// Rows that arrive before the one above them.
    pub out_of_order: u64,
    pub blank_lines: u64,
    pub byte_order_mark: bool,
}

/// The turn of a session that the next one waits for.
struct Turn {
    row: u32,
    timestamp_ps: Option<i64>,
}

pub struct Assembly<'o> {
    options: &'o Options,
    speedup: Speedup,
    trace: Trace,
    /// When a request arrives if nothing before it takes any time: the order of the trace.
    earliest_ps: Vec<i64>,
    lines: Vec<u64>,
    interner: Interner,
    sessions: HashMap<Box<str>, Turn, FxBuildHasher>,
    /// Empty where a row has none; no entries at all before the first that has one.
    names: Names,
    rows_by_name: HashTable<u32>,
    /// Bit i: `USUAL_BLOCK_TOKENS[i]` fits every row so far.
    fitting: u8,
    pub notes: Notes,
}

impl<'o> Assembly<'o> {
    pub fn new(options: &'o Options, speedup: Speedup) -> Self {
        Assembly {
            options,
            speedup,
            trace: Trace { block_tokens: options.block_tokens, block_offsets: vec![0], ..Trace::default() },
            earliest_ps: Vec::new(),
            lines: Vec::new(),
            interner: Interner::new(),
            sessions: HashMap::default(),
            names: Names::default(),
            rows_by_name: HashTable::new(),
            fitting: (1 << USUAL_BLOCK_TOKENS.len()) - 1,
            notes: Notes {
                format: "mooncake",
                rows: 0,
                sessions: 0,
                later_turns: 0,
                delays_from_timestamps: 0,
                timestamps_without_effect: 0,
                without_hash_ids: 0,
                prefill_only: 0,
                max_output_tokens: if options.max_output_tokens.is_some() { "given" } else { "the real output length" },
                with_priority: 0,
                strict_priority_without_effect: 0,
                policy_class_without_effect: 0,
                output_token_ids_without_effect: 0,
                out_of_order: 0,
                blank_lines: 0,
                byte_order_mark: false,
            },
        }
    }

    /// Takes whole lines, each with its line end; returns the number of the next one.
    ///
    /// # Errors
    /// The first fault, and its line.
    pub fn take_lines(&mut self, bytes: &[u8], first_line: u64) -> Result<u64, (Fault, u64)> {
        let mut line = first_line;
        let mut start = 0;
        let mut ids = Vec::new();
        while start < bytes.len() && !self.is_full() {
            ids.clear();
            if let Some((row, next)) = scan::scan(bytes, start, &mut ids) {
                self.push(row, &ids, line).map_err(|fault| (fault, line))?;
                start = next;
            } else {
                let end = bytes[start..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| start + at);
                let text = bytes[start..end].strip_suffix(b"\r").unwrap_or(&bytes[start..end]);
                if text.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
                    self.notes.blank_lines += 1;
                } else {
                    ids.clear();
                    careful::parse(text, &mut ids)
                        .and_then(|row| self.push(row, &ids, line))
                        .map_err(|fault| (fault, line))?;
                }
                start = end + 1;
            }
            line += 1;
        }
        Ok(line)
    }

    fn is_full(&self) -> bool {
        self.options.limit.is_some_and(|limit| self.trace.len() as u64 >= limit)
    }

    fn push(&mut self, row: Row<'_>, ids: &[u64], line: u64) -> Result<(), Fault> {
        let index = self.trace.len() as u32;
        if index == NONE {
            return Err(Fault::in_row(format!("over {NONE} requests; split the trace")));
        }
        let input = row.input_tokens.ok_or_else(|| {
            Fault::in_field("input_length", "missing; hash_ids tell it only up to a block, so it is not guessed")
        })?;
        if input == 0 {
            return Err(Fault::in_field("input_length", "found 0; a prompt has at least one token"));
        }
        let output =
            row.output_tokens.ok_or_else(|| Fault::in_field("output_length", "missing; 0 stands for prefill only"))?;
        self.check_output(&row, output)?;
        self.push_blocks(&row, input, ids)?;
        self.push_arrival(&row, index)?;
        self.push_name(row.request_id.as_deref(), index)?;
        self.trace.input_tokens.push(input);
        self.trace.output_tokens.push(output);
        self.trace.max_output_tokens.push(self.options.max_output_tokens.unwrap_or(output));
        self.trace.priority.push(row.priority.unwrap_or(0));
        self.lines.push(line);
        self.notes.rows += 1;
        self.notes.prefill_only += u64::from(output == 0);
        self.notes.with_priority += u64::from(row.priority.is_some());
        self.notes.strict_priority_without_effect += u64::from(row.has_strict_priority);
        self.notes.policy_class_without_effect += u64::from(row.has_policy_class);
        self.notes.output_token_ids_without_effect += u64::from(row.output_token_ids.is_some());
        Ok(())
    }

    fn check_output(&self, row: &Row<'_>, output: u32) -> Result<(), Fault> {
        if let Some(count) = row.output_token_ids.filter(|&count| count != u64::from(output)) {
            return Err(Fault::in_field(
                "output_token_ids",
                format!("found {count} ids, but output_length is {output}; they must agree"),
            ));
        }
        match self.options.max_output_tokens {
            Some(limit) if output > limit => Err(Fault::in_field(
                "output_length",
                format!("found {output}, above max_output_tokens ({limit}); raise that, or shorten the output"),
            )),
            _ => Ok(()),
        }
    }

    fn push_blocks(&mut self, row: &Row<'_>, input: u32, ids: &[u64]) -> Result<(), Fault> {
        let block_tokens = self.options.block_tokens;
        let needed = input.div_ceil(block_tokens) as usize;
        if self.trace.block_ids.len() as u64 + needed as u64 > BLOCK_IDS_MAX {
            return Err(Fault::in_field("hash_ids", format!("over {BLOCK_IDS_MAX} in the trace; split it")));
        }
        if row.has_hash_ids {
            for (bit, size) in USUAL_BLOCK_TOKENS.iter().enumerate() {
                if input.div_ceil(*size) as usize != ids.len() {
                    self.fitting &= !(1 << bit);
                }
            }
            if ids.len() != needed {
                return Err(self.wrong_count(ids.len(), input, needed));
            }
            let interner = &mut self.interner;
            self.trace.block_ids.extend(ids.iter().map(|&id| interner.intern(id)));
        } else {
            self.notes.without_hash_ids += 1;
            let interner = &mut self.interner;
            self.trace.block_ids.extend((0..needed).map(|_| interner.fresh()));
        }
        self.trace.block_offsets.push(self.trace.block_ids.len() as u64);
        Ok(())
    }

    fn wrong_count(&self, found: usize, input: u32, needed: usize) -> Fault {
        let block_tokens = self.options.block_tokens;
        let fit = USUAL_BLOCK_TOKENS.iter().enumerate().find(|(bit, _)| self.fitting & (1 << bit) != 0);
        let advice = match fit {
            Some((_, size)) => {
                format!("; wrong trace block size? {size} would fit every row so far")
            }
            None => format!("; too {} for the prompt", if found < needed { "few" } else { "many" }),
        };
        Fault::in_field(
            "hash_ids",
            format!(
                "found {found} ids for {input} prompt tokens; \
                 at {block_tokens} tokens a block exactly {needed} are right{advice}"
            ),
        )
    }

    fn push_arrival(&mut self, row: &Row<'_>, index: u32) -> Result<(), Fault> {
        let turn = Turn { row: index, timestamp_ps: row.timestamp_ps };
        let previous = match row.session_id.as_deref() {
            None => None,
            Some(session) => match self.sessions.get_mut(session) {
                Some(last) => Some(std::mem::replace(last, turn)),
                None => {
                    self.sessions.insert(session.into(), turn);
                    None
                }
            },
        };
        let (after, start_ps, wait_ps, field) = match previous {
            None => {
                if row.delay_ps.is_some_and(|delay_ps| delay_ps != 0) {
                    return Err(Fault::in_field(
                        "delay",
                        "given for a request that waits for no other (a first turn, or no session_id); \
                         leave it out, or give 0",
                    ));
                }
                let time_ps = row.timestamp_ps.ok_or_else(|| {
                    Fault::in_field("timestamp", "missing; only a later turn of a session with a delay can do without")
                })?;
                (NONE, 0, time_ps, "timestamp")
            }
            Some(previous) => {
                let delay_ps = self.delay(row, &previous)?;
                self.notes.later_turns += 1;
                (previous.row, self.earliest_ps[previous.row as usize], delay_ps, "delay")
            }
        };
        let wait_ps = self.speedup.divide(wait_ps);
        let earliest_ps = i128::from(start_ps) + wait_ps;
        if earliest_ps > HORIZON_PS.into() {
            let message = "arrives over 100 days after the start of the trace (session delays and speedup applied)";
            return Err(Fault::in_field(field, message));
        }
        self.trace.after.push(after);
        self.trace.arrival_ps.push(wait_ps as i64);
        self.notes.out_of_order += u64::from(self.earliest_ps.last().is_some_and(|&last| earliest_ps < last.into()));
        self.earliest_ps.push(earliest_ps as i64);
        Ok(())
    }

    /// How long after the end of `previous` a later turn arrives.
    fn delay(&mut self, row: &Row<'_>, previous: &Turn) -> Result<i64, Fault> {
        if let Some(delay_ps) = row.delay_ps {
            self.notes.timestamps_without_effect += u64::from(row.timestamp_ps.is_some());
            return Ok(delay_ps);
        }
        let line = self.lines[previous.row as usize];
        let (Some(time_ps), Some(before_ps)) = (row.timestamp_ps, previous.timestamp_ps) else {
            return Err(Fault::in_field(
                "delay",
                format!(
                    "missing, and no difference of timestamps to take instead: \
                     this row or the turn before (line {line}) has none"
                ),
            ));
        };
        if time_ps < before_ps {
            return Err(Fault::in_field(
                "timestamp",
                format!("earlier than that of the turn before (line {line}); put a session's turns in order"),
            ));
        }
        self.notes.delays_from_timestamps += 1;
        Ok(time_ps - before_ps)
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
                "request_id",
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

    /// The trace in order of arrival.
    ///
    /// # Errors
    /// There are no rows.
    pub fn finish(mut self, file: &str, sha256: String) -> Result<Workload, InputError> {
        if self.trace.is_empty() {
            return Err(InputError::in_file(file, "has no rows; a trace has one JSON object a line"));
        }
        self.notes.sessions = self.sessions.len() as u64;
        let mut names = (!self.names.is_empty()).then(|| self.all_named());
        if self.notes.out_of_order > 0 {
            let order = self.order();
            sort(&mut self.trace, &order);
            if let Some(unsorted) = names.take() {
                let mut sorted = Names::default();
                order.iter().for_each(|&row| sorted.push(unsorted.get(row as usize)));
                names = Some(sorted);
            }
        }
        let notes = serde_json::to_value(&self.notes).expect("a plain structure");
        let labels = Labels { request_ids: names, ..Labels::default() };
        Ok(Workload { trace: self.trace, labels, sha256, notes })
    }

    /// Rows without a name go by their line.
    fn all_named(&self) -> Names {
        let mut names = Names::default();
        for (name, line) in self.names.iter().zip(&self.lines) {
            if name.is_empty() { names.push(&format!("line {line}")) } else { names.push(name) }
        }
        names
    }

    fn order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.trace.len() as u32).collect();
        order.sort_by_key(|&row| self.earliest_ps[row as usize]);
        order
    }
}

/// Puts the requests of `trace` into `order`, a permutation of its rows.
fn sort(trace: &mut Trace, order: &[u32]) {
    fn permute<T: Copy>(column: &mut Vec<T>, order: &[u32]) {
        *column = order.iter().map(|&row| column[row as usize]).collect();
    }
    let mut place = vec![0; order.len()];
    for (index, &row) in order.iter().enumerate() {
        place[row as usize] = index as u32;
    }
    let mut ids = Vec::with_capacity(trace.block_ids.len());
    let mut offsets = Vec::with_capacity(trace.block_offsets.len());
    offsets.push(0);
    for &row in order {
        ids.extend_from_slice(trace.blocks(row as usize));
        offsets.push(ids.len() as u64);
    }
    (trace.block_ids, trace.block_offsets) = (ids, offsets);
    permute(&mut trace.arrival_ps, order);
    permute(&mut trace.input_tokens, order);
    permute(&mut trace.output_tokens, order);
    permute(&mut trace.max_output_tokens, order);
    permute(&mut trace.priority, order);
    permute(&mut trace.after, order);
    for after in trace.after.iter_mut().filter(|after| **after != NONE) {
        *after = place[*after as usize];
    }
}
