"""Where nothing meets the service level: what comes nearest, and what would meet it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ..errors import SpecError
from ..simulation import simulate
from ..spec import vary
from . import screen
from .capacity import climb
from .highest import climb_all
from .load import STEPS_PER_DOUBLING, meets, shortcoming
from .runs import WHOLE, Run
from .study import Point, Study

if TYPE_CHECKING:
    from .._core import Trace

STEP = STEPS_PER_DOUBLING // 4
"""Rungs between the loads that are tried: 19 %."""

MOST_TIMES = 16
"""Times as many replicas are tried at most."""


@dataclass(frozen=True)
class Remedy:
    """What would meet the level with the deployment that comes nearest, each found by simulating it.

    Attributes:
        times_over: how many times over its limits it is now.
        load: the highest load, as a multiple of the workload, at which it meets them; None if none does.
        replicas, gpus: the fewest with which it meets them, otherwise as it is; None if `MOST_TIMES` as many do not, or
            prefill and decode are apart.
    """

    times_over: float
    load: float | None
    replicas: int | None
    gpus: int | None


def nearest(study: Study, points: Sequence[Point]) -> list[Point]:
    """Those that were decided on, the one that misses the level least first; one at least, if anything was run."""
    if not points and study.outcomes:
        part = min(study.outcomes, key=lambda run: (screen.excess(study.outcomes[run], study.attainment), run))
        points = study.points([Run(part.candidate, part.load)])
    return sorted(points, key=lambda point: (screen.excess(point, study.attainment), point.run))


def remedy(study: Study, point: Point, trace: Trace) -> Remedy:
    """Of a level that is to be met under the workload as it is. Kept in the ledger."""
    known = study.ledger.facts().get("remedy")
    if known is None:
        found = Remedy(screen.excess(point, study.attainment), _load(study, point), *_replicas(study, point, trace))
        known = asdict(found)
        study.ledger.set_facts({"remedy": known})
    return Remedy(**known)


def _load(study: Study, point: Point) -> float | None:
    number = point.candidate.number
    rung = climb_all(study, {number: climb(-STEP, STEP)}, WHOLE, meets)[number]
    return None if rung is None else study.axis.of_now(study.axis.load(rung))


def _replicas(study: Study, point: Point, trace: Trace) -> tuple[int | None, int | None]:
    """The fewest by doubling and bisection."""
    candidate = point.candidate
    if candidate.spec.pools is not None:
        return None, None

    def enough(replicas: int) -> bool:
        result = simulate(vary(candidate.spec, {"replicas": replicas}), trace)
        return shortcoming(result.summary, stalled=result.status == "stalled") is None

    too_few = candidate.spec.replicas
    most = MOST_TIMES * too_few
    try:
        found = 2 * too_few
        while not enough(found):
            too_few, found = found, 2 * found
            if found > most:
                return None, None
        while found - too_few > 1:
            middle = (found + too_few) // 2
            if enough(middle):
                found = middle
            else:
                too_few = middle
    except SpecError:
        return None, None  # more than the cluster has
    return found, found * candidate.spec.parallel.gpus
