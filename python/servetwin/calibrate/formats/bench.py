"""vLLM's `bench serve --save-result --save-detailed` and SGLang's `bench_serving --output-details`: seconds, by column.

`input_lens`, `output_lens`, `ttfts`, `itls` (a list a request) and `errors`; vLLM also says when it sent each request
(`start_times`, vllm/benchmarks/serve.py). Without that, the requests of a closed loop (`max_concurrency`, and
`request_rate` infinite) are sent as their users come free; other arrivals are unknown, and refused. Files without
details (`mean_ttft_ms`, `mean_tpot_ms`) are points of a sweep.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from ...workload.jsonrows import Row, parse
from ...workload.source import Source
from ..measured import Measurement, Point, Request, usable

COLUMNS = ("input_lens", "output_lens", "ttfts", "itls")
INFINITE = re.compile(rb"(:\s*)Infinity\b")
"""As Python writes a rate without a limit; no JSON."""
MEANS = ("mean_ttft_ms", "mean_tpot_ms")


def is_bench(data: Any) -> bool:
    """Whether an object is such a result."""
    return isinstance(data, dict) and (set(COLUMNS) <= data.keys() or set(MEANS) <= data.keys())


def read_bench(source: Source) -> list[Measurement]:
    """A result a line, or one over all lines. Raises InputError."""
    rows = list(_results(source))
    detailed = [row for row in rows if row.get(COLUMNS[0]) is not None]
    if not detailed:
        points = [_point(row, number) for number, row in enumerate(rows, 1)]
        return [Measurement(source.name, "bench", source.sha256, points=points)]
    if len(detailed) < len(rows):
        wanted = "all results with details, or none"
        raise source.problem("holds results with the single requests and without", wanted=wanted)
    several = len(rows) > 1
    names = [f"{source.name}, result {number}" if several else source.name for number in range(1, len(rows) + 1)]
    return [_detailed(source, row, name) for row, name in zip(rows, names, strict=True)]


def _results(source: Source) -> Iterator[Row]:
    lines = [(number, text) for number, text in enumerate(source.data.split(b"\n"), 1) if text.strip()]
    whole = len(lines) == 1 or not lines[0][1].rstrip().endswith(b"}")
    for number, text in [(None, source.data)] if whole else lines:
        data = parse(source, INFINITE.sub(rb'\1"inf"', text), number)
        if not is_bench(data):
            raise source.problem("no result of vLLM's or SGLang's benchmark", line=number, wanted=", ".join(COLUMNS))
        yield Row(source, number, data)


def _detailed(source: Source, row: Row, name: str) -> Measurement:
    count = len(_list(row, COLUMNS[0]))
    times = row.get("start_times")
    for column in (*COLUMNS, *(["start_times"] if times is not None else [])):
        if len(_list(row, column)) != count:
            raise row.fail(column, f"has {len(row.get(column))} entries", wanted=f"{count}, as {COLUMNS[0]} has")
    users = None if times is not None else _users(row, count)
    errors = row.get("errors") or []
    requests = [_request(row, i, times is not None, bool(i < len(errors) and errors[i])) for i in range(count)]
    return usable(source, "bench", requests, name=name, users=users)


def _list(row: Row, path: str) -> list[Any]:
    value = row.get(path)
    if not isinstance(value, list):
        raise row.fail(path, "missing" if value is None else "no list", wanted="an entry a request")
    return value


def _users(row: Row, count: int) -> int:
    """Of a closed loop, or everybody at once."""
    rate = row.get("request_rate")
    if rate is not None and str(rate).lower() not in ("inf", "infinity"):
        raise row.fail(
            "start_times",
            f"missing, and requests came at a rate ({rate} a second): when each was sent is not known",
            wanted="it (vLLM writes it), or a run with --request-rate inf and --max-concurrency",
        )
    users: int = row.whole("max_concurrency", 1, default=count)
    return min(users, count)


def _request(row: Row, i: int, timed: bool, failed: bool) -> Request | str:
    if failed or row.whole(f"output_lens.{i}", default=0) == 0:
        return "they failed"
    ttft_ps = row.units(f"ttfts.{i}", 12)
    itls = row.get(f"itls.{i}")
    if not isinstance(itls, list):
        raise row.fail(f"itls.{i}", "no list", wanted="the gaps between tokens, in seconds")
    gaps = sum(row.units(f"itls.{i}.{j}", 12) for j in range(len(itls)))
    return Request(
        at=f"request {i + 1}",
        sent_ps=row.units(f"start_times.{i}", 12) if timed else i,
        input_tokens=row.whole(f"input_lens.{i}", 1),
        output_tokens=row.whole(f"output_lens.{i}", 1),
        ttft_ps=ttft_ps,
        latency_ps=ttft_ps + gaps,
    )


def _point(row: Row, line: int) -> Point:
    """Means of one run."""
    completed = row.whole("completed", 1)
    rate = row.get("request_rate")
    finite = rate is not None and math.isfinite(float(rate))
    return Point(
        line=line,
        users=None if finite else min(row.whole("max_concurrency", 1, default=completed), completed),
        rate_per_s=float(rate) if finite else None,
        input_tokens=max(round(row.whole("total_input_tokens", 1) / completed), 1),
        output_tokens=max(round(row.whole("total_output_tokens", 1) / completed), 1),
        requests=completed,
        ttft_ps=row.units("mean_ttft_ms", 9),
        tpot_ps=row.units("mean_tpot_ms", 9),
    )
