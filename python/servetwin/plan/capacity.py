"""How much a deployment can take: the highest load that meets the service level."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

from .load import STEPS_PER_DOUBLING

REACH = 8 * STEPS_PER_DOUBLING
"""Rungs that are looked at in each direction: a 256th to 256 times the workload."""

Climb = Generator[int, bool, int | None]
"""Asks for rungs, is told whether each meets the level, and returns the highest that does."""


@dataclass(frozen=True)
class Capacity:
    """`rung` is the highest that meets the level, None if none within reach does; `above` says what the next one
    misses, None if the end of the reach is not the limit."""

    rung: int | None
    above: str | None


def capacity(measure: Callable[[int], str | None], start: int = 0) -> Capacity:
    """The highest rung whose run meets the service level and keeps up, by doubling and bisection.

    `measure` says what a run at a rung misses. Runs are looked at where the answer may lie only: a load that meets
    the level above one that does not is not found.
    """
    misses: dict[int, str | None] = {}
    search = climb(start)
    try:
        rung = next(search)
        while True:
            misses[rung] = measure(rung)
            rung = search.send(misses[rung] is None)
    except StopIteration as end:
        if end.value is None:
            return Capacity(None, misses[min(misses)])
        above = [rung for rung, missed in misses.items() if missed is not None]
        return Capacity(end.value, misses[min(above)] if above else None)


def climb(start: int = 0, step: int = 1) -> Climb:
    """Finds the highest rung that meets, `step` rungs or less below one that does not; of those `step` apart from
    `start`."""
    met = yield start
    rung, stride = start, STEPS_PER_DOUBLING if met else -STEPS_PER_DOUBLING
    while True:
        following = _within(rung + stride, start, step)
        if following == rung:
            return rung if met else None
        if (yield following) != met:
            break
        rung, stride = following, 2 * stride
    good, bad = (rung, following) if met else (following, rung)
    while bad - good > step:
        middle = good + (bad - good) // (2 * step) * step
        if (yield middle):
            good = middle
        else:
            bad = middle
    return good


def _within(rung: int, start: int, step: int) -> int:
    """The rung, or the last within reach; a multiple of `step` from `start`."""
    rung = max(min(rung, REACH), -REACH)
    return start + int((rung - start) / step) * step


def knee(points: Iterable[tuple[float, float, float]]) -> float | None:
    """Of (load, throughput, latency), the load with the most throughput for its latency.

    Kleinrock's power, throughput over mean latency ("Power and deterministic rules of thumb for probabilistic problems
    in computer communications", ICC 1979): beyond its maximum latency grows faster than what is done.
    """
    powers = [(throughput / latency, load) for load, throughput, latency in points if latency > 0]
    return max(powers)[1] if powers else None
