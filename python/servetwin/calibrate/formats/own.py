"""A folder that `servetwin simulate --out` wrote: its requests, as if they had been measured."""

from __future__ import annotations

from pathlib import Path

from ...result.store import load
from ...workload.source import Source
from ..measured import Measurement, Request, usable

COLUMNS = ("arrival_ps", "input_tokens", "output_tokens", "first_token_ps", "last_token_ps", "status")


def read_own(folder: Path) -> list[Measurement]:
    """Raises InputError."""
    result = load(folder)
    table = result.requests.select(COLUMNS).to_pydict()
    requests: list[Request | str] = []
    for row, (sent, new, out, first, last, status) in enumerate(zip(*table.values(), strict=True), 1):
        if status != "completed" or first is None or last is None:
            requests.append("they did not complete")
        else:
            requests.append(Request(f"row {row}", sent, new, out, first - sent, last - sent))
    content = (folder / "requests.parquet").read_bytes()
    return [usable(Source(str(folder), content), "servetwin", requests)]
