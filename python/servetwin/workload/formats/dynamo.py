"""NVIDIA Dynamo's request traces, `dynamo.request.trace.v1`: a record of each request as it ended, one a line."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

from ..jsonrows import Row, json_lines
from ..source import Source
from ..table import MISSING, Options, Table, refuse_unit

SCHEMA = "dynamo.request.trace.v1"
FIELDS = {
    "time": "request.request_received_ms",
    "input": "request.replay.input_length",
    "output": "request.output_tokens",
    "ids": "request.replay.input_sequence_hashes",
    "name": "request.request_id",
}
OTHERS = ("tool_start", "tool_end", "tool_error", "request_payload")
"""Records that say nothing of what an engine is to do."""


@dataclass(slots=True)
class Request:
    line: int
    name: str
    received_ps: int
    elapsed_ps: int
    session: str | None
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    block_tokens: int
    hashes: list[int]


def read_dynamo(source: Source, options: Options) -> Table:
    """Requests with a session wait for the one before in it, as long after its end as was recorded; the others come
    at their own times, from the first on. Hashes tell what prompts repeat."""
    refuse_unit(source, options, "milliseconds")
    requests: list[Request] = []
    others = 0
    for row in json_lines(source):
        record = _unwrapped(row)
        if record.get("schema") != SCHEMA:
            raise record.fail("schema", "no record of this format", record.get("schema"), SCHEMA)
        kind = record.text("event_type")
        if kind in OTHERS:
            others += 1
            continue
        if kind != "request_end":
            raise record.fail("event_type", "unknown", kind, f"request_end, or {', '.join(OTHERS)}")
        requests.append(_request(record))
    if not requests:
        raise source.problem("has no request_end record; a trace has one a request")
    block_tokens = requests[0].block_tokens
    requests.sort(key=lambda request: request.received_ps)
    other = next((one for one in requests if one.block_tokens != block_tokens), None)
    if other is not None:
        raise source.problem(
            "a trace has blocks of one size",
            line=other.line,
            field="request.replay.trace_block_size",
            found=other.block_tokens,
            wanted=str(block_tokens),
        )
    return _table(requests, block_tokens, others)


def _table(requests: list[Request], block_tokens: int, others: int) -> Table:
    first = requests[0].received_ps
    sessions = {name: at for at, name in enumerate(dict.fromkeys(one.session for one in requests if one.session))}
    offsets = array("Q", [0])
    for one in requests:
        offsets.append(offsets[-1] + len(one.hashes))
    columns: dict[str, Any] = {
        "time_ps": array("q", (min(one.received_ps - first, 2**62) for one in requests)),
        "elapsed_ps": array("q", (one.elapsed_ps for one in requests)),
        "input_tokens": array("I", (one.input_tokens for one in requests)),
        "output_tokens": array("I", (one.output_tokens for one in requests)),
        "reasoning_tokens": array("I", (one.reasoning_tokens for one in requests)),
        "hash_ids": array("Q", (one for request in requests for one in request.hashes)),
        "hash_offsets": offsets,
        "request_ids": [one.name for one in requests],
        "lines": array("Q", (one.line for one in requests)),
        "failed": array("B", (one.output_tokens == 0 for one in requests)),
    }
    if sessions:
        codes = (MISSING if one.session is None else sessions[one.session] for one in requests)
        columns |= {"session": array("I", codes), "session_names": list(sessions)}
    return Table("dynamo", columns, FIELDS, {"other_records": others}, block_tokens=block_tokens, turns=bool(sessions))


def _unwrapped(row: Row) -> Row:
    """Files hold each record in an envelope, with the time it was written."""
    event = row.data.get("event")
    if "schema" not in row.data and isinstance(event, dict):
        return Row(row.source, row.line, event, "event.")
    return row


def _request(row: Row) -> Request:
    received_ps = row.units("request.request_received_ms", 9)
    total_ps = row.units("request.total_time_ms", 9, default=None)
    if total_ps is None:
        ended_ps = row.units("event_time_unix_ms", 9)
        if ended_ps < received_ps:
            raise row.fail("event_time_unix_ms", "before request.request_received_ms", row.get("event_time_unix_ms"))
        total_ps = ended_ps - received_ps
    return Request(
        row.line or 0,
        row.text("request.request_id"),
        received_ps,
        min(total_ps, 2**62),
        row.text("agent_context.session_id", default=None),
        row.whole("request.replay.input_length", 1),
        row.whole("request.output_tokens", default=0),
        row.whole("request.reasoning_tokens", default=0),
        row.whole("request.replay.trace_block_size", 1, 2**20),
        row.ids("request.replay.input_sequence_hashes"),
    )
