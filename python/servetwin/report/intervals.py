"""Intervals as text: in the table, and below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import floor, log10
from typing import Any

from ..result.intervals import Interval, Shares
from ..result.replications import Replications
from ..result.result import Result

LOPSIDED = 1.25
"""Sides that differ by more than this factor are written apart."""

DIGITS = 3
"""Of a side of an interval: more are not known."""

METHODS = {
    "generator": "generated anew from other seeds",
    "blocks": "the trace's families of requests drawn in blocks of {block_s:,.3g} s",
    "families": "the trace's families of requests drawn one by one",
}
"""How other workloads like the given one are drawn."""


def sides(value: float, interval: Interval, scale: float = 1) -> str:
    """`±0.4`, or `−0.2 +1.1` where one side is longer; two signs alike where the value lies outside."""
    below, above = (value - interval.low) * scale, (interval.high - value) * scale
    if min(below, above) > 0 and max(below, above) <= LOPSIDED * min(below, above):
        return f"±{_short((below + above) / 2)}"
    if below == above == 0:
        return "±0"
    return f"{_signed(-below)} {_signed(above)}"


def share_texts(shares: Shares | None) -> tuple[str, str]:
    """That of the pass times' error, how well it is known, and that of the workload."""
    if shares is None:
        return "–", "–"
    known = f" ±{shares.error:.0%}" if shares.error >= 0.005 else ""
    return f"{shares.timing:.0%}{known}", f"{shares.workload:.0%}"


def interval_lines(result: Result, shown: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """What the intervals are of, and what they leave out. `shown`: the metrics that the table has."""
    replications = result.replications
    if replications is None:
        return
    intervals = replications.intervals
    yield "intervals", f"{_method(replications)}; shares are of the variance of avg", ""
    yield from _timing(replications)
    if replications.stalled:
        yield "", f"{len(replications.stalled)} of {replications.count} replications stalled", "bold red"
    if "slo.met" in intervals:
        met = intervals["slo.met"].mean * replications.count
        style = "green" if round(met) == replications.count else "yellow"
        yield "", f"the service level is met in {met:.0f} of {replications.count} replications", style
    outside = [
        name
        for name in shown
        if name in intervals and not intervals[name].low <= result.summary[name] <= intervals[name].high
    ]
    if outside:
        text = ", ".join(f"{name} (median of replications {intervals[name].median:,.4g})" for name in outside)
        yield "", f"outside their intervals, so not what such workloads usually give: {text}", "yellow"


def _method(replications: Replications) -> str:
    workload = METHODS[replications.workload["method"]].format(**replications.workload)
    return f"{replications.confidence:.4g} of what {replications.count} replications give; workload: {workload}"


def _timing(replications: Replications) -> Iterator[tuple[str, str, str]]:
    several = len(replications.timing) > 1
    for role, known in replications.timing.items():
        text, style = _pool_timing(known)
        yield "", f"pass times{f' of {role}' if several else ''}: {text}", style


def _pool_timing(known: Mapping[str, Any]) -> tuple[str, str]:
    if known.get("exact") == "given":
        return "given, taken as exact", ""
    if "exact" in known:
        return "their error is not known, so it is not in the intervals", "yellow"
    return (f"off by a median of {known['spread']:.1%}" if known["spread"] else "each term by its own error"), ""


def _short(value: float) -> str:
    size = abs(value)
    decimals = max(DIGITS - 1 - floor(log10(size)), 0) if size > 0 else 0
    return f"{size:,.{min(decimals, 6)}f}"


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{_short(value)}"
