"""Whether the predictions choose the deployment that the measurements would choose.

Of one checkpoint, GPU and lengths the sample has several deployments (engines, numbers and kinds of ranks), each at
several numbers of users. At a service level, a limit on TPOT, each has a throughput per GPU: the most it reaches
within the limit, between its measured loads interpolated. The *regret* of a choice is the share of the best measured
throughput that the chosen deployment falls short of, at the same level. Levels are those that at least two deployments
were measured on both sides of, so that no choice is judged where it was not measured.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .compare import Compared
from .peer import Prediction
from .rows import Deployment
from .spec import checkpoint

LEVELS = 5
"""Of each group: limits on TPOT, evenly between the lowest and the highest that can be judged, in their logarithms."""

Point = tuple[float, float]
"""TPOT in milliseconds, and output tokens per second and GPU."""
Curves = Mapping[tuple[object, ...], Sequence[Point]]
"""By deployment, whatever its load; by TPOT, ascending."""


@dataclass(frozen=True)
class Choice:
    """At one level of one group; throughputs as measured, in tokens per second and GPU."""

    checkpoint: str
    gpu: str
    lengths: tuple[int, int]
    tpot_ms: float
    deployments: int
    best: float
    chosen: float
    mean: float
    """Of a deployment taken by chance."""

    @property
    def regret(self) -> float:
        return 1 - self.chosen / self.best

    @property
    def chance(self) -> float:
        """The regret to be expected of a deployment taken by chance."""
        return 1 - self.mean / self.best


def choices(compared: Sequence[Compared], predicted: Callable[[Compared], Prediction | None]) -> list[Choice]:
    """Of every group and level; rows without a prediction are left out."""
    groups: dict[tuple[str, str, int, int], list[tuple[Compared, Prediction]]] = defaultdict(list)
    for one in compared:
        found, of = predicted(one), one.measured.deployment
        if found is not None:
            groups[checkpoint(of), of.gpu, of.input_tokens, of.output_tokens].append((one, found))
    made = []
    for (name, gpu, inputs, outputs), rows in groups.items():
        measured = _curves([(one.measured.deployment, _times(one)) for one, _ in rows])
        believed = _curves([(one.measured.deployment, found) for one, found in rows])
        for level in _levels(measured):
            at = {of: reached for of, curve in measured.items() if (reached := _within(curve, level)) is not None}
            chosen = max(at, key=lambda of: (_within(believed[of], level, beyond=True) or 0.0, -believed[of][0][0]))
            best, mean = max(at.values()), statistics.mean(at.values())
            made.append(Choice(name, gpu, (inputs, outputs), level, len(at), best, at[chosen], mean))
    return made


def _times(one: Compared) -> Prediction:
    return Prediction(one.measured.ttft_ms, one.measured.tpot_ms)


def _curves(rows: Sequence[tuple[Deployment, Prediction]]) -> Curves:
    curves: dict[tuple[object, ...], list[Point]] = defaultdict(list)
    for of, times in rows:
        curves[of.engine, of.tensor, of.data, of.expert].append((times.tpot_ms, _throughput(of, times)))
    return {of: sorted(points) for of, points in curves.items()}


def _throughput(of: Deployment, times: Prediction) -> float:
    """Of a closed loop, by Little's law."""
    request_s = (times.ttft_ms + times.tpot_ms * (of.output_tokens - 1)) / 1e3
    return of.concurrency * of.output_tokens / request_s / (of.tensor * of.data)


def _levels(measured: Curves) -> list[float]:
    """Where at least two deployments were measured below and above."""
    spans = [(points[0][0], points[-1][0]) for points in measured.values() if len(points) > 1]
    if len(spans) < 2:
        return []
    low, high = sorted(low for low, _ in spans)[1], sorted(high for _, high in spans)[-2]
    steps = [low * (high / low) ** ((step + 0.5) / LEVELS) for step in range(LEVELS)] if low < high else []
    return [level for level in steps if sum(first <= level <= last for first, last in spans) > 1]


def _within(points: Sequence[Point], limit: float, *, beyond: bool = False) -> float | None:
    """The most throughput at a TPOT of at most `limit`; None outside of what was measured, `beyond` whose last point
    the last one holds."""
    if limit < points[0][0] or (limit > points[-1][0] and not beyond) or len(points) < 2:
        return None
    reached = 0.0
    for low, high in zip(points, [*points[1:], None], strict=True):
        if low[0] > limit:
            break
        reached = max(reached, low[1])
        if high is not None and high[0] > limit:
            share = math.log(limit / low[0]) / math.log(high[0] / low[0])
            reached = max(reached, low[1] * (high[1] / low[1]) ** share)
    return reached
