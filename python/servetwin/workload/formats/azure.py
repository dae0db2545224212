"""Azure's LLM inference traces of 2023 and 2024: `TIMESTAMP,ContextTokens,GeneratedTokens`, the time a date."""

from __future__ import annotations

from ..csvtable import read_csv
from ..source import Source
from ..table import Options, Table, refuse_unit

FIELDS = {"time": "TIMESTAMP", "input": "ContextTokens", "output": "GeneratedTokens"}


def read_azure(source: Source, options: Options) -> Table:
    refuse_unit(source, options, "dates")
    rows = read_csv(source)
    for name in FIELDS.values():
        rows.need(name, name)
    times, first = rows.dates("TIMESTAMP")
    return Table(
        "azure",
        {
            "time_ps": times,
            "input_tokens": rows.tokens("ContextTokens", least=1),
            "output_tokens": rows.tokens("GeneratedTokens"),
            "lines": rows.line_numbers(),
        },
        FIELDS,
        {"starts_at": first, "blank_lines": rows.blank_lines},
    )
