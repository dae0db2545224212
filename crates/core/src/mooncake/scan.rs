//! The usual row, in one pass over its bytes.
//!
//! Everything unusual (escapes, exponents, signs, nulls, unknown fields, anything malformed)
//! makes it give up, so that only `careful` has to know what is an error and how to word it.

use std::borrow::Cow;

use super::row::{Field, Row};
use crate::workload::{HORIZON_PS, TOKENS_MAX};

/// Reads the row that starts at `start` of `bytes`, which end with a line end. Hash ids go to `ids`.
/// Returns the row and where the next one starts, or None to have `careful` look at it.
pub fn scan<'a>(bytes: &'a [u8], start: usize, ids: &mut Vec<u64>) -> Option<(Row<'a>, usize)> {
    let mut cursor = Cursor { bytes, at: start };
    let mut row = Row::default();
    let mut seen = 0u32;
    cursor.token(b'{')?;
    loop {
        let field = Field::of(cursor.string()?)?;
        if seen & field.bit() != 0 {
            return None;
        }
        seen |= field.bit();
        cursor.token(b':')?;
        cursor.spaces();
        match field {
            Field::Timestamp => row.timestamp_ps = Some(cursor.milliseconds()?),
            Field::Delay => row.delay_ps = Some(cursor.milliseconds()?),
            Field::InputLength => row.input_tokens = Some(cursor.tokens()?),
            Field::OutputLength => row.output_tokens = Some(cursor.tokens()?),
            Field::HashIds => {
                row.has_hash_ids = true;
                cursor.integers(|id| {
                    ids.push(id);
                    true
                })?;
            }
            Field::SessionId => row.session_id = Some(Cow::Borrowed(cursor.name()?)),
            Field::RequestId => row.request_id = Some(Cow::Borrowed(cursor.name()?)),
            Field::OutputTokenIds => {
                let mut count = 0;
                cursor.integers(|id| {
                    count += 1;
                    id <= u64::from(u32::MAX)
                })?;
                row.output_token_ids = Some(count);
            }
            Field::Priority => row.priority = Some(i32::try_from(cursor.integer()?).ok()?),
            Field::StrictPriority => {
                u32::try_from(cursor.integer()?).ok()?;
                row.has_strict_priority = true;
            }
            Field::PolicyClass => {
                cursor.name()?;
                row.has_policy_class = true;
            }
            Field::WaitFor => row.wait_for = Some(cursor.names()?.into_iter().map(Cow::Borrowed).collect()),
            Field::ToolWait => row.tool_wait_ps = Some(cursor.milliseconds()?),
            Field::Branches => {
                cursor.names()?;
                row.has_branches = true;
            }
            Field::RequestKind => {
                cursor.name()?;
                row.has_request_kind = true;
            }
            Field::PrefixReset | Field::ToolEvents => return None,
        }
        cursor.spaces();
        match cursor.next() {
            b',' => cursor.spaces(),
            b'}' => break,
            _ => return None,
        }
    }
    cursor.spaces();
    if cursor.peek() == b'\r' {
        cursor.at += 1;
    }
    (cursor.next() == b'\n').then_some((row, cursor.at))
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(b'\n')
    }

    fn next(&mut self) -> u8 {
        let byte = self.peek();
        self.at += 1;
        byte
    }

    fn spaces(&mut self) {
        while self.peek() == b' ' {
            self.at += 1;
        }
    }

    fn token(&mut self, byte: u8) -> Option<()> {
        self.spaces();
        if self.next() != byte {
            return None;
        }
        self.spaces();
        Some(())
    }

    /// The inside of a string without escapes, ASCII only.
    fn string(&mut self) -> Option<&'a [u8]> {
        if self.next() != b'"' {
            return None;
        }
        let start = self.at;
        loop {
            match self.next() {
                b'"' => return self.bytes.get(start..self.at - 1),
                b'\\' | 0..0x20 | 0x7f.. => return None,
                _ => {}
            }
        }
    }

    /// A string that is not empty.
    fn name(&mut self) -> Option<&'a str> {
        let text = std::str::from_utf8(self.string()?).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// An array of them.
    fn names(&mut self) -> Option<Vec<&'a str>> {
        let mut names = Vec::new();
        self.token(b'[')?;
        if self.peek() == b']' {
            self.at += 1;
            return Some(names);
        }
        loop {
            names.push(self.name()?);
            self.spaces();
            match self.next() {
                b',' => self.spaces(),
                b']' => return Some(names),
                _ => return None,
            }
        }
    }

    /// Plain digits, below 10^19: more may not fit 64 bits.
    fn integer(&mut self) -> Option<u64> {
        let start = self.at;
        let mut value = 0u64;
        loop {
            let digit = self.peek().wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
        let digits = self.at - start;
        let leading_zero = digits > 1 && self.bytes[start] == b'0';
        ((1..=19).contains(&digits) && !leading_zero).then_some(value)
    }

    fn tokens(&mut self) -> Option<u32> {
        let value = self.integer()?;
        (value <= u64::from(TOKENS_MAX)).then_some(value as u32)
    }

    /// Milliseconds with up to nine decimals, in picoseconds.
    fn milliseconds(&mut self) -> Option<i64> {
        const PS_PER_MS: u64 = 1_000_000_000;
        let whole = self.integer()?;
        if whole > HORIZON_PS as u64 / PS_PER_MS {
            return None;
        }
        let mut time_ps = whole * PS_PER_MS;
        if self.peek() == b'.' {
            self.at += 1;
            let mut unit = PS_PER_MS;
            let start = self.at;
            while self.peek().is_ascii_digit() {
                unit /= 10;
                time_ps += u64::from(self.next() - b'0') * unit;
            }
            if !(1..=9).contains(&(self.at - start)) {
                return None;
            }
        }
        (time_ps <= HORIZON_PS as u64).then_some(time_ps as i64)
    }

    /// An array of plain integers, each passed to `take`, which says whether it will do.
    fn integers(&mut self, mut take: impl FnMut(u64) -> bool) -> Option<()> {
        self.token(b'[')?;
        if self.peek() == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            if !take(self.integer()?) {
                return None;
            }
            self.spaces();
            match self.next() {
                b',' => self.spaces(),
                b']' => return Some(()),
                _ => return None,
            }
        }
    }
}
