"""Which format a trace has, by what is in it."""

from __future__ import annotations

import json
from typing import Any, get_args

from ..spec.workload import TraceFormat
from .source import Source

FORMATS: tuple[str, ...] = get_args(TraceFormat)

CSV_COLUMNS = {
    "azure": {"TIMESTAMP", "ContextTokens", "GeneratedTokens"},
    "burstgpt": {"Timestamp", "Request tokens", "Response tokens"},
    "agentic": {"trace_id", "agent_path", "think_time_s", "lcp_blocks_prev"},
}
JSON_FIELDS: dict[str, tuple[set[str], ...]] = {
    "dynamo": ({"schema", "event_type"}, {"event", "timestamp"}),
    "aiperf": ({"metadata", "metrics"},),
    "bailian": ({"chat_id", "parent_chat_id"},),
    "sharegpt": ({"input_toks", "output_toks"}, {"conversations"}),
    "guidellm": ({"benchmarks"},),
    "applied_compute_agentic": ({"num_turns", "input_prompt_length"},),
}
MOONCAKE = {"timestamp", "created_time", "input_length", "output_length", "hash_ids", "input_tokens", "delay"}
LENGTHS = ("input", "prompt", "context", "isl", "prefill")


def detect(source: Source) -> str:
    """One of `FORMATS`. Raises InputError for what is none of them."""
    if source.is_parquet:
        return "parquet"
    head = source.head.lstrip(b" \t\r\n")
    if head[:1] == b"{":
        return _of_object(head)
    if head[:1] == b"[":
        return "sharegpt" if b'"conversations"' in head else "mooncake"
    if not head:
        raise source.problem("has no rows; a trace has a request a row")
    from .csvtable import header_names

    return _of_header(source, header_names(source.head))


def _of_object(head: bytes) -> str:
    """By the fields of the first object; whatever else is for the reader of Mooncake's to say."""
    fields = _fields(head)
    for name, kinds in JSON_FIELDS.items():
        if any(kind <= fields for kind in kinds):
            return name
    return "mooncake"


def _fields(head: bytes) -> set[str]:
    first = head.partition(b"\n")[0]
    try:
        row: Any = json.loads(first)
    except (ValueError, RecursionError):
        # One object over many lines: its first names will do.
        return {"benchmarks"} if b'"benchmarks"' in head and b'"hash_ids"' not in first else set()
    return set(row) if isinstance(row, dict) else set()


def _of_header(source: Source, names: list[str]) -> str:
    for name, needed in CSV_COLUMNS.items():
        if needed <= set(names):
            return name
    if any(byte < 9 for byte in source.head):
        raise source.problem("is no text, and no Parquet file either", wanted="a trace of a known format")
    near = next((name for name, needed in CSV_COLUMNS.items() if len(needed & set(names)) >= 2), None)
    if near is not None:
        return near
    if any(name.strip().lower().startswith(LENGTHS) for name in names) and len(names) > 1:
        return "table"
    raise source.problem(
        "no known format",
        line=1,
        found=", ".join(names),
        wanted=f"a trace of format {', '.join(FORMATS)}; a plain table has columns arrival_s, input_tokens and "
        "output_tokens",
    )
