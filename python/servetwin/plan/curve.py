"""Capacity for people: the highest load, latency on the way there and beyond, and what another replica brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..simulation import simulate
from ..spec import Spec, vary
from .axis import LoadAxis
from .capacity import Capacity, capacity, knee
from .load import shortcoming

if TYPE_CHECKING:
    from .._core import Trace

AROUND = (-48, -32, -16, -8, -4, -2, 0, 2, 4, 8, 16)
"""Rungs of the curve, from the capacity: an eighth of it to twice as much, closer where latency bends."""


@dataclass(frozen=True)
class Level:
    """A load, and how it is served."""

    load: float
    summary: Mapping[str, Any]
    stalled: bool

    @property
    def misses(self) -> str | None:
        return shortcoming(self.summary, stalled=self.stalled)


@dataclass(frozen=True)
class Curve:
    """Attributes:
    axis: what a load is.
    limit: the highest load that meets the service level; None if none does.
    above: what the next load misses.
    nearest: if no load meets the level, the lowest that was tried.
    levels: by load, around the limit.
    knee: the load with the most throughput for its latency.
    replicas: the limit of other numbers of replicas, None where they meet the level at no load.
    """

    axis: LoadAxis
    limit: float | None
    above: str | None
    nearest: Level | None
    levels: list[Level]
    knee: float | None
    replicas: dict[int, float | None]

    @property
    def headroom(self) -> float | None:
        """The limit as a multiple of the workload as it is."""
        return None if self.limit is None else self.axis.of_now(self.limit)


class Measured:
    """Runs of one deployment at rungs of the load, each carried out once."""

    def __init__(self, spec: Spec, axis: LoadAxis) -> None:
        self._spec = spec
        self._axis = axis
        self._known: dict[float, Level] = {}

    def __call__(self, rung: int) -> str | None:
        """What the run misses; None if it meets the level."""
        load = self._axis.load(rung)
        if load not in self._known:
            spec, trace = self._axis.at(self._spec, load)
            result = simulate(spec, trace)
            self._known[load] = Level(load, result.summary, result.status == "stalled")
        return self._known[load].misses

    def levels(self) -> list[Level]:
        return [self._known[load] for load in sorted(self._known)]


def curve(spec: Spec, trace: Trace, *, replicas: Sequence[int] = (), workers: int = 1) -> Curve:
    """Where a deployment's limit is. Without a service level, where it no longer keeps up.

    `replicas`: other numbers of them, whose limits are found as well. Raises SpecError as `simulate` does.
    """
    axis = LoadAxis.of(spec, trace)
    measured = Measured(spec, axis)
    with ThreadPoolExecutor(workers) as pool:
        others = {count: pool.submit(_limit, vary(spec, {"replicas": count}), axis) for count in replicas}
        found = capacity(measured)
        if found.rung is not None:
            list(pool.map(measured, [found.rung + around for around in AROUND]))
        limits = {count: future.result() for count, future in others.items()}
    levels = measured.levels()
    return Curve(
        axis=axis,
        limit=_load(axis, found),
        above=found.above,
        nearest=levels[0] if found.rung is None else None,
        levels=levels,
        knee=knee(
            (level.load, level.summary["output_tokens_per_s"], level.summary["e2e_ms.mean"])
            for level in levels
            if "e2e_ms.mean" in level.summary and "output_tokens_per_s" in level.summary
        ),
        replicas=limits,
    )


def _limit(spec: Spec, axis: LoadAxis) -> float | None:
    return _load(axis, capacity(Measured(spec, axis)))


def _load(axis: LoadAxis, found: Capacity) -> float | None:
    return None if found.rung is None else axis.load(found.rung)
