"""The frontier: deployments under loads that no other beats in throughput a GPU and in speed for a user at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from . import screen
from .capacity import REACH, climb
from .highest import climb_all
from .load import STEPS_PER_DOUBLING, keeps_up, meets
from .runs import WHOLE, Outcome, Run
from .space import Candidate
from .study import Point, Study

STEP = STEPS_PER_DOUBLING // 2
"""Rungs between the loads of the frontier: a factor of 1.41."""

FASTER = 1.02
"""Where half the load brings no more than this in speed, still less will bring nothing."""

SAME = 1.01
"""Figures closer than this are not told apart: of two such points the first stands for both."""

WORTH = 1.03
"""A point that would better the frontier by less than this, as far as parts of the workload tell, is not run."""

BATCH = 4
"""Deployments that are run on the whole workload before it is asked again which of the rest could still matter."""

Rungs = dict[int, list[int]]
"""By candidate, the rungs of the load that may be on the frontier."""


def frontier(study: Study, candidates: Sequence[Candidate], shares: Sequence[float]) -> list[Point]:
    """Points that meet the service level and that no other beats in both figures, the fastest for a user first."""
    if not shares:
        return best(_everything(study, candidates))
    first = shares[0]
    tops = _tops(study, {candidate.number: 0 for candidate in candidates}, first)
    rungs = _downwards(study, tops, first)
    for share in shares:
        rungs = _near(study, rungs, share)
    return best(_race(study, rungs, shares[-1]))


def unbeaten(study: Study, numbers: Sequence[int], known: Iterable[Point]) -> list[int]:
    """Without those of whose best imaginable figures some point is ahead in both; these are pruned."""
    ahead = best(known)
    left = []
    for number in numbers:
        candidate = study.candidate(number)
        speed, throughput = study.bounds.speed(candidate), study.bounds.throughput(candidate)
        over = next((point for point in ahead if point.speed > speed and point.throughput > throughput), None)
        if over is None:
            left.append(number)
        else:
            most = f"{speed:.4g} tokens/s/user and {throughput:.4g} tokens/s/GPU"
            proof = f"no more than {most} at any load, and another does better in both"
            study.prune([candidate], proof)
    return left


def _everything(study: Study, candidates: Sequence[Candidate]) -> list[Point]:
    """All loads of all deployments on the whole workload, but for those that are proved to be behind."""
    known: list[Point] = []
    left = [candidate.number for candidate in candidates]
    while left := unbeaten(study, left, known):
        batch, left = left[:BATCH], left[BATCH:]
        rungs = _downwards(study, _tops(study, dict.fromkeys(batch, 0), WHOLE), WHOLE)
        known += _points(study, rungs, WHOLE).values()
    return known


def best(points: Iterable[Point]) -> list[Point]:
    """Those that meet the level and that no other beats, or equals but for a hair, in both figures."""
    found: list[Point] = []
    good = [point for point in points if point.misses is None]
    for point in sorted(good, key=lambda point: (-point.speed, -point.throughput, point.candidate.number)):
        if not found or point.throughput > found[-1].throughput * SAME:
            # A little slower and a good deal more throughput: the one before is beaten but for a hair.
            if found and point.speed * SAME > found[-1].speed:
                found.pop()
            found.append(point)
    return found


def _tops(study: Study, starts: Mapping[int, int], share: float) -> dict[int, int]:
    """The highest load that each can take, of those `STEP` apart; those that can take none are left out."""
    climbs = {number: climb(start, STEP) for number, start in starts.items()}
    found = climb_all(study, climbs, share, lambda outcome: _meets(study, outcome, share))
    for number, rung in found.items():
        if rung is None and share != WHOLE:
            study.screen([study.candidate(number)], f"meets the level at no load, {screen.on(share)}")
    return {number: rung for number, rung in found.items() if rung is not None}


def _meets(study: Study, outcome: Outcome, share: float) -> bool:
    if share == WHOLE:
        return meets(outcome)
    return keeps_up(outcome.summary) and screen.excess(outcome, study.attainment) <= 1


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
            speed = study.point(runs[number], outcomes[runs[number]]).speed
            rungs[number].append(rung)
            if speed > speeds.get(number, 0.0) * FASTER and rung - STEP >= -REACH:
                following[number] = rung - STEP
            speeds[number] = speed
        going = following
    return {number: sorted(set(found)) for number, found in rungs.items()}


def _points(study: Study, rungs: Rungs, share: float) -> dict[tuple[int, int], Point]:
    """By candidate and rung."""
    runs = {(number, rung): Run(number, study.axis.load(rung), share) for number in rungs for rung in rungs[number]}
    outcomes = study.ask(runs.values())
    return {place: study.point(run, outcomes[run]) for place, run in runs.items()}


def _beaten(point: Point, others: Iterable[Point], by: float) -> bool:
    return any(other.speed > point.speed * by and other.throughput > point.throughput * by for other in others)


def _near(study: Study, rungs: Rungs, share: float) -> Rungs:
    """Without the points that another beats by far in both figures on this share of the workload."""
    points = _points(study, rungs, share)
    ahead = best(points.values()) or list(points.values())
    by = 1 + screen.LESS[share]
    kept: Rungs = {}
    for number, found in rungs.items():
        near = [rung for rung in found if not _beaten(points[number, rung], ahead, by)]
        if near:
            kept[number] = near
        else:
            reason = f"others do {screen.LESS[share]:.0%} more in both figures at every load, {screen.on(share)}"
            study.screen([study.candidate(number)], reason)
    return kept


def _race(study: Study, rungs: Rungs, share: float) -> list[Point]:
    """Points on the whole workload, of as few runs as will do.

    Deployments are taken in batches, those furthest ahead on `share` first. A point is run if its figures on that
    share, scaled as those of the others were on the whole, say that it could better the frontier by `WORTH` or more.
    """
    parts = _points(study, rungs, share)
    known: dict[tuple[int, int], Point] = {}
    left = sorted(rungs, key=lambda number: (-_lead(number, rungs, parts), number))
    while left := unbeaten(study, left, known.values()):
        batch, left = left[:BATCH], left[BATCH:]
        wanted = {number: _worth(rungs[number], number, parts, known) for number in batch}
        known |= _points(study, wanted, WHOLE)
        rising = {
            number: found[-1] for number, found in wanted.items() if found and not known[number, found[-1]].misses
        }
        tops = _tops(study, rising, WHOLE)
        known |= _points(study, {number: [top] for number, top in tops.items()}, WHOLE)
        for number in batch:
            if not wanted[number]:
                reason = f"could better the frontier by less than {WORTH - 1:.0%}, {screen.on(share)}"
                study.screen([study.candidate(number)], reason)
    return list(known.values())


def _worth(
    rungs: Sequence[int], number: int, parts: Mapping[tuple[int, int], Point], known: Mapping[tuple[int, int], Point]
) -> list[int]:
    """The rungs of a deployment that may be on the frontier, for all that is known of others on the whole."""
    ahead = best(known.values())
    scales = _scales(known, parts)

    def beaten(rung: int) -> bool:
        part = parts[number, rung]
        speed, throughput = (scale / WORTH for scale in scales.get(rung, scales[None]))
        return any(
            other.speed >= part.speed * speed and other.throughput >= part.throughput * throughput for other in ahead
        )

    return [rung for rung in rungs if not known or not beaten(rung)]


def _lead(number: int, rungs: Rungs, parts: Mapping[tuple[int, int], Point]) -> int:
    """How many points of others it beats on a part of the workload, over all its loads."""
    return sum(
        other.speed <= own.speed and other.throughput <= own.throughput
        for own in (parts[number, rung] for rung in rungs[number])
        for other in parts.values()
    )


def _scales(
    known: Mapping[tuple[int, int], Point], parts: Mapping[tuple[int, int], Point]
) -> dict[int | None, tuple[float, float]]:
    """By rung, how speed and throughput on the whole relate to those on a part, at most: common arrivals make it much
    the same for all. Under None: over all rungs."""
    found: dict[int | None, tuple[float, float]] = {None: (1.0, 1.0)}
    for place, whole in known.items():
        part = parts.get(place)
        if part is not None and part.speed and part.throughput:
            for rung in (place[1], None):
                old = found.get(rung, (0.0, 0.0))
                found[rung] = (max(old[0], whole.speed / part.speed), max(old[1], whole.throughput / part.throughput))
    return found
