"""A study: which deployment to run, found by simulating as few of them in full as an honest answer needs.

The funnel: combinations that cannot be are *dropped*; of the rest, some are *pruned*, which is proof; short stretches
of the workload *screen* what is left, which is not; and what is left then is decided on the whole workload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .axis import LoadAxis
from .bounds import Bounds, Missed
from .folder import Folder
from .load import shortcoming
from .runs import WHOLE, Executor, Outcome, Run
from .space import Candidate, Dropped


@dataclass(frozen=True)
class Point:
    """A deployment under a load, on the whole workload."""

    candidate: Candidate
    load: float
    summary: Mapping[str, Any]
    stalled: bool

    @property
    def misses(self) -> str | None:
        """What of the service level it misses; None if it meets it."""
        return shortcoming(self.summary, stalled=self.stalled)

    @property
    def throughput(self) -> float:
        """Output tokens per second and GPU."""
        return float(self.summary.get("output_tokens_per_s_per_gpu", 0.0))

    @property
    def speed(self) -> float:
        """Output tokens per second for the median request."""
        return float(self.summary.get("output_tokens_per_s_per_user.p50", 0.0))

    @property
    def run(self) -> Run:
        return Run(self.candidate.number, self.load)


@dataclass
class Account:
    """What became of each combination, and what it took."""

    combinations: int = 0
    dropped: list[Dropped] = field(default_factory=list)
    unseen: int = 0
    """Of a space too large to enumerate, those that the sampler never asked for."""
    pruned: dict[int, str] = field(default_factory=dict)
    """By candidate, the proof that it cannot be chosen."""
    screened: dict[int, str] = field(default_factory=dict)
    """By candidate, what it did on a part of the workload that made us look no further."""
    whole_runs: int = 0
    part_runs: int = 0

    @property
    def decided(self) -> int:
        """Combinations that were decided on the whole workload."""
        return self.combinations - len(self.dropped) - self.unseen - len(self.pruned) - len(self.screened)


class Study:
    """Runs that are asked for, found or carried out, and counted."""

    def __init__(self, folder: Folder, executor: Executor, progress: Callable[[int], None] | None) -> None:
        self.space = folder.space
        self.axis = LoadAxis.of(folder.spec, folder.trace)
        self.bounds = Bounds(folder.spec, folder.trace)
        self.account = Account(combinations=self.space.size)
        self.ledger = folder.ledger
        self._executor = executor
        self._missed: dict[int, Missed] = {}
        self._progress = progress or (lambda _finished: None)
        self.outcomes: dict[Run, Outcome] = {}
        """Of all runs that were asked for."""

    def ask(self, runs: Iterable[Run]) -> dict[Run, Outcome]:
        """The outcomes of these runs, in their order."""
        wanted = list(dict.fromkeys(runs))
        missing = [run for run in wanted if self.ledger.get(run) is None]
        for run, outcome in self._executor.results(missing):
            self.ledger.put(run, outcome)
            self._progress(1)
        found = {run: known for run in wanted if (known := self.ledger.get(run)) is not None}
        fresh = [run for run in found if run not in self.outcomes]
        whole = sum(run.share == WHOLE for run in fresh)
        self.account.whole_runs += whole
        self.account.part_runs += len(fresh) - whole
        self.outcomes.update(found)
        return found

    def points(self, runs: Iterable[Run]) -> list[Point]:
        """The same as points, of runs on the whole workload."""
        return [self.point(run, outcome) for run, outcome in self.ask(runs).items()]

    def point(self, run: Run, outcome: Outcome) -> Point:
        return Point(self.candidate(run.candidate), run.load, outcome.summary, outcome.stalled)

    def candidate(self, number: int) -> Candidate:
        return self.space.candidate(number)

    @property
    def attainment(self) -> float | None:
        """The share of requests that the service level wants within its limits; None if it limits no requests."""
        slo = self.space.base.slo
        return slo.attainment if slo is not None and slo.limits_requests else None

    def candidates(self, numbers: Sequence[int]) -> list[Candidate]:
        """Those of these combinations that can be, and perhaps meet the level; the others are accounted for."""
        found = []
        for number in numbers:
            one = self.space.look(number)
            if isinstance(one, Dropped):
                self.account.dropped.append(one)
            elif (missed := self.bounds.missed(one)) is not None:
                self.prune([one], missed.proof)
                self._missed[number] = missed
            else:
                found.append(one)
        return found

    def nearest(self) -> list[Candidate]:
        """Of those that are proved to miss the level, the one that misses it least: to be run, to say how far it is."""
        if not self._missed:
            return []
        number = min(self._missed, key=lambda number: (self._missed[number].times, number))
        del self.account.pruned[number]
        return [self.candidate(number)]

    def prune(self, candidates: Iterable[Candidate], proof: str) -> None:
        self.account.pruned.update({candidate.number: proof for candidate in candidates})

    def screen(self, candidates: Iterable[Candidate], reason: str) -> None:
        self.account.screened.update({candidate.number: reason for candidate in candidates})
