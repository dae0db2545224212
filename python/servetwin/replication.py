"""A run again and again, under other errors of its pass times and other samples of its workload."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .describe import PoolDeployment, resolve, with_error
from .errors import InputError
from .policy import Router, load_router
from .result.columns import of_replication, request_table
from .result.intervals import least_replications
from .result.replications import Replications
from .result.result import Result
from .simulation import carry_out, given_spec, own_routers, simulate
from .spec import Spec, vary
from .spec.router import PythonRouter
from .timing import Evidence
from .timing.draws import ErrorDraw, drawn
from .workload.again import Source, source

if TYPE_CHECKING:
    import pyarrow as pa

    from ._core import Trace

MOST = 10_000


def replicate(
    spec: Spec | str | Path | Mapping[str, Any],
    trace: Trace | str | Path | None = None,
    *,
    replications: int = 20,
    confidence: float = 0.9,
    router: Callable[[], Router] | None = None,
    workers: int | None = None,
    requests: bool = False,
    leap: bool = True,
    progress: Callable[[float], None] | None = None,
) -> Result:
    """The result that `simulate` gives, with `Result.replications`: how far its metrics may be off.

    Each replication draws the pass times' error (`timing.drawn`) and the workload anew (`workload.again`), from the
    spec's seed and its own number. So two specs with the same seed and workload meet the same draws, and the
    differences of their replications are between pairs: common random numbers.

    Args:
        spec, trace, leap, progress: as of `simulate`.
        replications: runs beside the one without draws.
        confidence: the chance with which an interval holds what the next replication gives.
        router: makes a router, which is used in place of the spec's; each run starts with a new one.
        workers: threads; as many as there are processors. A router in Python gets one: it holds the interpreter.
        requests: keeps the requests of all runs, about 100 bytes each.

    Raises:
        InputError: too few replications for the confidence; a router that is one object.
        As `simulate` does, of any of the runs.
    """
    check_counts(replications, confidence)
    spec, trace = given_spec(spec, trace)
    python = _check_routers(spec, router)
    runs = _Runs(spec, source(spec, trace), router, requests, leap, progress, replications + 1)
    threads = 1 if python else workers or processors()
    with ThreadPoolExecutor(threads, thread_name_prefix="servetwin-replicate") as pool:
        first = pool.submit(runs.point)
        futures = [pool.submit(runs, number) for number in range(1, replications + 1)]
        try:
            point, ran = first.result(), [future.result() for future in futures]
        except BaseException:
            runs.stopped = True
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return replace(point, replications=_together(runs, point, ran, confidence))


def check_counts(replications: int, confidence: float) -> None:
    """Raises InputError for what makes no intervals."""
    if not 0 < confidence < 1:
        raise InputError("not between 0 and 1", field="confidence", found=f"{confidence:g}", wanted="such as 0.9")
    if not 2 <= replications <= MOST:
        raise InputError(
            "out of range", field="replications", found=str(replications), wanted=f"2 to {MOST:,}; 20 is usual"
        )
    least = least_replications(confidence)
    if replications < least:
        most = (replications - 1) / (replications + 1)
        raise InputError(
            f"too few for intervals of {confidence:.4g}: the extremes of {replications} hold the next in {most:.1%}",
            field="replications",
            found=str(replications),
            wanted=f"at least {least}, or a confidence of at most {int(most * 100) / 100:g}",
        )


def _check_routers(spec: Spec, router: Callable[[], Router] | None) -> bool:
    """Whether some router is in Python. Raises InputError or SpecError for one that would go on from run to run."""
    kept = "one object: what it keeps would go on from one replication into the next"
    if router is not None and not isinstance(router, type) and callable(getattr(router, "route", None)):
        raise InputError(kept, field="router", wanted="its class, or a function that makes one")
    python = router is not None
    for pool in spec.by_pool.values():
        options = pool.router
        if isinstance(options, PythonRouter) and (router is None or pool.router is not spec.router):
            python = True
            if load_router(pool, options) is load_router(pool, options):
                raise pool.source.problem(("router", "object"), kept, found=options.object, wanted="its class")
    return python


@dataclass(frozen=True)
class _Ran:
    """What is kept of a replication."""

    summary: dict[str, float]
    stalled: bool
    seed: int
    errors: dict[str, float]
    requests: pa.Table | None


class _Runs:
    """Carries out single runs; safe to be asked by several threads."""

    def __init__(
        self,
        spec: Spec,
        workload: Source,
        router: Callable[[], Router] | None,
        requests: bool,
        leap: bool,
        progress: Callable[[float], None] | None,
        count: int,
    ) -> None:
        self.spec = spec
        self.workload = workload
        self.deployment = resolve(spec)
        self.stopped = False
        self._router = router
        self._requests = requests
        self._leap = leap
        self._progress = progress
        self._done = [0.0] * count
        self._lock = threading.Lock()

    def point(self) -> Result:
        """The run without draws."""
        return simulate(
            self.spec,
            self.workload.trace,
            router=None if self._router is None else self._router(),
            deployment=self.deployment,
            leap=self._leap,
            progress=lambda share: self._tell(0, share),
        )

    def __call__(self, number: int) -> _Ran:
        """A replication, from 1 on."""
        draw = ErrorDraw(self.spec.seed, number - 1)
        spec = vary(self.spec, {"seed": _seed(self.spec.seed, number)})
        deployment = with_error(resolve(spec), draw)
        routers = own_routers(deployment)
        if self._router is not None:
            routers[deployment.first.role] = self._router()
        trace = self.workload.draw(spec.seed)
        run, summary = carry_out(
            spec, deployment, trace, routers, leap=self._leap, progress=lambda share: self._tell(number, share)
        )
        rows = of_replication(request_table(run, trace), number) if self._requests else None
        return _Ran(summary, run.status == "stalled", spec.seed, draw.normals, rows)

    def _tell(self, number: int, share: float) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        if self._progress is not None:
            with self._lock:
                self._done[number] = share
                self._progress(sum(self._done) / len(self._done))


def _together(runs: _Runs, point: Result, others: list[_Ran], confidence: float) -> Replications:
    summaries = [one.summary for one in others]
    return Replications(
        confidence=confidence,
        workload=runs.workload.described(),
        timing={pool.role: _timing(pool) for pool in runs.deployment.pools},
        seeds=[one.seed for one in others],
        errors={name: [one.errors[name] for one in others] for name in others[0].errors},
        values={
            name: [None if (value := summary.get(name)) is None else float(value) for summary in summaries]
            for name in point.summary
        },
        stalled=[number for number, one in enumerate(others, 1) if one.stalled],
        _requests=lambda: _requests(point, others),
    )


def _timing(pool: PoolDeployment) -> dict[str, Any]:
    model = pool.timing
    if drawn(model, ErrorDraw(0, 0)) is not model:
        return {"spread": round(model.spread, 4)}
    return {"exact": "given" if model.evidence is Evidence.GIVEN else "error not known"}


def _requests(first: Result, others: list[_Ran]) -> pa.Table:
    import pyarrow as pa

    kept = [one.requests for one in others if one.requests is not None]
    # A column that not every run has, such as the router's reasons, is null where it is missing.
    return pa.concat_tables([of_replication(first.requests, 0), *kept], promote_options="default").unify_dictionaries()


def _seed(seed: int, number: int) -> int:
    """Of a replication, for whatever it draws beside its errors."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:6])


def processors() -> int:
    """That this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
