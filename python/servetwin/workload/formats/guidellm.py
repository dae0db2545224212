"""guidellm's results: one JSON file, its benchmarks one after the other, times in seconds since 1970."""

from __future__ import annotations

from typing import Any

from ..jsonrows import ABSENT, Row, parse
from ..measured import Measured, table
from ..source import Source
from ..table import Options, Table, refuse_unit

FIELDS = {"time": "request_start_time", "input": "prompt_tokens", "output": "output_tokens", "name": "request_id"}
GROUPS = ("successful", "errored", "incomplete")


def read_guidellm(source: Source, options: Options) -> Table:
    """All benchmarks of the file, each a class of its own if there are several."""
    refuse_unit(source, options, "seconds")
    return table("guidellm", source, FIELDS, [request for request, _ in requests_of(source)])


def requests_of(source: Source) -> list[tuple[Measured, Row]]:
    """Each request, and its object in the file. Raises InputError."""
    data = parse(source, source.data, None)
    benchmarks = data.get("benchmarks") if isinstance(data, dict) else None
    if not isinstance(benchmarks, list) or not benchmarks:
        raise source.problem("no results of guidellm", field="benchmarks", wanted="a list of benchmarks")
    requests = []
    for number, benchmark in enumerate(benchmarks):
        groups = benchmark.get("requests") if isinstance(benchmark, dict) else None
        if not isinstance(groups, dict):
            raise source.problem("missing", field=f"benchmarks[{number}].requests", wanted="the requests by outcome")
        kind = f"benchmark {number + 1}" if len(benchmarks) > 1 else None
        for group in GROUPS:
            requests += _group(source, groups, group, f"benchmarks[{number}].requests.{group}", kind)
    return requests


def _group(source: Source, groups: dict[str, Any], group: str, at: str, kind: str | None) -> list[tuple[Measured, Row]]:
    rows = groups.get(group) or []
    if not isinstance(rows, list):
        raise source.problem("cannot be read", field=at, wanted="a list of requests")
    found = []
    for number, data in enumerate(rows):
        where = f"{at}[{number}]."
        if not isinstance(data, dict):
            raise source.problem("is no object", field=where.rstrip("."), found=str(data))
        row = Row(source, None, data, where)
        found.append((_request(row, where, group != "successful", kind), row))
    return found


def _request(row: Row, at: str, failed: bool, kind: str | None) -> Measured:
    # Releases before 0.4 call them start_time and end_time.
    old = row.get("request_start_time") is None and row.get("start_time") is not None
    start, end = ("start_time", "end_time") if old else ("request_start_time", "request_end_time")
    start_ps = row.units(start, 12)
    end_ps = row.units(end, 12, default=start_ps)
    if end_ps < start_ps:
        raise row.fail(end, f"before {start}", row.get(end))
    output = row.whole("output_tokens", default=0 if failed else ABSENT)
    return Measured(
        line=None,
        at=at,
        name=row.text("request_id", default=None),
        start_ps=start_ps,
        elapsed_ps=end_ps - start_ps,
        session=row.text("info.conversation_id", default=None),
        input_tokens=row.whole("prompt_tokens", 1, default=None if failed else ABSENT),
        output_tokens=output,
        reasoning_tokens=0,
        failed=failed,
        kind=kind,
    )
