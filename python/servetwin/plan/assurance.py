"""How sure a choice is: it and the next one under other errors of their pass times and other samples of a workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ..replication import replicate
from .finished import Finished
from .highest import value_of
from .study import Point


@dataclass(frozen=True)
class Assurance:
    """Of so many replications, the same draws for both.

    Attributes:
        met: those in which the choice meets the level at its load.
        rival: the trial that comes next, and `ahead`: those in which the choice does more; None where the objective
            compares no figure, or there is no other.
    """

    replications: int
    met: int
    rival: int | None
    ahead: int | None


def assured(study: Finished, replications: int, workers: int) -> Assurance | None:
    """None where nothing meets the level. Kept in the ledger. Raises InputError for fewer than two replications."""
    answer, ledger = study.answer, study.folder.ledger
    if answer.chosen is None:
        return None
    known = ledger.facts().get("assurance")
    if known is None or known["replications"] != replications:
        chosen = _replicated(study, answer.chosen, replications, workers)
        met = sum(point.misses is None for point in chosen)
        rival, ahead = _rival(study), None
        if rival is not None:
            value = value_of(answer.objective)
            others = _replicated(study, rival, replications, workers)
            ahead = sum(value(own) > value(other) for own, other in zip(chosen, others, strict=True))
        number = None if rival is None else rival.candidate.number
        known = asdict(Assurance(replications, met, number, ahead))
        ledger.set_facts({"assurance": known})
    return Assurance(**known)


def _rival(study: Finished) -> Point | None:
    """The best other deployment, where one figure makes the best."""
    answer = study.answer
    if not answer.objective.startswith("goodput") or answer.chosen is None:
        return None
    chosen = answer.chosen.candidate.number
    return next((point for point in answer.points if point.misses is None and point.candidate.number != chosen), None)


def _replicated(study: Finished, point: Point, count: int, workers: int) -> Sequence[Point]:
    """The point in every replication."""
    spec, trace = study.question(point)
    # Intervals are not asked for: any confidence that so many allow.
    confidence = max(int(100 * (count - 1) / (count + 1)), 1) / 100
    found = replicate(spec, trace, replications=count, confidence=confidence, workers=workers).replications
    assert found is not None
    summaries = [
        {name: values[index] for name, values in found.values.items() if values[index] is not None}
        for index in range(found.count)
    ]
    return [
        Point(point.candidate, point.load, summary, number in found.stalled)
        for number, summary in enumerate(summaries, 1)
    ]
