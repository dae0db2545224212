"""A trace's columns as Arrow arrays, over the core's own bytes."""

from __future__ import annotations

import json
from array import array as array_of
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

    from .._core import Trace

NONE = 2**32 - 1
"""In the core's column `after`: the request waits for no other."""

TYPES = {
    "arrival_ps": "int64",
    "input_tokens": "uint32",
    "output_tokens": "uint32",
    "max_output_tokens": "uint32",
    "priority": "int32",
    "after": "uint32",
    "wait_for": "uint32",
    "wait_offsets": "uint64",
    "block_ids": "uint32",
    "block_offsets": "uint64",
    "class": "uint32",
    "failed": "uint8",
}

CODES: dict[str, Literal["q", "Q", "i", "I", "B"]] = {
    "int64": "q",
    "uint64": "Q",
    "int32": "i",
    "uint32": "I",
    "uint8": "B",
}
"""Of each kind, as `struct` writes it."""


def array(trace: Trace, name: str) -> pa.Array:
    """One column of the core's, without a copy but that of `Trace.column`."""
    import pyarrow as pa

    kind = pa.type_for_alias(TYPES[name])
    data = trace.column(name)
    return pa.Array.from_buffers(kind, len(data) * 8 // kind.bit_width, [None, pa.py_buffer(data)])


def followers(trace: Trace) -> pa.BooleanArray:
    """Which requests wait for another one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    later = pc.not_equal(array(trace, "after"), NONE)
    if (lists := waits(trace)) is not None:
        later = pc.or_(later, pc.greater(pc.list_value_length(lists), pa.scalar(0, pa.int64())))
    return later


def waits(trace: Trace) -> pa.LargeListArray | None:
    """The rows that each request waits for besides the turn before it; None where none waits for more."""
    import pyarrow as pa

    offsets = array(trace, "wait_offsets").cast(pa.int64())
    return pa.LargeListArray.from_arrays(offsets, array(trace, "wait_for")) if len(offsets) else None


def sessions(trace: Trace) -> list[int | None]:
    """The first turn of each request's session, as its row; None for a request that is alone."""
    after = array(trace, "after").to_pylist()
    first: list[int | None] = [None] * len(after)
    for row, before in enumerate(after):
        if before != NONE:
            if first[before] is None:
                first[before] = before
            first[row] = first[before]
    return first


def values(array: pa.Array | pa.ChunkedArray, kind: str) -> memoryview:
    """An array without nulls as numbers of `kind` for the core; over its own buffer if it is of that kind."""
    import pyarrow as pa

    one: Any = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    one = one.cast(pa.type_for_alias(kind))
    width = one.type.bit_width // 8
    buffer = one.buffers()[1]
    if buffer is None:
        return memoryview(b"").cast(CODES[kind])
    part = memoryview(buffer)[one.offset * width : (one.offset + len(one)) * width]
    return part.cast("B").cast(CODES[kind])


def pack(trace: Trace) -> dict[str, Any]:
    """A trace as bytes and plain values, to be sent to another process."""
    absent = {"class": trace.class_names is None, "failed": not trace.has_failed}
    return {
        "columns": {name: trace.column(name) for name in TYPES if not absent.get(name)},
        "block_tokens": trace.block_tokens,
        "request_ids": trace.request_ids,
        "class_names": trace.class_names,
        "sha256": trace.sha256,
        "notes": trace.notes,
    }


def unpack(packed: Mapping[str, Any]) -> Trace:
    """The trace that `pack` was given."""
    from .._core import Trace

    columns = dict(packed["columns"])
    columns["classes"] = columns.pop("class", None)
    # Given, a request that waits for none says -1.
    columns["after"] = array_of("q", (-1 if row == NONE else row for row in memoryview(columns["after"]).cast("I")))
    if not columns["wait_offsets"]:
        del columns["wait_for"], columns["wait_offsets"]
    return Trace.from_columns(
        **columns,
        block_tokens=packed["block_tokens"],
        request_ids=packed["request_ids"],
        class_names=packed["class_names"],
        sha256=packed["sha256"],
        notes_json=json.dumps(packed["notes"]),
    )
