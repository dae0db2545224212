"""Which deployments of a space enter the funnel: all of them, or, of a large space, those a sampler asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from . import screen
from .capacity import REACH, climb
from .cheapest import price
from .frontier import STEP
from .highest import climb_all, value_of
from .runs import WHOLE, Run
from .sampler import Figures, Sampler, batches
from .space import ENUMERABLE, Candidate, Space
from .study import Study

TRIALS = 1024
"""Combinations that a sampler asks for unless the search says otherwise."""


def explored(study: Study, shares: Sequence[float]) -> list[Candidate]:
    """The deployments to choose among, in the order of their numbers."""
    method = method_of(study.space)
    if method == "exhaustive":
        return study.candidates(range(study.space.size))
    figures = 2 if study.space.search.objective == "frontier" else 1
    sampler = Sampler(study.space, method, figures)
    found: dict[int, Candidate] = {}
    seen: set[int] = set()
    for count in batches(study.space.search.trials or TRIALS):
        asked = sampler.ask(count)
        fresh = [number for number in dict.fromkeys(number for _, number in asked) if number not in seen]
        seen.update(fresh)
        found |= {candidate.number: candidate for candidate in study.candidates(fresh)}
        judged = _figures(study, [found[number] for _, number in asked if number in found], shares)
        for trial, number in asked:
            sampler.tell(trial, judged.get(number))
    study.account.unseen = study.space.size - len(seen)
    return [found[number] for number in sorted(found)]


def method_of(space: Space) -> Literal["exhaustive", "nsga2", "tpe"]:
    """As the search says, or by the size of the space."""
    method = space.search.method
    if method == "auto":
        return "exhaustive" if space.size <= ENUMERABLE and space.search.trials is None else "nsga2"
    return method


def _figures(study: Study, candidates: Sequence[Candidate], shares: Sequence[float]) -> dict[int, Figures]:
    """By candidate, what the sampler is to make the most of, on the shortest part of the workload."""
    share = shares[0] if shares else WHOLE
    unique = {candidate.number: candidate for candidate in candidates}
    objective = study.space.search.objective
    if objective == "cheapest":
        runs = {number: Run(number, study.axis.load(0), share) for number in unique}
        outcomes = study.ask(runs.values())
        over = {number: screen.excess(outcomes[run], study.attainment) for number, run in runs.items()}
        # Twice over the limits is as bad as four times the price.
        return {number: (-price(unique[number]) * max(over[number], 1.0) ** 2,) for number in unique}
    tops = climb_all(
        study,
        {number: climb(0, STEP) for number in unique},
        share,
        lambda outcome: screen.excess(outcome, study.attainment) <= 1,
    )
    best = {number: Run(number, study.axis.load(top), share) for number, top in tops.items() if top is not None}
    low = {number: Run(number, study.axis.load(max((tops[number] or 0) - 6 * STEP, -REACH)), share) for number in best}
    if objective != "frontier":
        outcomes = study.ask(best.values())
        value = value_of(objective)
        return {number: (value(study.point(run, outcomes[run])),) for number, run in best.items()}
    outcomes = study.ask([*best.values(), *low.values()])
    return {
        number: (
            study.point(best[number], outcomes[best[number]]).throughput,
            study.point(low[number], outcomes[low[number]]).speed,
        )
        for number in best
    }
