"""Intervals beside the silicon sample: whether the spread of composed passes is as large as their errors.

Its rows are closed loops, in which a factor on every pass is a factor on every time: no runs are needed to know the
intervals. They are of times per output token; times to first token depend on a benchmark's protocol, which the sample
does not tell (`accuracy.silicon`), more than on pass times.

The spread beside that of operators, `COMPOSED`, is one number for all. What it would be is found without an
architecture, and judged on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ...describe import resolve
from ...errors import SpecError
from ...replication import processors
from ...result.intervals import quantile
from ...spec import make_spec
from ...timing.curves_model import COMPOSED
from ...timing.draws import MEDIAN_OF_NORMAL
from ..silicon.compare import MOST_ARITHMETIC, arithmetic_share
from ..silicon.ours import predict
from ..silicon.rows import Measured, read_sample
from ..silicon.spec import PUBLISHED, NotSimulatedError, spec_of
from ..silicon.split import architecture

EVERY = 4
"""Each so many-th deployment is simulated."""

ENDS = 1.6449
"""Of nine tenths of a normal distribution, in its standard deviations."""


@dataclass(frozen=True)
class Row:
    """`error`: the logarithm of measured over simulated, of the mean time per output token. `spread`: the model's."""

    architecture: str
    error: float
    spread: float

    @property
    def operators(self) -> float:
        """The part of the spread that is the operators'."""
        return math.sqrt(max(self.spread**2 - COMPOSED**2, 0.0))

    def held(self, composed: float = COMPOSED) -> bool:
        """Whether the measurement lies in the 90 % interval."""
        return abs(self.error) <= ENDS * math.hypot(self.operators, composed) / MEDIAN_OF_NORMAL


@dataclass(frozen=True)
class Group:
    """An architecture. `composed`: what the others say the spread of putting passes together is; `held_out`: how often
    intervals hold with that."""

    name: str
    rows: int
    held: float
    composed: float
    held_out: float


def groups(folder: Path) -> list[Group]:
    """`folder`: the systems of aiconfigurator-core. By architecture; those that are simulated."""
    found = rows(folder)
    made = []
    for name in sorted({row.architecture for row in found}):
        own, others = ([row for row in found if (row.architecture == name) == same] for same in (True, False))
        composed = composed_spread(others)
        held = sum(row.held() for row in own) / len(own)
        made.append(Group(name, len(own), held, composed, sum(row.held(composed) for row in own) / len(own)))
    return made


def composed_spread(rows: Sequence[Row]) -> float:
    """With which nine tenths of the rows lie in their intervals: each row needs some, and that is their quantile."""
    needed = [math.sqrt(max((row.error / ENDS * MEDIAN_OF_NORMAL) ** 2 - row.operators**2, 0.0)) for row in rows]
    return quantile(needed, 0.9)


def rows(folder: Path) -> list[Row]:
    measured = read_sample(folder).measured[::EVERY]
    with ThreadPoolExecutor(processors()) as pool:
        return [row for row in pool.map(_row, measured) if row is not None]


def _row(one: Measured) -> Row | None:
    """None for what is not simulated, or not what the sample says it is."""
    try:
        if arithmetic_share(one) > MOST_ARITHMETIC:
            return None
        simulated = predict(one.deployment)
        timing = resolve(make_spec(spec_of(one.deployment, PUBLISHED))).first.timing
    except (NotSimulatedError, SpecError):
        return None
    error = math.log(one.tpot_ms / simulated.tpot_ms)
    return Row(architecture(one.deployment), error, timing.spread)
