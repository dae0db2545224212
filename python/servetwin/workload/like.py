"""Look-alikes of a trace, and how well they match."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..native import native_errors
from ..units import PS_PER_S, nearest_ps
from .columns import array, followers

if TYPE_CHECKING:
    from .._core import Trace

PARTS = 60
"""Of the time after which rates repeat, in which they are compared."""

PERCENTILES = ("mean", "p50", "p90", "p99")


def like(trace: Trace, *, requests: int | None = None, duration_s: float | None = None, seed: int = 0) -> Trace:
    """Requests like those of a trace: its rates over time, bursts, lengths, reuse and sessions.

    `requests` alone: so many at the trace's own rates, which repeat after its end. `duration_s` alone: as many as
    arrive in it. Both: so many, at rates multiplied so that they take about so long. The notes' `fit` says what was
    fitted. Raises InputError.
    """
    options = {
        "requests": requests,
        "duration_ps": None if duration_s is None else nearest_ps(duration_s, PS_PER_S),
        "seed": seed,
    }
    with native_errors():
        return trace.like(json.dumps(options))


@dataclass(frozen=True)
class Figure:
    """The same figure of both; None where one has none."""

    name: str
    original: float | None
    generated: float | None
    kind: str = "number"
    """Or `share`, `score` (from -1 to 1) or `count`: how it is written and compared."""

    @property
    def difference(self) -> float | None:
        """Of shares and scores, in absolute terms; else relative to the original."""
        if self.original is None or self.generated is None:
            return None
        if self.kind in ("share", "score"):
            return self.generated - self.original
        return self.generated / self.original - 1 if self.original else None


def match(original: Trace, generated: Trace) -> list[Figure]:
    """Figures of both, side by side; the generated one's rates are folded into the time after which they repeat."""
    return list(_figures(original, generated))


def _figures(original: Trace, generated: Trace) -> Iterator[Figure]:
    ours, theirs = generated.profile(), original.profile()
    factor = generated.notes["fit"]["rate_factor"]

    def both(name: str, key: str, kind: str = "number", scale: float = 1.0) -> Figure:
        was = theirs[key]
        return Figure(name, None if was is None else was * scale, ours[key], kind)

    yield both("requests", "requests", "count")
    if theirs["think_time_s"]:
        yield both("sessions", "sessions", "count")
    yield both("sessions/s" if theirs["think_time_s"] else "requests/s", "rate_per_s", scale=factor)
    yield Figure("rate over time, mean deviation", 0.0, _rate_deviation(original, generated), "share")
    yield both("gaps: CV", "gap_cv")
    yield both("at the time of another", "simultaneous", "share")
    for title, key in (("input tokens", "input_tokens"), ("output tokens", "output_tokens")):
        yield from _distribution(title, theirs[key], ours[key])
    yield both("input to output, rank correlation", "input_output_correlation", "score")
    yield both("ideal prefix hit", "ideal_prefix_hit", "share")
    if theirs["ideal_prefix_hit"] or ours["ideal_prefix_hit"]:
        yield both("requests with a hit", "requests_with_hit", "share")
        yield from _distribution("blocks hit", theirs["hit_blocks"], ours["hit_blocks"])
        yield from _distribution("reused after, s", theirs["reuse_s"], ours["reuse_s"])
    if theirs["think_time_s"]:
        yield from _distribution("turns a session", theirs["turns"], ours["turns"])
        yield from _distribution("think time, s", theirs["think_time_s"], ours["think_time_s"])
    counts = dict(ours["classes"])
    for name, count in theirs["classes"]:
        share = counts.get(name, 0) / ours["requests"]
        yield Figure(f"class {name}", count / theirs["requests"], share, "share")


def _distribution(
    title: str, original: dict[str, float] | None, generated: dict[str, float] | None
) -> Iterator[Figure]:
    if original is not None:
        for name in PERCENTILES:
            yield Figure(f"{title}: {name}", original[name], None if generated is None else generated[name])


def _rate_deviation(original: Trace, generated: Trace) -> float | None:
    """How far the rate is from the original's, on average over equal parts of its time; relative to the mean rate."""
    cycle_s = generated.notes["fit"]["cycle_s"]
    if cycle_s is None:
        return None
    was, now = (_shares(trace, int(cycle_s * PS_PER_S)) for trace in (original, generated))
    return sum(abs(a - b) for a, b in zip(was, now, strict=True))


def _shares(trace: Trace, cycle_ps: int) -> list[float]:
    """Of the starts, how many are in each part of the time after which rates repeat."""
    import pyarrow as pa
    import pyarrow.compute as pc

    times = array(trace, "arrival_ps").filter(pc.invert(followers(trace)))
    phase = pc.subtract(times, pc.multiply(pc.divide(times, cycle_ps), cycle_ps))
    part = pc.divide(pc.multiply(pc.divide(phase, 1_000_000), PARTS), max(cycle_ps // 1_000_000, 1))
    counts: list[float] = [0.0] * PARTS
    for entry in pc.value_counts(part.cast(pa.int64())).to_pylist():
        counts[min(entry["values"], PARTS - 1)] += entry["counts"]
    return [count / len(times) for count in counts]


def as_json(original: Trace, generated: Trace) -> dict[str, Any]:
    """For programs: what was fitted, and both profiles."""
    return {"fit": generated.notes["fit"], "original": original.profile(), "generated": generated.profile()}
