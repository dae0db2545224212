"""Tables of text, by column: whole numbers and exact times, and the line of whatever is neither."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..units import HORIZON_PS
from .columns import values
from .source import Source
from .table import MISSING_PS

if TYPE_CHECKING:
    import pyarrow as pa

UNITS = {"s": 12, "ms": 9, "us": 6, "ns": 3, "ps": 0}
"""Powers of ten: picoseconds of a unit of time."""
WHOLE = r"^[0-9]{1,10}$"
NUMBER = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$"
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?$"
ZONED = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
TOKENS_MAX = 1_000_000_000
CENTURY_S = (946_684_800, 4_102_444_800)
"""Seconds since 1970."""
MARKS = {"true": 1, "1": 1, "false": 0, "0": 0, "": 0}


class CsvTable:
    """Cells as text, in columns by name; rows keep the lines they stand in."""

    def __init__(self, source: Source, columns: dict[str, Any], lines: Any, blank_lines: int) -> None:
        self.source = source
        self.columns = columns
        self.lines = lines
        self.blank_lines = blank_lines

    @cached_property
    def names(self) -> list[str]:
        return list(self.columns)

    def __len__(self) -> int:
        return len(self.lines)

    def one_of(self, names: Iterable[str]) -> str | None:
        """The column that has one of these names. Raises InputError if several do."""
        found = [name for name in self.names if name.strip().lower() in names]
        if len(found) > 1:
            raise self.source.problem(
                f"also given as {found[1]}, and which of them counts is not said", line=1, field=found[0]
            )
        return found[0] if found else None

    def need(self, name: str | None, what: str) -> str:
        """Raises InputError where there is no such column."""
        if name is None or name not in self.columns:
            raise self.source.problem(
                "missing", line=1, field=name or what, found=", ".join(self.names), wanted=f"a column {what}"
            )
        return name

    def fail(self, row: int, name: str, wanted: str) -> InputError:
        cell = self.columns[name][row].as_py()
        message = "is empty" if cell == "" else "cannot be read"
        return self.source.problem(
            message, line=self.line(row), field=name, found=repr(cell) if cell else None, wanted=wanted
        )

    def line(self, row: int) -> int:
        return int(self.lines[row].as_py())

    def tokens(self, name: str, *, least: int = 0, empty: int | None = None) -> memoryview:
        """A column of token counts, for the core. `empty`: what an empty cell stands for, if for anything."""
        import pyarrow as pa
        import pyarrow.compute as pc

        cells = self.columns[name]
        wanted = f"a whole number of tokens from {least} to {TOKENS_MAX}"
        if empty is not None:
            cells = pc.replace_with_mask(cells, pc.equal(cells, ""), pa.scalar(str(empty)))
        # 12.0 is what tables of floating-point numbers make of 12.
        cells = pc.replace_substring_regex(cells, r"^([0-9]{1,10})\.0+$", r"\1")
        self._check(pc.match_substring_regex(cells, WHOLE), name, wanted)
        numbers = pc.cast(cells, pa.int64())
        within = pc.and_(pc.greater_equal(numbers, least), pc.less_equal(numbers, TOKENS_MAX))
        if empty is not None:
            within = pc.or_(within, pc.equal(numbers, empty))
        self._check(within, name, wanted)
        return values(numbers, "uint32")

    def text(self, name: str) -> list[str]:
        found: list[str] = self.columns[name].to_pylist()
        return found

    def times(self, name: str, unit: str, *, empty: bool = False, since_first: bool = False) -> memoryview:
        """A column of times in `unit`, in picoseconds, exactly; rounded, halves to even, where they are finer.

        `empty`: an empty cell is no time; `since_first`: counted from the earliest. Raises InputError for what is no
        number, negative, or beyond 100 days.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        cells = self.columns[name]
        wanted = f"a number of {'seconds' if unit == 's' else unit}, from 0 to 100 days"
        blank = pc.equal(cells, "")
        if empty:
            cells = pc.replace_with_mask(cells, blank, pa.scalar("0"))
        self._check(pc.match_substring_regex(cells, NUMBER), name, wanted)
        times = _picoseconds(cells, UNITS[unit], since_first=since_first)
        within = pc.and_(pc.greater_equal(times, 0), pc.less_equal(times, HORIZON_PS))
        self._check(within, name, wanted)
        if empty and pc.any(blank).as_py():
            times = pc.replace_with_mask(times, blank, pa.scalar(MISSING_PS, pa.int64()))
        return values(times, "int64")

    def integers(self, name: str) -> memoryview:
        """A column of 32-bit numbers; an empty cell is 0."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = f"a whole number from {-(2**31)} to {2**31 - 1}"
        cells = pc.replace_with_mask(self.columns[name], pc.equal(self.columns[name], ""), pa.scalar("0"))
        self._check(pc.match_substring_regex(cells, r"^-?[0-9]{1,10}$"), name, wanted)
        numbers = pc.cast(cells, pa.int64())
        self._check(
            pc.equal(numbers, pc.max_element_wise(pc.min_element_wise(numbers, 2**31 - 1), -(2**31))), name, wanted
        )
        return values(numbers, "int32")

    def marks(self, name: str) -> bytes:
        """A column of true and false; an empty cell is false."""
        cells = [cell.lower() for cell in self.text(name)]
        wrong = next((row for row, cell in enumerate(cells) if cell not in MARKS), None)
        if wrong is not None:
            raise self.fail(wrong, name, "true or false")
        return bytes(map(MARKS.__getitem__, cells))

    def looks_like_epoch(self, name: str, unit: str) -> bool:
        """By its first cell: a time since 1970, in this century."""
        cell = self.columns[name][0].as_py()
        return (
            re.match(NUMBER, cell) is not None
            and CENTURY_S[0] <= Decimal(cell).scaleb(UNITS[unit] - UNITS["s"]) <= CENTURY_S[1]
        )

    def looks_like_dates(self, name: str) -> bool:
        """By its first cell."""
        return re.match(DATE, self.columns[name][0].as_py()) is not None

    def dates(self, name: str) -> tuple[memoryview, str]:
        """A column of dates as picoseconds since the earliest, and that one as it is written.

        Raises InputError for what is no date, and where only some tell their time zone.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        cells = self.columns[name]
        self._check(pc.match_substring_regex(cells, DATE), name, "a date such as 2023-11-16 18:17:03.979")
        zoned = pc.match_substring_regex(cells, ZONED)
        if pc.any(zoned).as_py() and not pc.all(zoned).as_py():
            row = zoned.index(False).as_py() if zoned[0].as_py() else zoned.index(True).as_py()
            raise self.source.problem(
                "some dates tell their time zone, and some do not",
                line=self.line(row),
                field=name,
                found=repr(cells[row].as_py()),
                wanted="a zone in all, or in none",
            )
        kind = pa.timestamp("ns", "UTC") if zoned[0].as_py() else pa.timestamp("ns")
        try:
            nanoseconds = pc.cast(pc.cast(cells, kind), pa.int64())
        except pa.ArrowInvalid:
            row = next(row for row, cell in enumerate(cells) if not _is_date(cell, kind))
            raise self.fail(row, name, "a date of the calendar from 1678 to 2261") from None
        first = pc.min(nanoseconds)
        at = pc.index(nanoseconds, first).as_py()
        try:
            times = pc.multiply_checked(pc.subtract_checked(nanoseconds, first), 1000)
        except pa.ArrowInvalid:
            times = pa.array([HORIZON_PS + 1])
        if pc.max(times).as_py() > HORIZON_PS:
            row = pc.index(nanoseconds, pc.max(nanoseconds)).as_py()
            raise self.fail(row, name, f"a date within 100 days of the earliest, {cells[at].as_py()}")
        return values(times, "int64"), cells[at].as_py()

    def codes(self, name: str) -> tuple[memoryview, list[str]]:
        """Each row's text as an index into the distinct ones."""
        encoded = self.columns[name].dictionary_encode()
        return values(encoded.indices, "uint32"), encoded.dictionary.to_pylist()

    def sessions(self, name: str) -> dict[str, Any]:
        """Columns for the core; an empty cell is no session."""
        import pyarrow as pa
        import pyarrow.compute as pc

        cells = self.columns[name]
        cells = pc.if_else(pc.equal(cells, ""), pa.scalar(None, pa.string()), cells)
        encoded = cells.dictionary_encode()
        indices = pc.fill_null(encoded.indices.cast(pa.int64()), 2**32 - 1)
        return {"session": values(indices, "uint32"), "session_names": encoded.dictionary.to_pylist()}

    def line_numbers(self) -> memoryview:
        return values(self.lines, "uint64")

    def _check(self, good: Any, name: str, wanted: str) -> None:
        import pyarrow.compute as pc

        at = pc.index(good, False).as_py()
        if at >= 0:
            raise self.fail(at, name, wanted)


