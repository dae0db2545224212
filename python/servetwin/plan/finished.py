"""A study that has ended: its answer, and what is known of each of its trials.

    study = finished(resume(Path("study")))
    study.chosen.spec, study.trial(17).points

A *trial* is a candidate, by its number among all combinations of the study's space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from ..errors import InputError
from ..spec import Spec
from .folder import Folder
from .make import Answer, plan
from .runs import WHOLE, Outcome, Run
from .space import Candidate
from .study import Point

if TYPE_CHECKING:
    from .._core import Trace

Fate = Literal["decided", "screened", "pruned"]


@dataclass(frozen=True)
class Trial:
    """What is known of a candidate.

    Attributes:
        fate: `decided` on the whole workload, `screened` out on parts of it (no proof), `pruned` by proof.
        reason: why it was screened or pruned.
        points: its loads on the whole workload, the lowest first.
    """

    candidate: Candidate
    fate: Fate
    reason: str | None
    points: tuple[Point, ...]

    @property
    def number(self) -> int:
        return self.candidate.number

    @property
    def spec(self) -> Spec:
        """Whole, with the workload of the study and without its search."""
        return self.candidate.spec

    @property
    def best(self) -> Point | None:
        """The highest load at which it meets the level, else the lowest; None if it ran only on parts."""
        good = [point for point in self.points if point.misses is None]
        return good[-1] if good else next(iter(self.points), None)


@dataclass(frozen=True)
class Finished:
    """A study and its answer."""

    folder: Folder
    answer: Answer

    @property
    def chosen(self) -> Trial | None:
        """None where nothing meets the service level."""
        chosen = self.answer.chosen
        return None if chosen is None else self.trial(chosen.candidate.number)

    def trial(self, number: int) -> Trial:
        """Raises InputError where there is no such trial, or it could not be run."""
        space = self.answer.space
        if not 0 <= number < space.size:
            raise InputError("no such trial", field="trial", found=str(number), wanted=f"0 to {space.size - 1}")
        one = space.look(number)
        if not isinstance(one, Candidate):
            raise InputError(f"was never run: {one.reason}", field="trial", found=str(number))
        points = tuple(self._points.get(number, ()))
        account = self.answer.account
        if number in account.pruned:
            return Trial(one, "pruned", account.pruned[number], points)
        if number in account.screened:
            return Trial(one, "screened", account.screened[number], points)
        return Trial(one, "decided", None, points)

    @cached_property
    def _points(self) -> dict[int, list[Point]]:
        """By trial, on the whole workload, the lowest load first."""
        found: dict[int, list[Point]] = {}
        for run in sorted(self.answer.outcomes):
            if run.share == WHOLE:
                found.setdefault(run.candidate, []).append(self.answer.point(run))
        return found

    def shown(self, number: int | None) -> tuple[Trial, Point | None]:
        """A trial and the load it is judged by: those chosen, or of the trial named, its best.

        Raises InputError where nothing is chosen, or as `trial` does.
        """
        if number is not None:
            trial = self.trial(number)
            return trial, trial.best
        if self.chosen is None:
            raise InputError("nothing meets the service level", file=str(self.folder.path), wanted="a trial's number")
        return self.chosen, self.answer.chosen

    def trials(self) -> Iterator[Trial]:
        """All that can be run and were looked at, by number."""
        return (self.trial(number) for number in self.answer.candidates)

    def question(self, point: Point) -> tuple[Spec, Trace]:
        """What was simulated for a point: the same again gives the same summary."""
        return self.answer.axis.at(point.candidate.spec, point.load)


class _Ended:
    """In place of an executor: a finished study has every run that it asks for."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def results(self, runs: Sequence[Run]) -> Iterator[tuple[Run, Outcome]]:
        if runs:
            path = self._folder.path
            raise InputError("is not finished", file=str(path), wanted=f"`servetwin plan --resume {path}` first")
        return iter(())

    def close(self) -> None:
        pass


def finished(folder: Folder) -> Finished:
    """The answer of a study from its ledger alone. Raises InputError if runs are missing."""
    with closing(folder.ledger):
        return Finished(folder, plan(folder, workers=1, executor=_Ended(folder)))
