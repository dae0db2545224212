//! Mooncake traces: one JSON object a line.
//!
//! Reading order: `row` says what a row may hold; `scan` reads the usual row in one pass over its
//! bytes and gives up on anything else; `careful` then reads it again, and is the only place that
//! words what is wrong with a single row; `assemble` joins rows to a trace.

mod assemble;
mod blocks;
mod careful;
pub(crate) mod decimal;
mod row;
mod scan;

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::InputError;
use crate::workload::{BLOCK_TOKENS_MAX, TOKENS_MAX, Workload, hex};
use assemble::Assembly;
use decimal::Speedup;

/// How much is read at a time: a few cache-sized pieces rather than the whole file.
const CHUNK_BYTES: usize = 256 << 10;
/// A line longer than this is no row.
const LINE_BYTES_MAX: usize = 1 << 30;

#[derive(Clone, Debug)]
pub struct Options {
    /// Tokens one hash id stands for: 512 in the public traces.
    pub block_tokens: u32,
    /// Only the first so many rows of the file.
    pub limit: Option<u64>,
    /// Divides arrival times and delays, each rounded to the nearest picosecond, halves to even.
    /// Meant as the decimal it is written as, so 1.1 is eleven tenths exactly.
    pub speedup: f64,
    /// The output limit every client asked for; none: each asked for exactly its real length.
    pub max_output_tokens: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Options { block_tokens: 512, limit: None, speedup: 1.0, max_output_tokens: None }
    }
}

/// What is wrong with one row; the caller knows the file and the line.
#[derive(Debug)]
struct Fault {
    field: Option<String>,
    message: String,
}

impl Fault {
    fn in_field(field: &str, message: impl Into<String>) -> Self {
        Fault { field: Some(field.to_owned()), message: message.into() }
    }

    fn in_row(message: impl Into<String>) -> Self {
        Fault { field: None, message: message.into() }
    }

    fn at(self, file: &str, line: u64) -> InputError {
        InputError { file: Some(file.to_owned()), line: Some(line), field: self.field, message: self.message }
    }
}

/// Reads a whole trace.
///
/// # Errors
/// The first thing wrong with the options, the file or one of its rows. Nothing is skipped.
pub fn read_file(path: &Path, options: &Options) -> Result<Workload, InputError> {
    let name = path.display().to_string();
    let unreadable = |error: io::Error| InputError::in_file(&name, why_unreadable(&error));
    let kind = fs::metadata(path).map_err(unreadable)?.file_type();
    if kind.is_dir() {
        return Err(InputError::in_file(&name, "is a directory; name the trace file in it"));
    }
    if !kind.is_file() {
        return Err(InputError::in_file(&name, "is not a regular file; write the trace to one first"));
    }
    let file = fs::File::open(path).map_err(unreadable)?;
    read(file, &name, options)
}

fn why_unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "may not be read: permission denied".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// Reads a trace from `source`; errors call it `file`.
///
/// # Errors
/// As `read_file`.
pub fn read(mut source: impl Read, file: &str, options: &Options) -> Result<Workload, InputError> {
    let speedup = check_options(options)?;
    let mut assembly = Assembly::new(options, speedup);
    let mut hasher = Sha256::new();
    let mut buffer: Vec<u8> = Vec::with_capacity(CHUNK_BYTES);
    let mut line = 1;
    let mut first = true;
    loop {
        let kept = buffer.len();
        if kept > LINE_BYTES_MAX {
            return Err(Fault::in_row("longer than 1 GiB; a trace has one JSON object a line").at(file, line));
        }
        let got = (&mut source)
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut buffer)
            .map_err(|error| InputError::in_file(file, why_unreadable(&error)))?;
        hasher.update(&buffer[kept..]);
        let last = got < CHUNK_BYTES;
        if first {
            first = false;
            if let Some(message) = foreign_format(&buffer) {
                return Err(InputError::in_file(file, message));
            }
            if buffer.starts_with(b"\xef\xbb\xbf") {
                buffer.drain(..3);
                assembly.notes.byte_order_mark = true;
            }
        }
        if last && buffer.last().is_some_and(|&byte| byte != b'\n') {
            buffer.push(b'\n');
        }
        // What was kept has no line end: only the new part is searched.
        let whole = buffer[kept..].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| kept + at + 1);
        line = assembly.take_lines(&buffer[..whole], line).map_err(|(fault, line)| fault.at(file, line))?;
        buffer.drain(..whole);
        if last {
            break;
        }
    }
    assembly.finish(file, hex(&hasher.finalize()))
}

fn check_options(options: &Options) -> Result<Speedup, InputError> {
    if options.block_tokens == 0 || options.block_tokens > BLOCK_TOKENS_MAX {
        return Err(InputError::in_field(
            "block_tokens",
            format!("{} is not between 1 and {BLOCK_TOKENS_MAX}", options.block_tokens),
        ));
    }
    if options.limit == Some(0) {
        return Err(InputError::in_field("limit", "0 leaves no requests; leave it out to take all rows"));
    }
    if let Some(limit) = options.max_output_tokens.filter(|&limit| limit > TOKENS_MAX) {
        return Err(InputError::in_field("max_output_tokens", format!("{limit} is above {TOKENS_MAX}")));
    }
    Speedup::new(options.speedup)
        .ok_or_else(|| InputError::in_field("speedup", format!("{} is not between 0.001 and 1000000", options.speedup)))
}

/// Recognises by its first bytes what is plainly not JSON lines, to say what to do about it.
fn foreign_format(start: &[u8]) -> Option<&'static str> {
    let signatures: [(&[u8], &str); 6] = [
        (b"\xff\xfe", "is UTF-16; convert it to UTF-8"),
        (b"\xfe\xff", "is UTF-16; convert it to UTF-8"),
        (b"\x1f\x8b", "is gzip-compressed; decompress it first"),
        (b"\x28\xb5\x2f\xfd", "is zstd-compressed; decompress it first"),
        (b"PK\x03\x04", "is a zip archive; unpack it first"),
        (b"PAR1", "is a Parquet file; a Mooncake trace has one JSON object a line"),
    ];
    signatures.iter().find(|(signature, _)| start.starts_with(signature)).map(|(_, message)| *message)
}

#[cfg(test)]
mod tests;
