"""From a spec with a search to an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import SpecError
from . import screen
from .axis import LoadAxis
from .cheapest import cheapest
from .explore import explored
from .folder import Folder
from .frontier import frontier
from .highest import highest, value_of
from .runs import Executor, Outcome, Run, Runner, Threads
from .space import Candidate, Dropped, Space
from .study import Account, Point, Study


@dataclass(frozen=True)
class Answer:
    """What a study found.

    Attributes:
        points: on the whole workload. Of a frontier, its points, the fastest for a user first; else those that were
            decided on, the best first.
        chosen: the first of them that meets the level; of a frontier, the one with most throughput.
        account: what became of all combinations.
        space, axis: what was chosen among, and what a load is.
        candidates: the numbers of those that can be run and were looked at, in order.
        outcomes: of every run that was asked for.
    """

    objective: str
    points: list[Point]
    chosen: Point | None
    account: Account
    space: Space
    axis: LoadAxis
    candidates: Sequence[int]
    outcomes: Mapping[Run, Outcome]

    def point(self, run: Run) -> Point:
        """A run on the whole workload as a point."""
        candidate = self.space.look(run.candidate)
        assert isinstance(candidate, Candidate), "only what can be run is asked for"
        outcome = self.outcomes[run]
        return Point(candidate, run.load, outcome.summary, outcome.stalled)


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
            raise empty(space, study.account)
        return answer(study, candidates, shares)
    finally:
        runner.stopped = True
        carried_out_by.close()


def empty(space: Space, account: Account) -> SpecError:
    """Says why nothing is left of a space."""
    reasons = Counter(reason_of(dropped) for dropped in account.dropped)
    first = "; ".join(f"{count:,} × {reason}" for reason, count in reasons.most_common(3))
    return space.base.source.problem(
        ("search",),
        f"none of {len(account.dropped):,} combinations can be: {first}",
        wanted="other values; `servetwin plan --explain-space` lists all reasons",
    )


def reason_of(dropped: Dropped) -> str:
    """Why a combination was dropped, without the figures that differ from one to the next."""
    reason = dropped.reason.partition(":")[0]
    return reason if dropped.field is None or reason.startswith("more than") else f"{dropped.field} {reason}"


def answer(study: Study, candidates: Sequence[Candidate], shares: Sequence[float]) -> Answer:
    objective = study.space.search.objective
    if objective == "cheapest":
        points = cheapest(study, candidates, shares)
    elif objective == "frontier":
        points = frontier(study, candidates, shares)
    else:
        points = highest(study, candidates, shares, value_of(objective))
    good = [point for point in points if point.misses is None]
    chosen = (good[-1] if objective == "frontier" else good[0]) if good else None
    numbers = sorted({*(candidate.number for candidate in candidates), *study.account.pruned})
    return Answer(objective, points, chosen, study.account, study.space, study.axis, numbers, study.outcomes)
