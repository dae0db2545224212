"""BurstGPT: times in seconds, a response of 0 tokens for a request that failed; later releases have sessions."""

from __future__ import annotations

from typing import Any

from ..csvtable import CsvTable, read_csv
from ..source import Source
from ..table import MISSING, Options, Table, refuse_unit

FIELDS = {"time": "Timestamp", "input": "Request tokens", "output": "Response tokens"}


def read_burstgpt(source: Source, options: Options) -> Table:
    """Times are counted from the first row's: the second release starts on day 61."""
    refuse_unit(source, options, "seconds")
    rows = read_csv(source)
    for name in FIELDS.values():
        rows.need(name, name)
    output = rows.tokens("Response tokens")
    columns: dict[str, Any] = {
        "time_ps": rows.times("Timestamp", "s", since_first=True),
        "input_tokens": rows.tokens("Request tokens", least=1),
        "output_tokens": output,
        "failed": bytes(0 if count else 1 for count in output),
        "lines": rows.line_numbers(),
    }
    notes = {"blank_lines": rows.blank_lines}
    if "Total tokens" in rows.columns:
        _check_totals(rows, columns)
    kind = rows.one_of(("log type",))
    if kind is not None:
        columns["classes"], columns["class_names"] = rows.codes(kind)
    session = rows.one_of(("session id", "sessionid"))
    if session is not None:
        sessions = rows.sessions(session)
        codes = sessions["session"]
        if len(sessions["session_names"]) < sum(code != MISSING for code in codes):
            columns |= sessions
        elapsed = rows.one_of(("elapsed time",))
        if elapsed is not None and "session" in columns:
            columns["elapsed_ps"] = rows.times(elapsed, "s", empty=True)
    return Table("burstgpt", columns, FIELDS, notes, turns=True)


def _check_totals(rows: CsvTable, columns: dict[str, Any]) -> None:
    total = rows.tokens("Total tokens")
    inputs, outputs = columns["input_tokens"], columns["output_tokens"]
    for row, (whole, prompt, answer) in enumerate(zip(total, inputs, outputs, strict=True)):
        if whole != prompt + answer:
            raise rows.fail(row, "Total tokens", f"{prompt} + {answer} = {prompt + answer}, the row's other two")
