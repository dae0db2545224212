"""Parquet: traces of our own, exactly as they were written, and plain tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .columns import values
from .csvtable import CsvTable
from .formats.plain import table_of
from .source import Source
from .table import MISSING_PS, Options, Table, refuse_unit

if TYPE_CHECKING:
    import pyarrow as pa

FIELDS = {
    "time": "arrival_ps",
    "delay": "delay_ps",
    "input": "input_tokens",
    "output": "output_tokens",
    "ids": "hash_ids",
    "name": "request_id",
}
NEEDED = {
    "arrival_ps": "int64",
    "input_tokens": "uint32",
    "output_tokens": "uint32",
    "max_output_tokens": "uint32",
}
OPTIONAL = {"priority": "int32", "delay_ps": "int64"}
IDS = "hash_ids"
WAITS = "wait_for"
BLOCK_TOKENS_MAX = 2**20


def read_parquet(source: Source, options: Options) -> Table:
    """Any Parquet table. Raises InputError for another file, or columns that make no trace."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(source.raw)).combine_chunks()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise source.problem(f"cannot be read as Parquet: {str(error).splitlines()[0][:200]}") from None
    if len(table) == 0:
        raise source.problem("has no rows; a trace has a request a row")
    block_tokens = (table.schema.metadata or {}).get(b"servetwin.block_tokens")
    if block_tokens is not None and not (block_tokens.isdigit() and 1 <= int(block_tokens) <= BLOCK_TOKENS_MAX):
        wanted = f"a number from 1 to {BLOCK_TOKENS_MAX}"
        raise source.problem(
            "cannot be read", field="servetwin.block_tokens", found=block_tokens.decode(errors="replace"), wanted=wanted
        )
    try:
        if block_tokens is not None:
            return _ours(source, table, int(block_tokens), options)
        return _plain(source, table, options)
    except (pa.ArrowException, OverflowError, ValueError) as error:
        raise source.problem(f"columns of the wrong types: {str(error).splitlines()[0][:200]}") from None


def _ours(source: Source, table: pa.Table, block_tokens: int, options: Options) -> Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    refuse_unit(source, options, "picoseconds")
    columns: dict[str, Any] = {}
    for name, kind in (NEEDED | OPTIONAL).items():
        if name in table.column_names:
            column = table[name]
            if name in ("arrival_ps", "delay_ps"):
                column = pc.fill_null(column, pa.scalar(MISSING_PS, pa.int64()))
            columns["time_ps" if name == "arrival_ps" else name] = _whole(source, column, name, kind)
        elif name in NEEDED:
            raise source.problem("missing", field=name, wanted="a trace that write_trace wrote")
    if "session_id" in table.column_names:
        columns |= _sessions(table["session_id"])
    if "request_id" in table.column_names:
        columns["request_ids"] = pc.fill_null(table["request_id"].cast(pa.string()), "").to_pylist()
    if "class" in table.column_names:
        columns["classes"], columns["class_names"] = _codes(source, table["class"], "class")
    if "failed" in table.column_names:
        columns["failed"] = _whole(source, table["failed"].cast(pa.uint8()), "failed", "uint8")
    columns |= _ids(source, table)
    if WAITS in table.column_names:
        columns["wait_for"], columns["wait_offsets"] = _lists(source, table, WAITS)
    return Table("parquet", columns, FIELDS, block_tokens=block_tokens, as_written=True)


def _plain(source: Source, table: pa.Table, options: Options) -> Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise source.problem("given twice; a column has a name of its own", field=min(twice))
    texts: dict[str, Any] = {}
    for name in table.column_names:
        if not pa.types.is_nested(table.schema.field(name).type):
            cells = pc.fill_null(table[name].cast(pa.string()), "").combine_chunks()
            texts[name] = pa.concat_arrays(cells.chunks) if isinstance(cells, pa.ChunkedArray) else cells
    rows = CsvTable(source, texts, pa.array(range(1, len(table) + 1), pa.int64()), 0)
    made = table_of(rows, options)
    if IDS not in table.column_names:
        return made
    if options.block_tokens is None:
        raise source.problem("does not say how many tokens an id stands for", field=IDS, wanted="block_tokens: 512")
    made.columns |= _ids(source, table)
    made.block_tokens = options.block_tokens
    return made


def _ids(source: Source, table: pa.Table) -> dict[str, Any]:
    if IDS not in table.column_names:
        return {}
    ids, offsets = _lists(source, table, IDS)
    return {"hash_ids": ids, "hash_offsets": offsets}


def _lists(source: Source, table: pa.Table, name: str) -> tuple[memoryview, memoryview | list[int]]:
    """All numbers of a column of lists, and where each row's begin."""
    import pyarrow as pa

    lists = table[name].combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks)
    if not (pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)):
        raise source.problem("is no list of numbers", field=name, found=str(lists.type))
    numbers = lists.flatten()
    if numbers.null_count or lists.null_count:
        raise source.problem("a number, or a whole list, is missing", field=name)
    first = lists.offsets[0].as_py()
    offsets = [offset - first for offset in lists.offsets.to_pylist()] if first else values(lists.offsets, "uint64")
    return values(numbers, "uint64"), offsets


def _whole(source: Source, column: Any, name: str, kind: str) -> memoryview:
    if column.null_count:
        raise source.problem("a value is missing", field=name)
    return values(column, kind)


def _codes(source: Source, column: Any, name: str) -> tuple[memoryview, list[str]]:
    import pyarrow as pa

    if column.null_count:
        raise source.problem("a value is missing", field=name)
    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = pa.concat_arrays(encoded.chunks)
    return values(encoded.indices, "uint32"), encoded.dictionary.to_pylist()


def _sessions(column: Any) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = pa.concat_arrays(encoded.chunks)
    indices = pc.fill_null(encoded.indices.cast(pa.int64()), 2**32 - 1)
    return {"session": values(indices, "uint32"), "session_names": encoded.dictionary.to_pylist()}
