//! Any row at all, read with a full JSON parser: the unusual ones, and every wrong one.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::row::{Field, KNOWN, Row};
use crate::decimal::{Scaled, scale};
use crate::error::Fault;
use crate::workload::{HORIZON_PS, TOKENS_MAX};

/// How much of what was found a message shows.
const SHOWN_CHARS: usize = 40;

/// Reads one line, given without its line end. Hash ids go to `ids`.
pub fn parse<'a>(line: &'a [u8], ids: &mut Vec<u64>) -> Result<Row<'a>, Fault> {
    let text = std::str::from_utf8(line).map_err(|error| {
        Fault::in_row(format!("byte {} is not UTF-8; save the trace as UTF-8", error.valid_up_to() + 1))
    })?;
    let pairs = members(text)?;
    let mut row = Row::default();
    let mut seen: Vec<(Field, &str)> = Vec::new();
    for (key, value) in &pairs {
        let Some(field) = Field::of(key.as_bytes()) else {
            return Err(Fault::in_field(&short(key), format!("no field of a Mooncake row; those are {KNOWN}")));
        };
        if let Some((_, earlier)) = seen.iter().find(|(other, _)| *other == field) {
            let message = if earlier == key { "given twice".to_owned() } else { format!("also given as {earlier}") };
            return Err(Fault::in_field(key, message + "; a row has each field once"));
        }
        seen.push((field, key));
        if value.get() != "null" {
            fill(&mut row, field, Value { key, text: value.get() }, ids)?;
        }
    }
    Ok(row)
}

const DELAY: &str = "milliseconds after what the request waits for";

fn fill<'a>(row: &mut Row<'a>, field: Field, value: Value<'_, 'a>, ids: &mut Vec<u64>) -> Result<(), Fault> {
    match field {
        Field::Timestamp => row.timestamp_ps = Some(value.milliseconds("milliseconds from the start of the trace")?),
        Field::Delay => row.delay_ps = Some(value.milliseconds(DELAY)?),
        Field::InputLength => row.input_tokens = Some(value.tokens()?),
        Field::OutputLength => row.output_tokens = Some(value.tokens()?),
        Field::HashIds => {
            row.has_hash_ids = true;
            value.integers(u64::MAX, |id| ids.push(id))?;
        }
        Field::SessionId => row.session_id = Some(value.name()?),
        Field::RequestId => row.request_id = Some(value.name()?),
        Field::OutputTokenIds => {
            let mut count = 0;
            value.integers(u64::from(u32::MAX), |_| count += 1)?;
            row.output_token_ids = Some(count);
        }
        Field::Priority => row.priority = Some(value.integer(i32::MIN.into(), i32::MAX.into())? as i32),
        Field::StrictPriority => {
            value.integer(0, u32::MAX.into())?;
            row.has_strict_priority = true;
        }
        Field::PolicyClass => {
            value.name()?;
            row.has_policy_class = true;
        }
        Field::WaitFor => row.wait_for = Some(value.names()?),
        Field::ToolWait => row.tool_wait_ps = Some(value.milliseconds(DELAY)?),
        Field::Branches => {
            value.names()?;
            row.has_branches = true;
        }
        Field::PrefixReset => {
            if !matches!(value.text, "true" | "false") {
                return Err(value.fault("true or false is right"));
            }
            row.has_prefix_reset = true;
        }
        Field::ToolEvents => {
            if !value.text.starts_with('[') {
                return Err(value.fault("an array of events is right"));
            }
            row.has_tool_events = true;
        }
        Field::RequestKind => {
            value.name()?;
            row.has_request_kind = true;
        }
    }
    Ok(())
}

/// A field's value as it is written, and the key it was given under.
#[derive(Clone, Copy)]
struct Value<'k, 'a> {
    key: &'k str,
    text: &'a str,
}

