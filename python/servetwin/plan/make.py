"""From a spec with a search to an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import screen
from .axis import LoadAxis
from .cheapest import cheapest
from .explore import explored
from .folder import Folder
from .frontier import frontier
from .highest import highest, value_of
from .remedy import Remedy, nearest, remedy
from .runs import Executor, Outcome, Run, Runner, Threads
from .space import Candidate, Space, empty
from .study import Account, Point, Study

if TYPE_CHECKING:
    from .._core import Trace


@dataclass(frozen=True)
class Answer:
    """What a study found.

    Attributes:
        points: on the whole workload. Of a frontier, its points, the fastest for a user first; else those that were
            decided on, the best first. Where nothing meets the level, what comes nearest first.
        chosen: the first of them that meets the level; of a frontier, the one with most throughput.
        account: what became of all combinations.
        space, axis: what was chosen among, and what a load is.
        candidates: the numbers of those that can be run and were looked at, in order.
        outcomes: of every run that was asked for.
        remedy: where nothing meets the level under the workload as it is, what would.
    """

    objective: str
    points: list[Point]
    chosen: Point | None
    account: Account
    space: Space
    axis: LoadAxis
    candidates: Sequence[int]
    outcomes: Mapping[Run, Outcome]
    remedy: Remedy | None

    def point(self, run: Run) -> Point:
        """A run on the whole workload as a point."""
        outcome = self.outcomes[run]
        return Point(self.space.candidate(run.candidate), run.load, outcome.summary, outcome.stalled)


def plan(
    folder: Folder, *, workers: int, executor: Executor | None = None, progress: Callable[[int], None] | None = None
) -> Answer:
    """Carries a study out, or goes on with it.

    Args:
        folder: made by `create`, or opened by `resume`.
        workers: threads, where there is no executor.
        executor: where to carry out runs instead.
        progress: called with 1 for each run that has ended.

    Raises:
        SpecError: the search cannot be carried out.
        InputError: the ledger cannot be written; what was finished is kept.
    """
    space = folder.space
    runner = Runner(space, folder.trace)
    carried_out_by = executor or Threads(runner, workers)
    study = Study(folder, carried_out_by, progress)
    try:
        shares = screen.shares(len(folder.trace)) if space.search.screening else ()
        candidates = explored(study, shares) or study.nearest()
        if not candidates:
            raise empty(space, study.account.dropped)
        return answer(study, candidates, shares, folder.trace)
    finally:
        runner.stopped = True
        carried_out_by.close()


def answer(study: Study, candidates: Sequence[Candidate], shares: Sequence[float], trace: Trace) -> Answer:
    objective = study.space.search.objective
    if objective == "cheapest":
        points = cheapest(study, candidates, shares)
    elif objective == "frontier":
        points = frontier(study, candidates, shares)
    else:
        points = highest(study, candidates, shares, value_of(objective))
    good = [point for point in points if point.misses is None]
    needed = None
    if not good:
        points = nearest(study, points)
        if points and objective == "cheapest":
            needed = remedy(study, points[0], trace)
    chosen = (good[-1] if objective == "frontier" else good[0]) if good else None
    numbers = sorted({*(candidate.number for candidate in candidates), *study.account.pruned})
    return Answer(objective, points, chosen, study.account, study.space, study.axis, numbers, study.outcomes, needed)
