"""Step-time models as they may really be: drawn from what is known of their errors."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any, Protocol, runtime_checkable

from .base import FRACTION_BITS, Evidence, Lowered, PassLimits, TimingModel

MEDIAN_OF_NORMAL = NormalDist().inv_cdf(0.75)
"""Half of all errors of a standard normal distribution are smaller: 0.6745."""

TIME = "time"
"""The draw that scales a model as a whole."""


BITS = 48
"""Of a number drawn."""


@dataclass
class ErrorDraw:
    """Standard normal numbers by name: the same for every model that is asked under a seed and a replication.

    So specs that are compared meet the same errors: common random numbers. Over replications the numbers of a name are
    spread evenly, 20 of them better than chance would: van der Corput's sequence, its digits scrambled at random
    (Owen, Randomly permuted (t,m,s)-nets, 1995). Each is standard normal by itself; more replications keep the first.

    Attributes:
        replication: from 0.
        normals: what was drawn so far.
    """

    seed: int
    replication: int
    normals: dict[str, float] = field(default_factory=dict)

    def normal(self, name: str) -> float:
        """The number of this name, whenever it is asked for."""
        if name not in self.normals:
            self.normals[name] = NormalDist().inv_cdf((self._scrambled(name) + 0.5) / 2**BITS)
        return self.normals[name]

    def _scrambled(self, name: str) -> int:
        """The binary digits of the replication, backwards, each flipped or not by chance and those before it."""
        number = 0
        for place in range(BITS):
            flip = hashlib.sha256(f"{self.seed}/{name}/{place}/{number}".encode()).digest()[0] & 1
            number = number << 1 | (self.replication >> place & 1) ^ flip
        return number


@runtime_checkable
class Uncertain(Protocol):
    """A model that knows the errors of its terms, and draws them itself."""

    def drawn(self, draw: ErrorDraw) -> TimingModel: ...


def drawn(model: TimingModel, draw: ErrorDraw) -> TimingModel:
    """The model with an error drawn from what is known of it; itself where nothing is.

    Without terms of its own: all of a pass is off by one log-normal factor. `spread` is its median absolute error, so
    the logarithm's standard deviation is `spread / 0.6745`.
    """
    if isinstance(model, Uncertain):
        return model.drawn(draw)
    if not model.spread:
        return model
    return Scaled(model, math.exp(model.spread / MEDIAN_OF_NORMAL * draw.normal(TIME)))


@dataclass(frozen=True)
class Scaled:
    """A model, each of whose passes takes `factor` times as long."""

    model: TimingModel
    factor: float

    @property
    def evidence(self) -> Evidence:
        return self.model.evidence

    @property
    def assumptions(self) -> dict[str, float | str]:
        return self.model.assumptions | {"drawn_factor": self.factor}

    @property
    def spread(self) -> float:
        return self.model.spread

    def lower(self, limits: PassLimits) -> Lowered:
        return scaled(self.model.lower(limits), self.factor, limits)


def scaled(lowered: Lowered, factor: float, limits: PassLimits) -> Lowered:
    """Each time `factor` times as long, to the nearest whole unit; `factor` counts in 2⁻²⁰. 1 changes nothing."""
    parts = round(factor * (1 << FRACTION_BITS))
    if parts == 1 << FRACTION_BITS:
        return lowered
    # Half a unit a coefficient, for each of what they count, in the host's part and in a term.
    units = 2 * (1 + limits.tokens + 2 * limits.rows + limits.context)
    return replace(
        lowered,
        description=_times(lowered.description, parts),
        error_ps=_nearest(lowered.error_ps, parts) + units,
        greatest_ps=_nearest(lowered.greatest_ps, parts) + units,
    )


def lengthened(value: Any, factor: float) -> Any:
    """A part of a lowered description, its times `factor` times as long, to the nearest whole unit."""
    parts = round(factor * (1 << FRACTION_BITS))
    return value if parts == 1 << FRACTION_BITS else _times(value, parts)


def _times(value: Any, parts: int, is_time: bool = False) -> Any:
    """Names say which numbers are times: they end in their unit."""
    if isinstance(value, dict):
        times = {name for name in value if name == "ps" or name.endswith(("_ps", "_fps"))}
        return {name: _times(inner, parts, name in times) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_times(inner, parts, is_time) for inner in value]
    return _nearest(value, parts) if is_time else value


def _nearest(value: int, parts: int) -> int:
    return (2 * value * parts + (1 << FRACTION_BITS)) >> FRACTION_BITS + 1
