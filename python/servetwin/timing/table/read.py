"""Rows of timings, as CSV (also compressed) or Parquet has them, with their lines."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import isfinite
from pathlib import Path
from typing import Any

from ...errors import InputError

UNITS_PS = {"time_ns": 1_000, "time_us": 1_000_000, "time_ms": 1_000_000_000, "time_s": 1_000_000_000_000}
"""Column of the times: picoseconds of its unit."""


@dataclass(frozen=True)
class Row:
    """One timing: `at` are whole numbers in the order of the columns asked for."""

    line: int
    name: str
    """Of the layer; empty where the file has none."""
    at: tuple[int, ...]
    ps: int


@dataclass(frozen=True)
class Timings:
    file: Path
    rows: tuple[Row, ...]

    def problem(self, message: str, row: Row | None = None, **more: str) -> InputError:
        return InputError(message, file=str(self.file), line=None if row is None else row.line, **more)


def read_timings(file: Path, columns: Sequence[str], *, named: bool = False) -> Timings:
    """`columns` hold whole numbers, `named` a `layer` beside them, and one column the time, its unit in its name.

    Raises InputError: a file that is not there or not readable, a column missing, a value that is no number, negative
    or given twice, a file without rows.
    """
    lines = rows_of(file)
    header = next(lines, None)
    if header is None:
        raise InputError("has no rows", file=str(file))
    names = [str(name) for name in header[1]]
    time, scale = _time_column(file, names)
    wanted = (["layer"] if named else []) + list(columns)
    for name in wanted:
        if name not in names:
            raise InputError(
                f"lacks the column {name}", file=str(file), found=", ".join(names), wanted=", ".join([*wanted, time])
            )
    index = [names.index(name) for name in columns]
    layer, when = names.index("layer") if named else None, names.index(time)
    rows = []
    seen: dict[tuple[str, tuple[int, ...]], int] = {}
    for line, cells in lines:
        at = tuple(_whole(file, line, names[i], cells[i]) for i in index)
        row = Row(line, "" if layer is None else str(cells[layer]), at, _ps(file, line, time, cells[when], scale))
        before = seen.setdefault((row.name, at), line)
        if before != line:
            where = ", ".join(f"{name} {value}" for name, value in zip(columns, at, strict=True))
            raise InputError(f"timed twice: {where}, on line {before} before", file=str(file), line=line)
        rows.append(row)
    if not rows:
        raise InputError("has no rows", file=str(file))
    return Timings(file, tuple(rows))


def rows_of(file: Path) -> Iterator[tuple[int, list[Any]]]:
    """The lines and their cells, that of the column names first. Raises InputError where it cannot be read."""
    return _parquet(file) if file.suffix == ".parquet" else _csv(file)


def _time_column(file: Path, names: Sequence[str]) -> tuple[str, int]:
    found = [name for name in names if name in UNITS_PS]
    if len(found) == 1:
        return found[0], UNITS_PS[found[0]]
    times = [name for name in names if name.startswith(("time", "latency"))]
    raise InputError(
        "has times in an unknown unit" if not found else "has times in two units",
        file=str(file),
        found=", ".join(times or names),
        wanted="one column named time_ns, time_us, time_ms or time_s",
    )


def _csv(file: Path) -> Iterator[tuple[int, list[Any]]]:
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as text:
            reader = csv.reader(text)
            header = next(reader, None)
            if header is None:
                return
            yield 1, header
            for cells in reader:
                if cells and len(cells) != len(header):
                    raise InputError(
                        f"has {len(cells)} values under {len(header)} columns",
                        file=str(file),
                        line=reader.line_num,
                        found=",".join(cells)[:80],
                    )
                if cells:
                    yield reader.line_num, cells
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read: {error}", file=str(file)) from None


def _parquet(file: Path) -> Iterator[tuple[int, list[Any]]]:
    from pyarrow import ArrowException, parquet  # heavy, and most tables are CSV

    try:
        columns = parquet.read_table(file).to_pydict()
    except (OSError, ArrowException) as error:
        raise InputError(f"cannot be read: {error}", file=str(file)) from None
    yield 1, list(columns)
    for row, cells in enumerate(zip_longest(*columns.values()), 1):
        yield row, list(cells)


def _whole(file: Path, line: int, name: str, cell: Any) -> int:
    try:
        value = int(cell)
    except (TypeError, ValueError):
        value = -1
    if value < 0 or value > 2**40:
        raise InputError("must be a whole number", file=str(file), line=line, field=name, found=repr(cell))
    return value


def _ps(file: Path, line: int, name: str, cell: Any, scale: int) -> int:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = -1.0
    if not isfinite(value) or value < 0:
        raise InputError(
            "must be a time, not negative",
            file=str(file),
            line=line,
            field=name,
            found=repr(cell),
            wanted="such as 12.5",
        )
    return round(value * scale)
