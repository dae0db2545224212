"""The frontier: deployments under loads that no other beats in throughput a GPU and in speed for a user at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import screen
from .capacity import REACH, climb
from .highest import climb_all
from .load import STEPS_PER_DOUBLING, keeps_up, shortcoming
from .runs import WHOLE, Run
from .space import Candidate
from .study import Point, Study

STEP = STEPS_PER_DOUBLING // 2
"""Rungs between the loads of the frontier: a factor of 1.41."""

FASTER = 1.02
"""Where half the load brings no more than this in speed, still less will bring nothing."""

Rungs = dict[int, list[int]]
"""By candidate, the rungs of the load that may be on the frontier."""


def frontier(study: Study, candidates: Sequence[Candidate], shares: Sequence[float]) -> list[Point]:
    """Points that meet the service level and that no other beats in both figures, the fastest for a user first."""
    tops: Mapping[int, int] = {candidate.number: 0 for candidate in candidates}
    for index, share in enumerate(shares):
        tops = _tops(study, tops, share) if index == 0 else tops
        rungs = _downwards(study, tops, share) if index == 0 else rungs
        rungs = _near(study, rungs, share)
        tops = {number: max(kept) for number, kept in rungs.items()}
    tops = _tops(study, tops, WHOLE)
    if not shares:
        rungs = _downwards(study, tops, WHOLE)
    runs = [
        Run(number, study.axis.load(rung))
        for number, top in tops.items()
        for rung in sorted({top, *(rung for rung in rungs[number] if rung < top)})
    ]
    return best([point for point in study.points(runs) if point.misses is None])


def best(points: Sequence[Point]) -> list[Point]:
    """Those that no other beats in both figures. Of equal ones the first candidate stands for all."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (-point.speed, -point.throughput, point.candidate.number)):
        if not found or point.throughput > found[-1].throughput:
            found.append(point)
    return found


def _tops(study: Study, starts: Mapping[int, int], share: float) -> dict[int, int]:
    """The highest load that each can take, of those `STEP` apart; those that can take none are left out."""
    climbs = {number: climb(start, STEP) for number, start in starts.items()}
    found = climb_all(study, climbs, share, lambda summary: _meets(study, summary, share))
    for number, rung in found.items():
        if rung is None:
            study.screen([study.candidate(number)], f"meets the level at no load, {screen.on(share)}")
    return {number: rung for number, rung in found.items() if rung is not None}


def _meets(study: Study, summary: Mapping[str, Any], share: float) -> bool:
    if share == WHOLE:
        return shortcoming(summary) is None
    return keeps_up(summary) and screen.excess(summary, study.attainment) <= 1


def _downwards(study: Study, tops: Mapping[int, int], share: float) -> Rungs:
    """From the highest load of each down to where users get hardly faster any more."""
    rungs = {number: [top] for number, top in tops.items()}
    going = dict(tops)
    speeds: dict[int, float] = {}
    while going:
        runs = {number: Run(number, study.axis.load(rung), share) for number, rung in going.items()}
        outcomes = study.ask(runs.values())
        following = {}
        for number, rung in going.items():
            speed = study.point(runs[number], outcomes[runs[number]].summary).speed
            rungs[number].append(rung)
            if speed > speeds.get(number, 0.0) * FASTER and rung - STEP >= -REACH:
                following[number] = rung - STEP
            speeds[number] = speed
        going = following
    return {number: sorted(set(found)) for number, found in rungs.items()}


def _near(study: Study, rungs: Rungs, share: float) -> Rungs:
    """Without the points that another beats by far in both figures on this share of the workload."""
    runs = [Run(number, study.axis.load(rung), share) for number, found in rungs.items() for rung in found]
    points = {run: study.point(run, outcome.summary) for run, outcome in study.ask(runs).items()}
    ahead = best(list(points.values()))
    more = 1 + screen.LESS[share]

    def beaten(point: Point) -> bool:
        return any(other.speed > point.speed * more and other.throughput > point.throughput * more for other in ahead)

    kept: Rungs = {}
    for number, found in rungs.items():
        near = [rung for rung in found if not beaten(points[Run(number, study.axis.load(rung), share)])]
        if near:
            kept[number] = near
        else:
            reason = f"others do {screen.LESS[share]:.0%} more in both figures at every load, {screen.on(share)}"
            study.screen([study.candidate(number)], reason)
    return kept
