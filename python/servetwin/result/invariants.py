"""What must hold of every result, by number. Tests check each run; so may anyone, of a result from disk.

1. Each request has one row, and ends once: completed or rejected, with a time; if neither, it is unfinished, without.
2. Times never go back: arrival ≤ routed ≤ scheduled ≤ first token ≤ last token ≤ end.
3. Tokens are conserved: output tokens just if there is a time of the first; none is cached beyond the prompt;
   a rejected request was never scheduled, unless pools gave it up later.
4. A rejected request says why; a completed one has no reason.
5. The counts of the summary, with no warm-up and no window, are those of the table.
6. The times of each replica's series increase.
7. What preemptions took of a request's outputs is no more than its outputs took, and nothing without one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ..errors import InvariantError
from .result import Result

GIVEN_UP = ("its hand-over took too long", "no room for its next token, even alone")
"""Reasons to reject a request that may have been scheduled."""

_ORDER = ("arrival_ps", "routed_ps", "scheduled_ps", "first_token_ps", "last_token_ps", "end_ps")


def check_invariants(result: Result) -> None:
    """Raises InvariantError, with the invariant's number and the first request that breaks it."""
    rows = result.requests.to_pylist()
    for index, row in enumerate(rows):
        _check_row(index, row)
    _check_counts(result, rows)
    _check_series(result)


def _check_row(index: int, row: dict[str, Any]) -> None:
    status = row["status"]
    _hold(1, (status == "unfinished") == (row["end_ps"] is None), index, "an end unless it is unfinished")
    known = [(name, row[name]) for name in _ORDER if row[name] is not None]
    for (before, earlier), (after, later) in pairwise(known):
        _hold(2, earlier <= later, index, f"{before} {earlier} ≤ {after} {later}")
    _hold(3, (row["output_tokens"] > 0) == (row["first_token_ps"] is not None), index, "tokens have times")
    _hold(3, row["cached_tokens"] <= row["input_tokens"], index, "cached tokens are of the prompt")
    lost_ps = row.get("preempted_ps", 0)
    if lost_ps:
        _hold(7, row["preemptions"] > 0, index, "time lost to a preemption that there was")
    if lost_ps and row["last_token_ps"] is not None:
        _hold(7, lost_ps <= row["last_token_ps"] - row["first_token_ps"], index, "time lost among its outputs")
    if status == "completed":
        _hold(4, row["reason"] == "", index, "no reason where it completed")
    if status == "rejected":
        never = row["scheduled_ps"] is None or row["reason"] in GIVEN_UP
        _hold(3, never, index, "rejected before it was scheduled")
        _hold(4, row["reason"] != "", index, "a reason where it was rejected")


def _check_counts(result: Result, rows: list[dict[str, Any]]) -> None:
    metrics = result.provenance["spec"].get("metrics", {})
    if metrics.get("warmup") or metrics.get("window") is not None:
        return
    for status in ("completed", "rejected", "unfinished"):
        counted = sum(row["status"] == status for row in rows)
        _hold(5, result.summary.get(status, 0) == counted, None, f"summary[{status!r}] is {counted}")


def _check_series(result: Result) -> None:
    last: dict[int, int] = {}
    for row in result.series.select(["replica", "time_ps"]).to_pylist():
        _hold(6, last.get(row["replica"], -1) < row["time_ps"], None, f"times of replica {row['replica']} increase")
        last[row["replica"]] = row["time_ps"]


def _hold(number: int, true: bool, index: int | None, what: str) -> None:
    if not true:
        where = "" if index is None else f" by request {index}"
        raise InvariantError(f"invariant {number} is broken{where}: {what}")
