"""Trace files of our own: Parquet, as `write_trace` leaves it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..native import native_errors
from .columns import values

if TYPE_CHECKING:
    import pyarrow as pa

    from .._core import Trace


def read_parquet(path: Path) -> Trace:
    """Exactly the trace that was written. Raises InputError for another file."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from .._core import Trace

    try:
        table = pq.read_table(path).combine_chunks()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {str(error).splitlines()[0]}", file=str(path)) from None
    block_tokens = (table.schema.metadata or {}).get(b"servetwin.block_tokens")
    if block_tokens is None:
        raise InputError("no trace of servetwin", file=str(path), wanted="one that write_trace wrote")
    times = table["arrival_ps"]
    if "delay_ps" in table.column_names:
        times = pc.coalesce(times, table["delay_ps"])
    hash_ids = table["hash_ids"].combine_chunks()
    labels: dict[str, Any] = {}
    if "request_id" in table.column_names:
        labels["request_ids"] = table["request_id"].to_pylist()
    if "class" in table.column_names:
        classes = table["class"].combine_chunks().dictionary_encode()
        labels |= {"class_names": classes.dictionary.to_pylist(), "classes": values(classes.indices, "uint32")}
    if "failed" in table.column_names:
        labels["failed"] = values(table["failed"].cast(pa.uint8()), "uint8")
    priority = table["priority"] if "priority" in table.column_names else pa.array([0] * len(table), pa.int32())
    with native_errors():
        return Trace.from_columns(
            arrival_ps=values(times, "int64"),
            input_tokens=values(table["input_tokens"], "uint32"),
            output_tokens=values(table["output_tokens"], "uint32"),
            max_output_tokens=values(table["max_output_tokens"], "uint32"),
            priority=values(priority, "int32"),
            after=_after(table),
            block_tokens=int(block_tokens),
            block_ids=values(hash_ids.flatten(), "uint32"),
            block_offsets=values(hash_ids.offsets, "uint64"),
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            notes_json=json.dumps({"format": "parquet"}),
            **labels,
        )


def _after(table: pa.Table) -> list[int]:
    last: dict[str, int] = {}
    after = [-1] * len(table)
    if "session_id" in table.column_names:
        for row, session in enumerate(table["session_id"].to_pylist()):
            if session is not None:
                after[row] = last.get(session, -1)
                last[session] = row
    return after