def read_csv(source: Source) -> CsvTable:
    """All cells as text. Raises InputError for what is no table: rows of other lengths, bytes that are no UTF-8."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv

    data = source.data
    _check_text(source, data)
    header = header_names(data)
    twice = next((name for at, name in enumerate(header) if name in header[:at]), None)
    if twice is not None:
        raise source.problem("given twice; a column has a name of its own", line=1, field=twice)
    wrong: list[tuple[int | None, int, str]] = []

    def keep(row: Any) -> str:
        wrong.append((row.number, row.actual_columns, row.text))
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=1 << 24),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter(data), ignore_empty_lines=False, invalid_row_handler=keep
            ),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string())),
        ).combine_chunks()
    except (pa.ArrowException, ValueError, OverflowError) as error:
        what = re.sub(r"\s+", " ", str(error))[:200]
        raise source.problem(f"is no table of comma-separated values: {what}") from None
    if wrong:
        line, count, text = wrong[0]
        raise source.problem(f"has {count} cells; the header has {len(header)}", line=line, found=repr(text))
    if table.column_names != header:
        raise source.problem("the header cannot be read", line=1)
    columns = {name: _chunk(table[name]) for name in header}
    lines = pa.array(range(2, len(table) + 2), pa.int64())
    blank = pa.array([True] * len(table), pa.bool_())
    for cells in columns.values():
        blank = pc.and_(blank, pc.equal(cells, ""))
    count = pc.sum(blank).as_py() or 0
    if count:
        there = pc.invert(blank)
        columns = {name: cells.filter(there) for name, cells in columns.items()}
        lines = lines.filter(there)
    if len(lines) == 0:
        raise source.problem("has no rows; a trace has a request a row")
    return CsvTable(source, columns, lines, count)


def delimiter(data: bytes) -> str:
    first = data.partition(b"\n")[0]
    return max(",;\t", key=lambda mark: (first.count(mark.encode()), mark == ","))


def header_names(data: bytes) -> list[str]:
    """The names in the first line."""
    text = data.partition(b"\n")[0].rstrip(b"\r").decode(errors="replace")
    mark = delimiter(data)
    return [name.strip('"') if name.startswith('"') else name for name in text.split(mark)]


def _check_text(source: Source, data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        at = error.start - data.rfind(b"\n", 0, error.start)
        raise source.problem(f"byte {at} is not UTF-8; save the trace as UTF-8", line=line) from None


def _chunk(column: Any) -> pa.Array:
    import pyarrow as pa

    one = column.combine_chunks()
    return pa.concat_arrays(one.chunks) if isinstance(one, pa.ChunkedArray) else one


def _picoseconds(cells: Any, power: int, *, since_first: bool) -> Any:
    """Numbers times 10^power, exactly where picoseconds hold them; beyond all bounds is beyond the horizon."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        numbers = pc.cast(cells, pa.decimal128(36, power))
    except pa.ArrowInvalid:
        slow = [_rounded(cell, power) for cell in cells.to_pylist()]
        first = min(slow) if since_first else 0
        return pa.array([min(time - first, HORIZON_PS + 1) if time >= 0 else -1 for time in slow], pa.int64())
    if since_first and not pc.any(pc.less(numbers, 0)).as_py():
        numbers = pc.subtract(numbers, pc.min(numbers))
    # The unscaled numbers: 128 bits each, of which the lower half says all if the upper one is its sign.
    halves = memoryview(numbers.buffers()[1])[numbers.offset * 16 : (numbers.offset + len(numbers)) * 16].cast("q")
    low, high = (pa.array(halves[at::2].tolist(), pa.int64()) for at in (0, 1))
    fits = pc.equal(high, pc.if_else(pc.less(low, 0), -1, 0))
    return pc.if_else(fits, low, pc.if_else(pc.less(high, 0), -1, HORIZON_PS + 1))


def _rounded(cell: str, power: int) -> int:
    """To the nearest picosecond, halves to even; what is out of all bounds stays out of them."""
    value = Decimal(cell)
    if value < 0:
        return -1
    if value.adjusted() > 30:
        return 10**40
    return int(value.scaleb(power).to_integral_value(ROUND_HALF_EVEN))


def _is_date(cell: Any, kind: Any) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        pc.cast(pa.array([cell.as_py()]), kind)
    except pa.ArrowInvalid:
        return False
    return True
