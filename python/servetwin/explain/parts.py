"""Where a request's time goes, at percentiles of its latency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..result.result import Result
from ..units import PS_PER_MS

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = ("queue", "prefill", "handover", "transfer", "decode", "preempted")
"""In the order they come; those that never take time are left out.

queue: from arrival to the first pass with a part of its prompt. prefill: to the end of its prompt, or its first token.
handover: messages and waits for room or for the decode batch, between pools. transfer: its KV on its way, as far as
its prompt is computed. decode: from the first token to the last, but for preempted: from the last token before a
preemption to the next one.
"""

PERCENTILES = (50, 90, 95, 99)
BAND = 2.5
"""Percentiles on either side of one whose requests stand for it: one request is an anecdote."""
LEAST = 20
"""Requests in such a band, where there are so many."""


@dataclass(frozen=True)
class Split:
    """The mean time of each part, over the requests around a percentile of `metric`.

    Attributes:
        metric: `ttft_ms` or `e2e_ms`.
        percentile: of it; None for the mean over all.
        total_ms: the mean of the metric over these requests; the parts add up to it.
        parts_ms: by name, in the order of PARTS.
    """

    metric: str
    percentile: int | None
    requests: int
    total_ms: float
    parts_ms: Mapping[str, float]


def splits(result: Result) -> list[Split]:
    """Of TTFT and of the whole latency; over completed requests that count and have a token."""
    rows = _counted(result)
    found = []
    for metric, parts in (("ttft_ms", _first_token(rows)), ("e2e_ms", _whole(rows))):
        ordered = sorted(zip(*parts.values(), strict=True), key=sum)
        names = [name for name, values in parts.items() if any(values)]
        for percentile in (None, *PERCENTILES):
            band = ordered if percentile is None else _around(ordered, percentile)
            if band:
                means = {name: sum(row[i] for row in band) / len(band) for i, name in enumerate(parts)}
                found.append(
                    Split(metric, percentile, len(band), sum(means.values()), {name: means[name] for name in names})
                )
    return found


def _around(ordered: list[tuple[float, ...]], percentile: int) -> list[tuple[float, ...]]:
    middle = percentile / 100 * (len(ordered) - 1)
    reach = max(BAND / 100 * len(ordered), LEAST / 2)
    return ordered[max(round(middle - reach), 0) : round(middle + reach) + 1]


def _counted(result: Result) -> dict[str, list[Any]]:
    """Times in picoseconds, and what else is asked of them."""
    import pyarrow.compute as pc

    table = result.requests
    metrics = result.provenance["spec"].get("metrics", {})
    start = (pc.min(table["arrival_ps"]).as_py() or 0) + round(metrics.get("warmup", 0) * 1000 * PS_PER_MS)
    counts = pc.and_(pc.equal(table["status"].cast("string"), "completed"), pc.greater(table["output_tokens"], 0))
    counts = pc.and_(counts, pc.greater_equal(table["arrival_ps"], start))
    if metrics.get("window") is not None:
        end = start + round(metrics["window"] * 1000 * PS_PER_MS)
        counts = pc.and_(counts, pc.less(table["arrival_ps"], end))
    return _columns(table.filter(counts))


def _columns(table: pa.Table) -> dict[str, list[Any]]:
    wanted = ("arrival_ps", "scheduled_ps", "first_token_ps", "last_token_ps")
    optional = ("prefilled_ps", "transfer_start_ps", "transfer_end_ps", "preempted_ps")
    missing = [None] * len(table)
    columns = {name: table[name].to_pylist() for name in wanted}
    return columns | {name: table[name].to_pylist() if name in table.column_names else missing for name in optional}


def _first_token(rows: dict[str, list[Any]]) -> dict[str, list[float]]:
    """Milliseconds of each part up to the first token."""
    found: dict[str, list[float]] = {name: [] for name in ("queue", "prefill", "handover", "transfer")}
    names = ("arrival_ps", "scheduled_ps", "prefilled_ps", "transfer_start_ps", "transfer_end_ps", "first_token_ps")
    for arrival, scheduled, prefilled, left, came, first in zip(*(rows[name] for name in names), strict=True):
        computed = first if prefilled is None or came is None else prefilled
        moved = 0 if computed is first else max(came - max(left, computed), 0)
        times = (scheduled - arrival, computed - scheduled, first - computed - moved, moved)
        for name, time in zip(found, times, strict=True):
            found[name].append(time / PS_PER_MS)
    return found


def _whole(rows: dict[str, list[Any]]) -> dict[str, list[float]]:
    """The same, and the tokens after the first."""
    lost = [(time or 0) / PS_PER_MS for time in rows["preempted_ps"]]
    firsts, lasts = rows["first_token_ps"], rows["last_token_ps"]
    rest = [(last - first) / PS_PER_MS for first, last in zip(firsts, lasts, strict=True)]
    decode = [time - waited for time, waited in zip(rest, lost, strict=True)]
    return _first_token(rows) | {"decode": decode, "preempted": lost}
