"""Plain tables, CSV or Parquet: when a request arrives, how long its prompt is, how long its answer; and our own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..csvtable import UNITS, CsvTable, read_csv
from ..source import Source
from ..table import Options, Table, refuse_unit

TIME = ("arrival", "arrived_at", "arrival_time", "timestamp", "time", "t", "start", "start_time")
DELAY = ("delay", "think_time")
ELAPSED = ("elapsed", "latency", "duration", "request_latency", "e2e")
NAMES = {
    "input": ("input_tokens", "input_length", "input_len", "prompt_tokens", "prompt_len", "prompt_length",
              "context_tokens", "num_prefill_tokens", "input_toks", "isl"),
    "output": ("output_tokens", "output_length", "output_len", "completion_tokens", "generated_tokens",
               "num_decode_tokens", "output_toks", "osl"),
    "limit": ("max_output_tokens", "max_tokens"),
    "reasoning": ("reasoning_tokens",),
    "priority": ("priority",),
    "session": ("session_id", "conversation_id"),
    "name": ("request_id", "id"),
    "class": ("class", "type"),
    "failed": ("failed",),
}  # fmt: skip


def read_plain(source: Source, options: Options) -> Table:
    """A table of CSV. A unit ends a column's name (`arrival_s`, `delay_ms`), is given, or is a date's."""
    return table_of(read_csv(source), options)


def table_of(rows: CsvTable, options: Options) -> Table:
    """The same for rows from elsewhere."""
    source = rows.source
    found = {what: rows.one_of(names) for what, names in NAMES.items()}
    times = {
        what: _timed(rows, names, options) for what, names in (("time", TIME), ("delay", DELAY), ("elapsed", ELAPSED))
    }
    if options.time_unit is not None and all(unit != options.time_unit or named for _, unit, named in times.values()):
        refuse_unit(source, options, "in the unit that their columns name, or dates")
    columns: dict[str, Any] = {
        "lines": rows.line_numbers(),
        "input_tokens": rows.tokens(rows.need(found["input"], "input_tokens"), least=1),
        "output_tokens": rows.tokens(rows.need(found["output"], "output_tokens")),
    }
    notes: dict[str, Any] = {"blank_lines": rows.blank_lines}
    if found["session"] is not None:
        columns |= rows.sessions(found["session"])
    for what, (name, unit, _) in times.items():
        if name is None or (what == "elapsed" and "session" not in columns):
            continue
        if unit == "date":
            columns[f"{what}_ps"], notes["starts_at"] = rows.dates(name)
        else:
            epoch = what == "time" and rows.looks_like_epoch(name, unit)
            columns[f"{what}_ps"] = rows.times(name, unit, empty=not epoch, since_first=epoch)
    if times["time"][0] is None:
        columns["time_ps"] = bytes(8 * len(rows))
    _others(rows, found, columns)
    used = {*found.values(), *(name for name, _, _ in times.values())}
    unused = [name for name in rows.names if name not in used]
    if unused:
        notes["columns_without_effect"] = unused
    fields = {
        "time": times["time"][0] or "arrival_s",
        "delay": times["delay"][0] or "delay_s",
        "input": found["input"] or "",
        "output": found["output"] or "",
        "name": found["name"] or "request_id",
    }
    return Table("table", columns, fields, notes, has_times=times["time"][0] is not None, turns=True)


def _others(rows: CsvTable, found: dict[str, str | None], columns: dict[str, Any]) -> None:
    if (name := found["limit"]) is not None:
        columns["max_output_tokens"] = rows.tokens(name, empty=2**32 - 1)
    if (name := found["reasoning"]) is not None:
        columns["reasoning_tokens"] = rows.tokens(name, empty=0)
    if (name := found["priority"]) is not None:
        columns["priority"] = rows.integers(name)
    if (name := found["name"]) is not None:
        columns["request_ids"] = rows.text(name)
    if (name := found["class"]) is not None:
        columns["classes"], columns["class_names"] = rows.codes(name)
    if (name := found["failed"]) is not None:
        columns["failed"] = rows.marks(name)


def _timed(rows: CsvTable, names: Iterable[str], options: Options) -> tuple[str | None, str, bool]:
    """The column of a time, its unit (one of `UNITS`, or `date`), and whether the file names it."""
    units = {f"{name}_{unit}": unit for name in names for unit in UNITS}
    found = rows.one_of((*names, *units))
    if found is None:
        return None, "", True
    unit = units.get(found.strip().lower())
    if unit is not None:
        return found, unit, True
    if rows.looks_like_dates(found):
        return found, "date", True
    if options.time_unit is None:
        raise rows.source.problem(
            "does not say in which unit",
            line=1,
            field=found,
            wanted=f"{found}_s, {found}_ms or the like as its name, or time_unit: s",
        )
    return found, options.time_unit, False
