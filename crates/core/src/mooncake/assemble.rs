//! Mooncake's rows to a trace: what holds between the fields of one.

use serde::Serialize;

use super::row::Row;
use super::{careful, scan};
use crate::error::{Fault, InputError};
use crate::rows::{Content, Fields, Options, Request, Rows, Seen, WaitFor};
use crate::workload::{Labels, Workload};

/// Block sizes to suggest where the given one does not fit the trace.
const USUAL_BLOCK_TOKENS: [u32; 7] = [16, 32, 64, 128, 256, 512, 1024];

/// What the reader saw and took for granted; counts are of rows.
#[derive(Debug, Serialize)]
pub struct Notes {
    pub format: &'static str,
    #[serde(flatten)]
    pub seen: Seen,
    pub max_output_tokens: &'static str,
    /// Fields that are checked but change nothing in an engine.
    pub strict_priority_without_effect: u64,
    pub policy_class_without_effect: u64,
    pub output_token_ids_without_effect: u64,
    pub branches_without_effect: u64,
    pub prefix_reset_without_effect: u64,
    pub tool_events_without_effect: u64,
    pub request_kind_without_effect: u64,
    pub blank_lines: u64,
    pub byte_order_mark: bool,
}

pub struct Assembly {
    block_tokens: u32,
    rows: Rows,
    /// Bit i: `USUAL_BLOCK_TOKENS[i]` fits every row so far.
    fitting: u8,
    pub notes: Notes,
}

impl Assembly {
    /// # Errors
    /// An option makes no sense.
    pub fn new(options: &Options) -> Result<Self, InputError> {
        let fields = Fields {
            time: "timestamp".to_owned(),
            delay: "delay".to_owned(),
            input: "input_length".to_owned(),
            output: "output_length".to_owned(),
            ids: "hash_ids".to_owned(),
            name: "request_id".to_owned(),
        };
        Ok(Assembly {
            block_tokens: options.block_tokens,
            rows: Rows::new(options, fields)?,
            fitting: (1 << USUAL_BLOCK_TOKENS.len()) - 1,
            notes: Notes {
                format: "mooncake",
                seen: Seen::default(),
                max_output_tokens: if options.max_output_tokens.is_some() { "given" } else { "the real output length" },
                strict_priority_without_effect: 0,
                policy_class_without_effect: 0,
                output_token_ids_without_effect: 0,
                branches_without_effect: 0,
                prefix_reset_without_effect: 0,
                tool_events_without_effect: 0,
                request_kind_without_effect: 0,
                blank_lines: 0,
                byte_order_mark: false,
            },
        })
    }

    /// Takes whole lines, each with its line end; returns the number of the next one.
    ///
    /// # Errors
    /// The first fault, and its line.
    pub fn take_lines(&mut self, bytes: &[u8], first_line: u64) -> Result<u64, (Fault, u64)> {
        let mut line = first_line;
        let mut start = 0;
        let mut ids = Vec::new();
        while start < bytes.len() && !self.rows.is_full() {
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

    fn push(&mut self, row: Row<'_>, ids: &[u64], line: u64) -> Result<(), Fault> {
        let input = row.input_tokens.ok_or_else(|| {
            Fault::in_field("input_length", "missing; hash_ids tell it only up to a block, so it is not guessed")
        })?;
        if input == 0 {
            return Err(Fault::in_field("input_length", "found 0; a prompt has at least one token"));
        }
        let output =
            row.output_tokens.ok_or_else(|| Fault::in_field("output_length", "missing; 0 stands for prefill only"))?;
        if let Some(count) = row.output_token_ids.filter(|&count| count != u64::from(output)) {
            return Err(Fault::in_field(
                "output_token_ids",
                format!("found {count} ids, but output_length is {output}; they must agree"),
            ));
        }
        // Dynamo waits for both, one after the other.
        let delay_ps = match (row.delay_ps, row.tool_wait_ps) {
            (None, None) => None,
            (delay_ps, tool_wait_ps) => Some(delay_ps.unwrap_or(0).saturating_add(tool_wait_ps.unwrap_or(0))),
        };
        let request = Request {
            time_ps: row.timestamp_ps,
            delay_ps,
            session: row.session_id.as_deref(),
            name: row.request_id.as_deref(),
            input_tokens: input,
            output_tokens: output,
            priority: row.priority.unwrap_or(0),
            wait_for: row.wait_for.as_deref().map_or(WaitFor::Session, WaitFor::Only),
            ..Request::default()
        };
        let content = if row.has_hash_ids {
            self.check_count(ids.len(), input)?;
            Content::Ids(ids)
        } else {
            Content::Unknown
        };
        self.rows.push(&request, content, line)?;
        self.rows.seen.with_priority += u64::from(row.priority.is_some());
        self.notes.strict_priority_without_effect += u64::from(row.has_strict_priority);
        self.notes.policy_class_without_effect += u64::from(row.has_policy_class);
        self.notes.branches_without_effect += u64::from(row.has_branches);
        self.notes.prefix_reset_without_effect += u64::from(row.has_prefix_reset);
        self.notes.tool_events_without_effect += u64::from(row.has_tool_events);
        self.notes.request_kind_without_effect += u64::from(row.has_request_kind);
        self.notes.output_token_ids_without_effect += u64::from(row.output_token_ids.is_some());
        Ok(())
    }

    fn check_count(&mut self, found: usize, input: u32) -> Result<(), Fault> {
        for (bit, size) in USUAL_BLOCK_TOKENS.iter().enumerate() {
            if input.div_ceil(*size) as usize != found {
                self.fitting &= !(1 << bit);
            }
        }
        let block_tokens = self.block_tokens;
        let needed = input.div_ceil(block_tokens) as usize;
        if found == needed {
            return Ok(());
        }
        let fit = USUAL_BLOCK_TOKENS.iter().enumerate().find(|(bit, _)| self.fitting & (1 << bit) != 0);
        let advice = match fit {
            Some((_, size)) => {
                format!("; wrong trace block size? {size} would fit every row so far")
            }
            None => format!("; too {} for the prompt", if found < needed { "few" } else { "many" }),
        };
        Err(Fault::in_field(
            "hash_ids",
            format!(
                "found {found} ids for {input} prompt tokens; \
                 at {block_tokens} tokens a block exactly {needed} are right{advice}"
            ),
        ))
    }

    /// # Errors
    /// There are no rows.
    pub fn finish(self, file: &str, sha256: String) -> Result<Workload, InputError> {
        let Assembly { rows, notes, .. } = self;
        rows.finish(file, sha256, Labels::default(), |seen| {
            serde_json::to_value(Notes { seen, ..notes }).expect("a plain structure")
        })
    }
}
