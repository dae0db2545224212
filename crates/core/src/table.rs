//! Rows that a reader outside the core made, as columns, to a trace.

use crate::error::{Fault, InputError};
use crate::rows::{Content, Fields, Options, Request, Rows, WaitFor};
use crate::trace::NONE;
use crate::workload::{Classes, HORIZON_PS, Labels, Names, TOKENS_MAX, Workload, check};

const PS_PER_S: i64 = 1_000_000_000_000;

/// Stands for nothing in a column of times.
pub const MISSING_PS: i64 = i64::MIN;

/// One entry a row; an empty column is none at all.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// `MISSING_PS` where there is none; so with the next two.
    pub time_ps: Vec<i64>,
    pub delay_ps: Vec<i64>,
    pub elapsed_ps: Vec<i64>,
    /// Indices into `session_names`; `NONE` where a row is of none.
    pub session: Vec<u32>,
    pub session_names: Names,
    pub input_tokens: Vec<u32>,
    pub output_tokens: Vec<u32>,
    pub reasoning_tokens: Vec<u32>,
    /// `NONE` where there is none.
    pub max_output_tokens: Vec<u32>,
    pub priority: Vec<i32>,
    /// Ids of all rows, and where each row's begin; a row without ids is of unknown content.
    pub hash_ids: Vec<u64>,
    pub hash_offsets: Vec<u64>,
    /// In place of ids: how many blocks a row begins with that are those of the turn before.
    pub kept_blocks: Vec<u32>,
    /// Rows, from 0, that each row waits for besides the turn before it, and where each row's begin.
    pub wait_for: Vec<u64>,
    pub wait_offsets: Vec<u64>,
    /// Where each row stands in the file; left out, they are counted from 1.
    pub lines: Vec<u64>,
    pub request_ids: Option<Names>,
    pub classes: Option<Classes>,
    pub failed: Option<Vec<bool>>,
}

/// The trace of a table's rows. `as_written`: ids and order are those of a trace already, and stay.
///
/// # Errors
/// The first thing wrong with the options, the columns or a row.
pub fn assemble(
    table: &Table,
    options: &Options,
    fields: Fields,
    file: &str,
    sha256: String,
    notes: serde_json::Map<String, serde_json::Value>,
    as_written: bool,
) -> Result<Workload, InputError> {
    let mut rows = Rows::new(options, fields.clone())?;
    rows.as_written = as_written && options.limit.is_none();
    table.check_lengths()?;
    for row in 0..table.input_tokens.len() {
        if rows.is_full() {
            break;
        }
        let line = table.lines.get(row).copied().unwrap_or(row as u64 + 1);
        table.push(row, &mut rows, options.block_tokens, &fields, line).map_err(|fault| fault.at(file, line))?;
    }
    let taken = rows.trace.len();
    let labels = Labels {
        request_ids: None,
        classes: table
            .classes
            .as_ref()
            .map(|classes| Classes { names: classes.names.clone(), of: first(&classes.of, taken) }),
        failed: table.failed.as_ref().map(|failed| first(failed, taken)),
    };
    let max_output_tokens = match (options.max_output_tokens, table.max_output_tokens.is_empty()) {
        (Some(_), _) => "given",
        (None, true) => "the real output length",
        (None, false) => "as each row says",
    };
    let workload = rows.finish(file, sha256, labels, |seen| {
        let mut all = notes;
        if let Ok(serde_json::Value::Object(counts)) = serde_json::to_value(seen) {
            all.extend(counts);
        }
        all.insert("max_output_tokens".to_owned(), max_output_tokens.into());
        all.into()
    })?;
    check(&workload.trace).map_err(|error| InputError { file: Some(file.to_owned()), ..error })?;
    Ok(workload)
}

fn first<T: Copy>(column: &[T], rows: usize) -> Vec<T> {
    column[..rows].to_vec()
}

