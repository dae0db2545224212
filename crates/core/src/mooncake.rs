//! Mooncake traces: one JSON object a line.
//!
//! Reading order: `row` says what a row may hold; `scan` reads the usual row in one pass over its
//! bytes and gives up on anything else; `careful` then reads it again, and is the only place that
//! words what is wrong with a single row; `assemble` joins rows to a trace.

mod assemble;
mod careful;
mod row;
mod scan;

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Fault, InputError};
use crate::rows::Options;
use crate::workload::{Workload, hex};
use assemble::Assembly;

/// How much is read at a time: a few cache-sized pieces rather than the whole file.
const CHUNK_BYTES: usize = 256 << 10;
/// A line longer than this is no row.
const LINE_BYTES_MAX: usize = 1 << 30;

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
    let mut assembly = Assembly::new(options)?;
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
