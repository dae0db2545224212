"""AIPerf's `profile_export.jsonl`. Every metric names its unit, which is read."""

from __future__ import annotations

from ...workload.formats.aiperf import request
from ...workload.jsonrows import Row, json_lines
from ...workload.source import Source
from ..measured import Measurement, Request, usable

UNITS = {"ns": 3, "us": 6, "ms": 9, "s": 12, "sec": 12}
"""Powers of ten, of picoseconds."""

TTFT = "metrics.time_to_first_token"


def read_aiperf(source: Source) -> list[Measurement]:
    """Raises InputError: a time without a unit that is known, no streamed answers, requests that failed by the
    dozen."""
    rows = [row for row in json_lines(source) if row.get("metadata.benchmark_phase") != "warmup"]
    return [usable(source, "aiperf", [_request(row) for row in rows])]


def _request(row: Row) -> Request | str:
    known = request(row)
    if known.failed:
        return "they failed"
    assert known.input_tokens is not None
    return Request(
        at=f"line {row.line}",
        sent_ps=known.start_ps,
        input_tokens=known.input_tokens,
        output_tokens=known.output_tokens,
        ttft_ps=_time(row, TTFT),
        latency_ps=known.elapsed_ps,
    )


def _time(row: Row, path: str) -> int:
    unit = row.get(f"{path}.unit")
    if row.get(path) is None:
        raise row.fail(path, "missing", wanted="it, from a run with streamed answers (aiperf --streaming)")
    if unit not in UNITS:
        raise row.fail(f"{path}.unit", "no unit that is known", str(unit), ", ".join(UNITS))
    time: int = row.units(f"{path}.value", UNITS[unit])
    return time
