"""A trace to a file: Parquet holds all of it, Mooncake JSONL and CSV what they have words for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import InputError
from ..files import whole_file
from ..units import PS_PER_MS
from .columns import NONE, array, followers, sessions, waits

if TYPE_CHECKING:
    import pyarrow as pa

    from .._core import Trace

VERSION = "1"
"""Of the columns below, in the Parquet file's metadata."""

MOONCAKE_BLOCK_TOKENS = 512
SUFFIXES = ".parquet, .jsonl or .csv, the latter two also with .gz or .zst"
ROWS_AT_ONCE = 1 << 16


def write_trace(trace: Trace, path: str | Path) -> list[str]:
    """Writes a trace by the path's suffix, whole or not at all; returns what that format has no words for.

    `.parquet` holds everything; `.csv` not the content of prompts; `.jsonl` (Mooncake's) no classes, no marks of
    failed requests and no limits on output. Raises InputError for another suffix, or where it cannot be written.
    """
    path = Path(path)
    packing = path.suffix if path.suffix in (".gz", ".zst") else ""
    kind = path.suffixes[-2:-1] if packing else [path.suffix]
    write = {".parquet": _write_parquet, ".jsonl": _write_jsonl, ".csv": _write_csv}.get("".join(kind))
    if write is None or (packing and write is _write_parquet):
        raise InputError("no known format by its name", file=str(path), wanted=f"a name that ends in {SUFFIXES}")
    if write is _write_csv and waits(trace) is not None:
        raise InputError(
            "some requests wait for more than the turn before them, which CSV has no words for",
            file=str(path),
            wanted="a name that ends in .parquet or .jsonl",
        )
    with whole_file(path) as part:
        return write(trace, part, packing)


def trace_table(trace: Trace) -> pa.Table:
    """A row a request: `request_id`, `arrival_ps` (null for later turns), `delay_ps` (null for others),
    `session_id`, `wait_for` (rows, from 0, besides the turn before), `input_tokens`, `output_tokens`,
    `max_output_tokens`, `priority`, `class`, `failed`, `hash_ids`. Columns that would say nothing are left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns: dict[str, Any] = {}
    names = trace.request_ids
    if names is not None:
        columns["request_id"] = pa.array(names, pa.string())
    times, later = array(trace, "arrival_ps"), followers(trace)
    columns["arrival_ps"] = pc.if_else(later, None, times)
    if pc.any(later).as_py():
        columns["delay_ps"] = pc.if_else(later, times, None)
        columns["session_id"] = pc.cast(pa.array(sessions(trace), pa.int64()), pa.string())
    if (lists := waits(trace)) is not None:
        # Of those that wait for each other, one alone is told from one of no session.
        columns["session_id"] = pc.coalesce(columns["session_id"], pc.cast(pa.array(range(len(trace))), pa.string()))
        columns["wait_for"] = lists
    for name in ("input_tokens", "output_tokens", "max_output_tokens"):
        columns[name] = array(trace, name).cast(pa.int64())
    priority = array(trace, "priority")
    if pc.any(pc.not_equal(priority, 0)).as_py():
        columns["priority"] = priority
    if trace.class_names is not None:
        columns["class"] = pa.DictionaryArray.from_arrays(
            array(trace, "class"), pa.array(trace.class_names, pa.string())
        )
    if trace.has_failed:
        columns["failed"] = pc.not_equal(array(trace, "failed"), 0)
    offsets = array(trace, "block_offsets").cast(pa.int64())
    columns["hash_ids"] = pa.LargeListArray.from_arrays(offsets, array(trace, "block_ids").cast(pa.int64()))
    about = {"servetwin.version": VERSION, "servetwin.block_tokens": str(trace.block_tokens)}
    return pa.table(columns).replace_schema_metadata(about)


def _write_parquet(trace: Trace, part: Path, packing: str) -> list[str]:
    import pyarrow.parquet as pq

    table = trace_table(trace)
    # Most ids are one more than the one before.
    few = [name for name in table.column_names if name not in ("hash_ids", "arrival_ps", "delay_ps")]
    runs = {"hash_ids.list.element": "DELTA_BINARY_PACKED"}
    pq.write_table(table, part, compression="zstd", use_dictionary=few, column_encoding=runs)
    return []


def _write_csv(trace: Trace, part: Path, packing: str) -> list[str]:
    import pyarrow as pa
    import pyarrow.csv

    table = trace_table(trace).drop_columns(["hash_ids"])
    if "class" in table.column_names:
        at = table.column_names.index("class")
        table = table.set_column(at, "class", table["class"].cast(pa.string()))
    with _packed(part, packing) as stream:
        pyarrow.csv.write_csv(table, stream)
    lost = ["what prompts share (hash_ids)"] if _shares(trace) else []
    if "session_id" in table.column_names:
        lost.append("that prompts are whole ones: read it with turns cumulative")
    return lost


def _write_jsonl(trace: Trace, part: Path, packing: str) -> list[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    table = trace_table(trace)
    if "wait_for" in table.column_names:
        table = _with_named_waits(trace, table)
    with _packed(part, packing) as stream:
        for batch in table.to_batches(ROWS_AT_ONCE):
            rows = batch.to_pylist()
            stream.write("".join(_mooncake_row(row, trace.block_tokens) + "\n" for row in rows).encode())
    lost = [
        what
        for name, what in (("class", "classes"), ("failed", "marks of failed requests"))
        if name in table.column_names
    ]
    if not table["max_output_tokens"].equals(table["output_tokens"]):
        lost.append("max_output_tokens")
    blocks = pc.list_value_length(table["hash_ids"])
    prompts = pc.divide(
        pc.add(table["input_tokens"], trace.block_tokens - 1), pa.scalar(trace.block_tokens, pa.int64())
    )
    if not blocks.cast(pa.int64()).equals(prompts):
        lost.append("hash_ids of generated text")
    if trace.block_tokens != MOONCAKE_BLOCK_TOKENS:
        lost.append(f"the size of a block: read it with block_tokens {trace.block_tokens}")
    return lost


def _with_named_waits(trace: Trace, table: pa.Table) -> pa.Table:
    """As Dynamo's agentic traces have it: each row tells by name all that it waits for."""
    import pyarrow as pa

    names = trace.request_ids or [f"row {row}" for row in range(len(trace))]
    after = array(trace, "after").to_pylist()
    told = [
        [names[one] for one in ([] if before == NONE else [before]) + more]
        for before, more in zip(after, table["wait_for"].to_pylist(), strict=True)
    ]
    table = table.set_column(table.column_names.index("wait_for"), "wait_for", pa.array(told, pa.list_(pa.string())))
    if trace.request_ids is None:
        table = table.append_column("request_id", pa.array(names, pa.string()))
    return table


