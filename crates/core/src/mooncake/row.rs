//! What one row may hold.

use std::borrow::Cow;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Timestamp,
    InputLength,
    OutputLength,
    HashIds,
    SessionId,
    Delay,
    RequestId,
    OutputTokenIds,
    Priority,
    StrictPriority,
    PolicyClass,
    WaitFor,
    ToolWait,
    Branches,
    PrefixReset,
    ToolEvents,
    RequestKind,
}

/// The names `Field::of` knows, aliases in brackets, for messages.
pub const KNOWN: &str = "timestamp (created_time), input_length (input_tokens), output_length (output_tokens), \
    hash_ids, session_id, delay (delay_ms), request_id, output_token_ids, priority, strict_priority, policy_class, \
    wait_for, tool_wait_ms, branches, prefix_reset, tool_events, request_kind";

/// A row as it stands in the file: each field is sound by itself, not yet against the others.
#[derive(Debug, Default, PartialEq)]
pub struct Row<'a> {
    pub timestamp_ps: Option<i64>,
    pub input_tokens: Option<u32>,
    pub output_tokens: Option<u32>,
    pub has_hash_ids: bool,
    pub session_id: Option<Cow<'a, str>>,
    pub delay_ps: Option<i64>,
    pub request_id: Option<Cow<'a, str>>,
    /// How many there are.
    pub output_token_ids: Option<u64>,
    pub priority: Option<i32>,
    pub has_strict_priority: bool,
    pub has_policy_class: bool,
    /// Names of requests; an empty list is another thing than none.
    pub wait_for: Option<Vec<Cow<'a, str>>>,
    pub tool_wait_ps: Option<i64>,
    pub has_branches: bool,
    pub has_prefix_reset: bool,
    pub has_tool_events: bool,
    pub has_request_kind: bool,
}

impl Field {
    pub fn of(name: &[u8]) -> Option<Field> {
        Some(match name {
            b"timestamp" | b"created_time" => Field::Timestamp,
            b"input_length" | b"input_tokens" => Field::InputLength,
            b"output_length" | b"output_tokens" => Field::OutputLength,
            b"hash_ids" => Field::HashIds,
            b"session_id" => Field::SessionId,
            b"delay" | b"delay_ms" => Field::Delay,
            b"request_id" => Field::RequestId,
            b"output_token_ids" => Field::OutputTokenIds,
            b"priority" => Field::Priority,
            b"strict_priority" => Field::StrictPriority,
            b"policy_class" => Field::PolicyClass,
            b"wait_for" => Field::WaitFor,
            b"tool_wait_ms" => Field::ToolWait,
            b"branches" => Field::Branches,
            b"prefix_reset" => Field::PrefixReset,
            b"tool_events" => Field::ToolEvents,
            b"request_kind" => Field::RequestKind,
            _ => return None,
        })
    }

    /// Its place in a set of fields.
    pub fn bit(self) -> u32 {
        1 << self as u16
    }
}
