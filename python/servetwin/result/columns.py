"""The core's columns: their names and types, and how they become Arrow tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

    from .._core import Run, Trace

Code = Literal["q", "I", "B"]
"""A column's type, as `struct` writes it."""

REQUEST_COLUMNS: dict[str, Code] = {
    "arrival_ps": "q",
    "routed_ps": "q",
    "scheduled_ps": "q",
    "first_token_ps": "q",
    "last_token_ps": "q",
    "end_ps": "q",
    "replica": "I",
    "input_tokens": "I",
    "output_tokens": "I",
    "cached_tokens": "I",
    "preemptions": "I",
    "status": "B",
    "reason": "B",
}
"""One entry a request. -1, or the greatest replica, stands for never."""

HANDOVER_COLUMNS: dict[str, Code] = {
    "prefill_replica": "I",
    "prefilled_ps": "q",
    "decode_routed_ps": "q",
    "transfer_start_ps": "q",
    "transfer_end_ps": "q",
    "transferred_tokens": "I",
}
"""Likewise, where some replicas compute prompts and others decode."""

TIER_COLUMNS = ("host_tokens", "disk_tokens", "shared_tokens")
"""Of the cached tokens, those loaded from below the GPU's memory. Empty where the run keeps nothing there."""

SERIES_COLUMNS: dict[str, Code] = {"time_ps": "q", "replica": "I", "running": "I", "waiting": "I", "used_blocks": "I"}

HOLDUPS = ("", "batch slots", "kv cache", "tokens of a pass", "transfer")
"""What keeps the first request that waits out of the batch, by the core's code; the first where none waits."""

STATUSES = ("completed", "rejected", "unfinished")
REASONS = (
    "",
    "prompt and output limit exceed the context",
    "needs more blocks than the pool has",
    "prompt exceeds the token budget without chunked prefill",
    "its replica stopped making progress",
    "the request before it did not complete",
    "no user came free to send it",
    "its router kept it back to the end",
    "no decode replica can ever hold it",
    "prompt and output limit exceed the context of the decode replicas",
    "its hand-over took too long",
    "no room for its next token, even alone",
)
"""By the core's code; why a request did not complete."""

_NEVER: dict[Code, int] = {"q": -1, "I": 2**32 - 1}


def request_table(run: Run, trace: Trace) -> pa.Table:
    """One row a request, with its name, its class and whether it failed when it was recorded, if the trace tells,
    the first row of its trajectory if requests wait for each other, and the router's reasons if it gave any."""
    import pyarrow as pa

    names = trace.request_ids
    columns = {} if names is None else {"request_id": pa.array(names, pa.string())}
    if trace.class_names is not None:
        columns["class"] = _named(_array(trace.column("class"), "I"), trace.class_names)
    if trace.has_failed:
        columns["recorded_failed"] = _array(trace.column("failed"), "B").cast(pa.bool_())
    columns |= {name: _array(run.column(name), code) for name, code in REQUEST_COLUMNS.items()}
    if run.column("prefill_replica"):
        columns |= {name: _array(run.column(name), code) for name, code in HANDOVER_COLUMNS.items()}
    if trace.has_waits:
        columns["trajectory"] = _array(trace.column("trajectory"), "I")
    rank = _array(run.column("rank"), "I")
    if len(rank):
        columns["rank"] = rank
    if preempted := run.column("preempted_ps"):
        columns["preempted_ps"] = _array(preempted, "q")
    if run.route_reasons:
        columns["route_reason"] = _named(_array(run.column("route_reason"), "I"), run.route_reasons)
    for name in TIER_COLUMNS:
        if data := run.column(name):
            columns[name] = _array(data, "I")
    overlap = _array(run.column("route_overlap_tokens"), "I")
    if overlap.null_count < len(overlap):
        columns["route_overlap_tokens"] = overlap
    columns["status"] = _named(columns["status"], STATUSES)
    columns["reason"] = _named(columns["reason"], REASONS)
    return pa.table(columns)


def series_table(run: Run) -> pa.Table:
    """One row a replica and point in time."""
    import pyarrow as pa

    columns = {name: _array(run.series(name), code) for name, code in SERIES_COLUMNS.items()}
    return pa.table(columns | {"holdup": _named(_array(run.series("holdup"), "B"), HOLDUPS)})


def request_types() -> dict[str, pa.DataType]:
    """The types of the request table's columns, but for those that not every run has."""
    import pyarrow as pa

    named = pa.dictionary(pa.int8(), pa.string())
    return {name: _type(code) for name, code in REQUEST_COLUMNS.items()} | {"status": named, "reason": named}


def replication_type() -> dict[str, pa.DataType]:
    """Of the column that tells the runs of a replicated result apart."""
    import pyarrow as pa

    return {"replication": pa.int32()}


def of_replication(requests: pa.Table, number: int) -> pa.Table:
    """A run's requests with its number in front: 0 is the run without draws."""
    import pyarrow as pa

    return requests.add_column(0, "replication", pa.repeat(pa.scalar(number, pa.int32()), len(requests)))


def series_types() -> dict[str, pa.DataType]:
    return {name: _type(code) for name, code in SERIES_COLUMNS.items()}


def _type(code: Code) -> pa.DataType:
    import pyarrow as pa

    return {"q": pa.int64(), "I": pa.uint32(), "B": pa.int8()}[code]


def _array(data: bytes, code: Code) -> pa.Array:
    """Over the core's own buffer, unless there is a "never" in it, which becomes null."""
    import pyarrow as pa

    kind = _type(code)
    values = memoryview(data).cast(code)
    never = _NEVER.get(code)
    if never is not None and never.to_bytes(values.itemsize, "little", signed=never < 0) in data:
        return pa.array([None if value == never else value for value in values], kind)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(data)])


def _named(codes: pa.Array, names: Sequence[str]) -> pa.DictionaryArray:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.string()))