def _mooncake_row(row: dict[str, Any], block_tokens: int) -> str:
    shown: dict[str, Any] = {}
    if row.get("request_id") is not None:
        shown["request_id"] = row["request_id"]
    if row.get("session_id") is not None:
        shown["session_id"] = row["session_id"]
    if row.get("wait_for") is not None:
        shown["wait_for"] = row["wait_for"]
    text = "".join(f'"{name}": {json.dumps(value)}, ' for name, value in shown.items())
    for name, time_ps in (("timestamp", row["arrival_ps"]), ("delay", row.get("delay_ps"))):
        if time_ps is not None:
            text += f'"{name}": {_decimal_ms(time_ps)}, '
    text += f'"input_length": {row["input_tokens"]}, "output_length": {row["output_tokens"]}'
    if row.get("priority"):
        text += f', "priority": {row["priority"]}'
    # Theirs cover the prompt, and no more.
    ids = row["hash_ids"][: -(-row["input_tokens"] // block_tokens)]
    return f'{{{text}, "hash_ids": {json.dumps(ids)}}}'


def _decimal_ms(time_ps: int) -> str:
    whole, part = divmod(time_ps, PS_PER_MS)
    return f"{whole}.{part:09d}".rstrip("0") if part else str(whole)


def _shares(trace: Trace) -> bool:
    import pyarrow.compute as pc

    ids = array(trace, "block_ids")
    return int(pc.max(ids).as_py()) + 1 < len(ids)


@contextmanager
def _packed(part: Path, packing: str) -> Iterator[IO[bytes]]:
    """What is written comes to be compressed as the name's suffix says."""
    import pyarrow as pa

    with open(part, "wb") as file:
        if not packing:
            yield file
            return
        with pa.CompressedOutputStream(file, {".gz": "gzip", ".zst": "zstd"}[packing]) as stream:
            yield stream
