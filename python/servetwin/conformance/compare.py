"""A replay against a recording, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .recording import Recording
from .subject import Record, Rendered

TOLERANCE_MS = 2e-6
"""Recorded times are sums of binary floats, and both sides are rounded to 6 decimals."""

TIMES = frozenset({"t", "dt", "ts", "arrival", "first_sched", "ttft", "finish", "end", "out_times"})
UNCOMPARED = frozenset({"wall_s"})
"""How long the recorder itself took."""
ABSENT = "absent"


@dataclass(frozen=True)
class Difference:
    """A field in which a replay departs from its recording."""

    scenario: str
    place: str
    """Which step or request, or the totals."""
    field: str
    recorded: object
    ours: object
    step: int | None = None
    """The step's index, if it is a step's field."""
    context: tuple[str, ...] = ()
    """The records around it, in full."""

    def __str__(self) -> str:
        head = f"{self.scenario}: {self.place}: {self.field}"
        both = (f"recorded {self.recorded}", f"ours     {self.ours}")
        return "\n  ".join([head, *both, *self.context])


@dataclass(frozen=True)
class Comparison:
    steps: int
    """Compared on both sides."""
    differences: int
    first: Difference | None


def compare(recording: Recording[Any], replay: Rendered) -> Comparison:
    """Compares every step, every request and the totals."""
    differences = [
        *step_differences(recording, replay),
        *request_differences(recording, replay.requests),
        *total_differences(recording, replay.totals),
    ]
    compared = min(len(recording.steps), len(replay.steps))
    return Comparison(compared, len(differences), differences[0] if differences else None)


def step_differences(recording: Recording[Any], replay: Rendered) -> Iterator[Difference]:
    name, steps = recording.scenario.name, replay.steps
    context: tuple[str, ...] | None = None
    for index in range(max(len(recording.steps), len(steps))):
        for field, recorded, ours in differing(recording.steps, steps, index, "step"):
            if field in replay.unordered and ABSENT not in (recorded, ours) and same_members(recorded, ours):
                continue
            if context is None:
                context = neighbours(recording.steps, steps, index)
            yield Difference(name, f"step {index}", field, recorded, ours, index, context)


def request_differences(recording: Recording[Any], requests: Sequence[Record]) -> Iterator[Difference]:
    times_recorded = all("out_times" in request for request in recording.requests)
    if not times_recorded:
        requests = [drop(request, "out_times") for request in requests]
    for index in range(max(len(recording.requests), len(requests))):
        for field, recorded, ours in differing(recording.requests, requests, index, "request"):
            place = f"request {(at(requests, index) or at(recording.requests, index) or {}).get('id')}"
            yield Difference(recording.scenario.name, place, field, recorded, ours)


def total_differences(recording: Recording[Any], totals: Record) -> Iterator[Difference]:
    for field, recorded, ours in differing([recording.totals], [totals], 0, "totals"):
        yield Difference(recording.scenario.name, "totals", field, recorded, ours)


def differing(
    recorded: Sequence[Record], ours: Sequence[Record], index: int, what: str
) -> Iterator[tuple[str, object, object]]:
    """The fields in which two records differ; the record itself if one side has none."""
    theirs, mine = at(recorded, index), at(ours, index)
    if theirs is None or mine is None:
        yield what, theirs or ABSENT, mine or ABSENT
        return
    for field in (*mine, *(key for key in theirs if key not in mine)):
        both = theirs.get(field, ABSENT), mine.get(field, ABSENT)
        if field not in UNCOMPARED and not equal(*both, is_time=field in TIMES):
            yield field, *both


def equal(recorded: Any, ours: Any, *, is_time: bool) -> bool:
    if is_time and isinstance(recorded, list) and isinstance(ours, list):
        return len(recorded) == len(ours) and all(
            equal(*both, is_time=True) for both in zip(recorded, ours, strict=True)
        )
    if is_time and isinstance(recorded, int | float) and isinstance(ours, int | float):
        return abs(recorded - ours) <= TOLERANCE_MS
    return bool(recorded == ours)


def same_members(recorded: Any, ours: Any) -> bool:
    return sorted(recorded) == sorted(ours)


def neighbours(recorded: Sequence[Record], ours: Sequence[Record], index: int) -> tuple[str, ...]:
    """The step before, this one and the next, on both sides."""
    return tuple(
        f"step {i} {side} {at(steps, i) or ABSENT}"
        for i in range(max(index - 1, 0), index + 2)
        for side, steps in (("recorded", recorded), ("ours    ", ours))
    )


def at(records: Sequence[Record], index: int) -> Record | None:
    return records[index] if index < len(records) else None


def drop(record: Record, key: str) -> Record:
    return {name: value for name, value in record.items() if name != key}