impl<'a> Value<'_, 'a> {
    fn fault(&self, wanted: impl fmt::Display) -> Fault {
        Fault::in_field(self.key, format!("found {}; {wanted}", describe(self.text)))
    }

    fn is_number(&self) -> bool {
        self.text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
    }

    /// A whole number; 500.0 and 5e2 are as good as 500.
    fn integer(&self, least: i64, most: i64) -> Result<i64, Fault> {
        let wanted = || format!("a whole number from {least} to {most} is right");
        if !self.is_number() {
            return Err(self.fault(wanted()));
        }
        match scale(self.text, 0) {
            Scaled { value, exact: true } if (least.into()..=most.into()).contains(&value) => Ok(value as i64),
            _ => Err(self.fault(wanted())),
        }
    }

    fn tokens(&self) -> Result<u32, Fault> {
        Ok(self.integer(0, TOKENS_MAX.into())? as u32)
    }

    /// Rounded to the nearest picosecond, halves to even.
    fn milliseconds(&self, wanted: &str) -> Result<i64, Fault> {
        if !self.is_number() {
            return Err(self.fault("a number of milliseconds is right"));
        }
        let time_ps = scale(self.text, 9).value;
        if time_ps < 0 {
            return Err(self.fault(format!("{wanted} are right, never negative")));
        }
        i64::try_from(time_ps).ok().filter(|&time_ps| time_ps <= HORIZON_PS).ok_or_else(|| {
            let doubt = "that many milliseconds are over 100 days; is this in another unit, or a date?";
            self.fault(format!("{doubt} {wanted} are right"))
        })
    }

    /// A string that is not empty; numbers are taken as they are written, since many ids are.
    fn name(&self) -> Result<Cow<'a, str>, Fault> {
        let wanted = "a string that is not empty is right";
        if self.is_number() {
            return Ok(Cow::Borrowed(self.text));
        }
        let name: String = serde_json::from_str(self.text).map_err(|_| self.fault(wanted))?;
        if name.is_empty() { Err(self.fault(wanted)) } else { Ok(Cow::Owned(name)) }
    }

    /// An array of names.
    fn names(&self) -> Result<Vec<Cow<'a, str>>, Fault> {
        let elements: Vec<&'a RawValue> =
            serde_json::from_str(self.text).map_err(|_| self.fault("an array of request ids is right"))?;
        elements.into_iter().map(|element| Value { key: self.key, text: element.get() }.name()).collect()
    }

    /// An array of whole numbers from 0 to `most`, in plain digits: one written as a floating-point
    /// number may have lost some.
    fn integers(&self, most: u64, mut take: impl FnMut(u64)) -> Result<(), Fault> {
        let elements: Vec<&RawValue> = serde_json::from_str(self.text)
            .map_err(|_| self.fault(format!("an array of whole numbers from 0 to {most} is right")))?;
        for (index, element) in elements.iter().enumerate() {
            match element.get().parse().ok().filter(|&number| number <= most) {
                Some(number) => take(number),
                None => {
                    return Err(Fault::in_field(
                        self.key,
                        format!(
                            "element {}: found {}; a whole number from 0 to {most} is right",
                            index + 1,
                            describe(element.get())
                        ),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// An object's members in order, duplicates and all.
fn members(text: &str) -> Result<Vec<(String, &RawValue)>, Fault> {
    match text.trim_start_matches([' ', '\t']).chars().next() {
        Some('{') => {}
        Some('[') => {
            return Err(Fault::in_row("found a JSON array; a trace has one JSON object a line"));
        }
        _ => {
            return Err(Fault::in_row(format!("found {}; a trace has one JSON object a line", describe(text.trim()))));
        }
    }
    serde_json::from_str(text).map(|Members(pairs)| pairs).map_err(|error| malformed(text, &error))
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Members(pairs))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

fn malformed(text: &str, error: &serde_json::Error) -> Fault {
    if error.classify() == Category::Eof {
        return Fault::in_row(
            "the line ends inside its JSON object; is the file cut off, or the object over two lines?",
        );
    }
    // The parser counts bytes from 1 and stops at, or one past, what it cannot take.
    let at = (error.column().saturating_sub(1)..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let (before, rest) = text.split_at(at);
    let field = key_before(before).map(str::to_owned);
    let found: String = rest.chars().take_while(|&c| !matches!(c, ',' | '}' | ']' | ' ')).collect();
    if matches!(found.as_str(), "NaN" | "Infinity") {
        let sign = if before.ends_with('-') { "-" } else { "" };
        return Fault { field, message: format!("found {sign}{found}, which is not JSON; a finite number is right") };
    }
    let what = error.to_string();
    let what = what.split(" at line").next().unwrap_or_default();
    Fault { field, message: format!("malformed JSON at byte {}: {what}; found {}", at + 1, describe(rest)) }
}

/// The key whose value starts right after `before`.
fn key_before(before: &str) -> Option<&str> {
    let before = before.trim_end_matches('-').trim_end().strip_suffix(':')?.trim_end().strip_suffix('"')?;
    Some(&before[before.rfind('"')? + 1..])
}

fn describe(text: &str) -> String {
    let kind = match text.chars().next() {
        None => return "nothing".to_owned(),
        Some('"') => "the string ",
        Some('[') => "the array ",
        Some('{') => "the object ",
        _ => "",
    };
    kind.to_owned() + &short(text)
}

fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
