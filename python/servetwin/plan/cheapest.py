"""The cheapest deployment that meets the service level under the workload as it is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from . import screen
from .runs import Run
from .space import Candidate
from .study import Point, Study


def price(candidate: Candidate) -> float:
    """Dollars an hour; GPUs where no price is known."""
    return float(candidate.gpus) if candidate.cost_per_hour is None else candidate.cost_per_hour


def cheapest(study: Study, candidates: Sequence[Candidate], shares: Sequence[float]) -> list[Point]:
    """Points at the least price at which any meets the level, the best first; all that were looked at if none does.

    Prices are known beforehand, so they are gone through upwards, and the first that holds one that meets the level
    proves that all above it cannot be chosen.
    """
    looked_at: list[Point] = []
    now = study.axis.load(0)
    ordered = sorted(candidates, key=lambda candidate: (price(candidate), candidate.gpus, candidate.number))
    groups = [list(group) for _, group in groupby(ordered, key=price)]
    for index, group in enumerate(groups):
        left = screened(study, group, shares, now)
        points = study.points(Run(candidate.number, now) for candidate in left)
        looked_at += points
        good = [point for point in points if point.misses is None]
        if good:
            proof = f"costs more than {price(group[0]):g}, for which one meets the level"
            study.prune((costlier for later in groups[index + 1 :] for costlier in later), proof)
            return sorted(good, key=preference) + [point for point in looked_at if point.misses is not None]
    return sorted(looked_at, key=lambda point: screen.excess(point, study.attainment))


def preference(point: Point) -> tuple[float, float, int]:
    """At the same price: fewer requests that miss their limits, then the faster first token, then the earlier."""
    summary = point.summary
    return (-summary.get("slo.attainment", 1.0), summary.get("ttft_ms.p95", 0.0), point.candidate.number)


def screened(study: Study, group: Sequence[Candidate], shares: Sequence[float], load: float) -> list[Candidate]:
    """Those that are not far from the level on short stretches of the workload."""
    left = list(group)
    for share in shares:
        outcomes = study.ask(Run(candidate.number, load, share) for candidate in left)
        far = {
            run.candidate: excess
            for run, outcome in outcomes.items()
            if (excess := screen.excess(outcome, study.attainment)) > screen.FAR
        }
        for candidate in left:
            if candidate.number in far:
                study.screen([candidate], f"{far[candidate.number]:.1f} × over its limits, {screen.on(share)}")
        left = [candidate for candidate in left if candidate.number not in far]
    return left
