"""guidellm's results: seconds, but for what ends in `_ms`. Each benchmark of a file is a measurement of its own."""

from __future__ import annotations

from collections import defaultdict

from ...workload.formats.guidellm import requests_of
from ...workload.jsonrows import Row
from ...workload.measured import Measured
from ...workload.source import Source
from ..measured import Measurement, Request, usable

START, FIRST = ("request_start_time", "start_time"), "first_token_time"
TTFT = "time_to_first_token_ms"


def read_guidellm(source: Source) -> list[Measurement]:
    """Raises InputError: no streamed answers, requests that failed by the dozen."""
    benchmarks: dict[str, list[Request | str]] = defaultdict(list)
    for known, row in requests_of(source):
        benchmarks[known.kind or ""].append(_request(known, row))
    return [
        usable(source, "guidellm", requests, name=f"{source.name}, {kind}" if kind else source.name)
        for kind, requests in benchmarks.items()
    ]


def _request(known: Measured, row: Row) -> Request | str:
    if known.failed:
        return "they failed"
    assert known.input_tokens is not None
    if row.get(TTFT) is not None:
        ttft_ps: int = row.units(TTFT, 9)
    elif row.get(FIRST) is not None:
        ttft_ps = row.units(FIRST, 12) - known.start_ps
    else:
        raise row.fail(TTFT, "missing", wanted=f"it, or {FIRST}, from a run with streamed answers")
    return Request(known.at, known.start_ps, known.input_tokens, known.output_tokens, ttft_ps, known.elapsed_ps)