impl Table {
    fn check_lengths(&self) -> Result<(), InputError> {
        let rows = self.input_tokens.len();
        let optional = [
            ("time_ps", self.time_ps.len()),
            ("delay_ps", self.delay_ps.len()),
            ("elapsed_ps", self.elapsed_ps.len()),
            ("session", self.session.len()),
            ("reasoning_tokens", self.reasoning_tokens.len()),
            ("max_output_tokens", self.max_output_tokens.len()),
            ("priority", self.priority.len()),
            ("hash_offsets", self.hash_offsets.len().saturating_sub(1)),
            ("kept_blocks", self.kept_blocks.len()),
            ("wait_offsets", self.wait_offsets.len().saturating_sub(1)),
            ("lines", self.lines.len()),
            ("request_ids", self.request_ids.as_ref().map_or(0, Names::len)),
        ];
        let needed = [
            ("output_tokens", self.output_tokens.len()),
            ("classes", self.classes.as_ref().map_or(rows, |classes| classes.of.len())),
            ("failed", self.failed.as_ref().map_or(rows, Vec::len)),
        ];
        let wrong = optional.into_iter().filter(|&(_, length)| length != 0).chain(needed).find(|&(_, n)| n != rows);
        if let Some((name, length)) = wrong {
            return Err(InputError::in_field(name, format!("{length} entries, but input_tokens has {rows}")));
        }
        for (name, offsets, of, count) in [
            ("hash_offsets", &self.hash_offsets, "hash_ids", self.hash_ids.len() as u64),
            ("wait_offsets", &self.wait_offsets, "wait_for", self.wait_for.len() as u64),
        ] {
            if offsets.windows(2).any(|pair| pair[0] > pair[1] || pair[1] > count) {
                return Err(InputError::in_field(name, format!("not rising from 0 to the number of {of}")));
            }
        }
        if let Some(Classes { names, of }) = &self.classes
            && of.iter().any(|&class| class as usize >= names.len())
        {
            return Err(InputError::in_field("classes", "an index beyond class_names"));
        }
        if self.session.iter().any(|&session| session != NONE && session as usize >= self.session_names.len()) {
            return Err(InputError::in_field("session", "an index beyond session_names"));
        }
        Ok(())
    }

    fn push(&self, row: usize, rows: &mut Rows, block_tokens: u32, fields: &Fields, line: u64) -> Result<(), Fault> {
        let (input, output) = (self.input_tokens[row], self.output_tokens[row]);
        if !(1..=TOKENS_MAX).contains(&input) {
            return Err(Fault::in_field(
                &fields.input,
                format!("found {input}; a prompt has 1 to {TOKENS_MAX} tokens"),
            ));
        }
        let reasoning_tokens = self.reasoning_tokens.get(row).copied().unwrap_or(0);
        let limit = self.max_output_tokens.get(row).copied().filter(|&limit| limit != NONE);
        for (field, tokens) in [
            (fields.output.as_str(), output),
            ("reasoning_tokens", reasoning_tokens),
            ("max_output_tokens", limit.unwrap_or(0)),
        ] {
            if tokens > TOKENS_MAX {
                return Err(Fault::in_field(field, format!("found {tokens}; at most {TOKENS_MAX} are possible")));
            }
        }
        let priority = self.priority.get(row).copied();
        let request = Request {
            time_ps: time(&self.time_ps, row, &fields.time)?,
            delay_ps: time(&self.delay_ps, row, &fields.delay)?,
            elapsed_ps: time(&self.elapsed_ps, row, "elapsed time")?,
            session: self.session.get(row).filter(|&&at| at != NONE).map(|&at| self.session_names.get(at as usize)),
            name: self.request_ids.as_ref().map(|names| names.get(row)).filter(|name| !name.is_empty()),
            input_tokens: input,
            output_tokens: output,
            reasoning_tokens,
            max_output_tokens: limit,
            priority: priority.unwrap_or(0),
            wait_for: match self.wait_offsets.get(row..row + 2) {
                Some(&[start, end]) => WaitFor::Also(&self.wait_for[start as usize..end as usize]),
                _ => WaitFor::Session,
            },
        };
        rows.push(&request, self.content(row, &request, block_tokens, &fields.ids)?, line)?;
        rows.seen.with_priority += u64::from(priority.is_some_and(|priority| priority != 0));
        Ok(())
    }

    fn content(&self, row: usize, request: &Request<'_>, block_tokens: u32, field: &str) -> Result<Content<'_>, Fault> {
        if let Some(&kept) = self.kept_blocks.get(row) {
            return Ok(Content::Kept(kept));
        }
        if self.hash_offsets.is_empty() {
            return Ok(Content::Unknown);
        }
        let ids = &self.hash_ids[self.hash_offsets[row] as usize..self.hash_offsets[row + 1] as usize];
        if ids.is_empty() {
            return Ok(Content::Unknown);
        }
        let (input, output) = (request.input_tokens, u64::from(request.output_tokens));
        let fewest = u64::from(input.div_ceil(block_tokens));
        let most = (u64::from(input) + output).div_ceil(block_tokens.into());
        if (fewest..=most).contains(&(ids.len() as u64)) {
            return Ok(Content::Ids(ids));
        }
        let right = if most > fewest { format!("{fewest} to {most}") } else { format!("exactly {fewest}") };
        Err(Fault::in_field(
            field,
            format!(
                "found {} ids for {input} prompt tokens; at {block_tokens} tokens a block {right} are right",
                ids.len()
            ),
        ))
    }
}

fn time(column: &[i64], row: usize, field: &str) -> Result<Option<i64>, Fault> {
    match column.get(row) {
        None | Some(&MISSING_PS) => Ok(None),
        Some(&time_ps) if (0..=HORIZON_PS).contains(&time_ps) => Ok(Some(time_ps)),
        Some(&time_ps) => Err(Fault::in_field(
            field,
            format!("{} s from the start of the trace; 0 to 100 days are possible", time_ps / PS_PER_S),
        )),
    }
}
