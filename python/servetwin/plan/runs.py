"""One simulation of a study: which deployment, under which load, on how much of the workload."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..simulation import carry_out, own_routers
from ..workload.transform import transform
from .axis import LoadAxis
from .space import Space

if TYPE_CHECKING:
    from .._core import Trace

WHOLE = 1.0
"""The share of the workload that decisions are made on."""


@dataclass(frozen=True, order=True)
class Run:
    candidate: int
    load: float
    """A speedup, or a number of users."""
    share: float = WHOLE
    """Of the workload's time, from its middle on; less than `WHOLE` only to screen."""


@dataclass(frozen=True)
class Outcome:
    summary: dict[str, float]
    stalled: bool
    simulate_s: float


class Runner:
    """Carries out runs; safe to be asked by several threads."""

    def __init__(self, space: Space, trace: Trace) -> None:
        self.space = space
        self.axis = LoadAxis.of(space.base, trace)
        self._trace = trace
        self._span_s = _span_s(trace)
        self._parts: dict[float, LoadAxis] = {WHOLE: self.axis}
        self._lock = threading.Lock()
        self.stopped = False

    def __call__(self, run: Run) -> Outcome:
        candidate = self.space.candidate(run.candidate)
        spec, trace = self._part(self._share(run)).at(candidate.spec, run.load)
        deployment = candidate.deployment
        started = time.perf_counter()
        done, summary = carry_out(spec, deployment, trace, own_routers(deployment), progress=self._go_on)
        return Outcome(summary, done.status == "stalled", time.perf_counter() - started)

    def _share(self, run: Run) -> float:
        """Of the workload's arrivals: denser ones are over sooner, and more of them show what the load does."""
        return min(run.share * max(self.axis.of_now(run.load), 1.0), WHOLE)

    def _go_on(self, _done: float) -> None:
        if self.stopped:
            raise KeyboardInterrupt

    def _part(self, share: float) -> LoadAxis:
        with self._lock:
            if share not in self._parts:
                start_s = min(self._span_s / 2, self._span_s * (1 - share))
                window = {"start_s": start_s, "end_s": start_s + self._span_s * share}
                part = transform(self._trace, [{"window": window}]) if self._span_s else self._trace
                self._parts[share] = LoadAxis.of(self.space.base, part)
            return self._parts[share]


def _span_s(trace: Trace) -> float:
    """Until the last start of a session."""
    profile = trace.profile()
    return float(profile["last_s"])


class Executor(Protocol):
    """Where runs are carried out. Which one makes no difference to any result."""

    def results(self, runs: Sequence[Run]) -> Iterator[tuple[Run, Outcome]]:
        """Each run with its outcome, as they end. Raises what a run raised."""
        ...

    def close(self) -> None: ...


class Threads:
    """Threads of this process: the core lets go of the interpreter while it simulates."""

    def __init__(self, runner: Callable[[Run], Outcome], workers: int) -> None:
        self._runner = runner
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="servetwin-plan")

    def results(self, runs: Sequence[Run]) -> Iterator[tuple[Run, Outcome]]:
        pending: dict[Future[Outcome], Run] = {self._pool.submit(self._runner, run): run for run in runs}
        try:
            while pending:
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda future: pending[future]):
                    yield pending[future], future.result()
                    del pending[future]
        finally:
            for future in pending:
                future.cancel()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
