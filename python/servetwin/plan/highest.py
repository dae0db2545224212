"""The deployment that does most at the highest load it can take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from . import screen
from .capacity import Climb, climb
from .load import STEPS_PER_DOUBLING, meets, rung_at_most
from .runs import WHOLE, Outcome, Run
from .space import Candidate
from .study import Point, Study

BATCH = 8
"""Deployments that race at a time: fixed, so that the runs are the same however many go on at once."""

Value = Callable[[Point], float]


def climb_all(
    study: Study, climbs: Mapping[int, Climb], share: float, meets: Callable[[Outcome], bool]
) -> dict[int, int | None]:
    """The results of many climbs, by candidate; each round of all of them is asked for at once."""
    found: dict[int, int | None] = {}
    rungs = {number: next(search) for number, search in climbs.items()}
    while rungs:
        outcomes = study.ask(Run(number, study.axis.load(rung), share) for number, rung in rungs.items())
        following = {}
        for number, rung in rungs.items():
            try:
                following[number] = climbs[number].send(meets(outcomes[Run(number, study.axis.load(rung), share)]))
            except StopIteration as end:
                found[number] = end.value
        rungs = following
    return found


def value_of(objective: str) -> Value:
    """What makes a point the better."""
    return _per_dollar if objective == "goodput_per_dollar" else _per_gpu


def _per_gpu(point: Point) -> float:
    return point.throughput


def _per_dollar(point: Point) -> float:
    """Output tokens for a dollar, in millions; per GPU and second where no price is known."""
    cost = point.summary.get("cost_per_million_output_tokens")
    return point.throughput if cost is None else 1 / cost


def highest(study: Study, candidates: Sequence[Candidate], shares: Sequence[float], value: Value) -> list[Point]:
    """Each at the highest load that it can take, the best by `value` first. Those that raced and lost are not there."""
    left = _screened(study, candidates, shares, value)
    best: list[Point] = []
    while left:
        if best:
            left = _unbeaten(study, left, value_bound(study), value(best[0]))
        batch, left = left[:BATCH], left[BATCH:]
        climbs = {candidate.number: _race(study, candidate, best[:1]) for candidate in batch}
        rungs = climb_all(study, climbs, WHOLE, meets)
        runs = [Run(number, study.axis.load(rung)) for number, rung in rungs.items() if rung is not None]
        best = sorted([*best, *study.points(runs)], key=lambda point: (-value(point), point.candidate.number))
    return best


def value_bound(study: Study) -> Callable[[Candidate], float]:
    """What a point's value cannot exceed, whatever the load."""
    objective = study.space.search.objective

    def per_dollar(candidate: Candidate) -> float:
        cost = candidate.cost_per_hour
        per_gpu = study.bounds.throughput(candidate)
        return per_gpu if cost is None else per_gpu * candidate.gpus * 3600 / 1e6 / cost

    return per_dollar if objective == "goodput_per_dollar" else study.bounds.throughput


def _unbeaten(
    study: Study, left: Sequence[Candidate], bound: Callable[[Candidate], float], most: float
) -> list[Candidate]:
    """Those that may do as much as the best so far."""
    beaten = [candidate for candidate in left if bound(candidate) < most]
    study.prune(beaten, "cannot do as much as another does, in the best pass it can have")
    return [candidate for candidate in left if candidate not in beaten]


def _race(study: Study, candidate: Candidate, best: Sequence[Point]) -> Climb:
    """Its climb, once it has met the level at the load at which it would do as much as the best so far."""
    if not best:
        return climb()
    leader = best[0]
    share = candidate.gpus / leader.candidate.gpus
    return _beyond(rung_at_most(study.axis.of_now(leader.load) * share))


def _beyond(rung: int) -> Climb:
    if not (yield rung):
        return None
    return (yield from climb(rung))


def _screened(study: Study, candidates: Sequence[Candidate], shares: Sequence[float], value: Value) -> list[Candidate]:
    """Those that come near the best on short stretches of the workload, the best first."""
    left = list(candidates)
    for share in shares:
        level = lambda outcome: screen.excess(outcome, study.attainment) <= 1  # noqa: E731
        step = STEPS_PER_DOUBLING // 4
        rungs = climb_all(study, {candidate.number: climb(0, step) for candidate in left}, share, level)
        values = {}
        for run, outcome in study.ask(
            Run(number, study.axis.load(rung), share) for number, rung in rungs.items() if rung is not None
        ).items():
            values[run.candidate] = value(study.point(run, outcome))
        most = max(values.values(), default=0.0)
        enough = most * (1 - screen.LESS[share])
        for candidate in left:
            if values.get(candidate.number, 0.0) < enough:
                known = values.get(candidate.number)
                reason = "meets the level at no load" if known is None else f"{1 - known / most:.0%} less than the best"
                study.screen([candidate], f"{reason}, {screen.on(share)}")
        left = [candidate for candidate in left if values.get(candidate.number, 0.0) >= enough]
        left.sort(key=lambda candidate: (-values[candidate.number], candidate.number))
    return left
