"""Spec and trace to a result: the one way into the native core."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._core import simulate as native_simulate
from .describe import Deployment, resolve, run_description, summary_options
from .files import absolute
from .native import native_errors
from .policy import Router, load_router
from .result.provenance import provenance
from .result.result import Result, Timings
from .spec import Spec, load_spec, make_spec
from .spec.router import PythonRouter
from .spec.workload import TraceWorkload
from .workload import check_blocks, check_sessions, open_workload

if TYPE_CHECKING:
    from ._core import Run, Trace


def simulate(
    spec: Spec | str | Path | Mapping[str, Any],
    trace: Trace | str | Path | None = None,
    *,
    router: Router | None = None,
    deployment: Deployment | None = None,
    leap: bool = True,
    progress: Callable[[float], None] | None = None,
) -> Result:
    """Runs a workload through a deployment.

    Args:
        spec: read already, the path of a YAML file, or a mapping shaped like one.
        trace: used in place of the spec's workload: a path, or a `Trace`.
        router: used in place of the spec's router.
        deployment: what `resolve` made of the spec, if that was done before.
        leap: False steps through every pass; the result is the same but for its timings.
        progress: called now and then with the share done, from 0 to 1.

    Raises:
        SpecError: the spec cannot be run; with file, line and dotted path.
        InputError: the trace is not usable; with file, line and field.
        Whatever `router` raises, with a note of the request and the time.
    """
    spec, trace = given_spec(spec, trace)
    if deployment is None:
        deployment = resolve(spec)
    routers = own_routers(deployment, router)
    router = routers[deployment.first.role]

    started = time.perf_counter()
    opened = open_workload(spec) if trace is None else trace
    check_workload(deployment, opened, routers)
    parsed = time.perf_counter()
    run, summary = carry_out(spec, deployment, opened, routers, leap=leap, progress=progress)
    timings = Timings(
        parse_s=parsed - started,
        simulate_s=time.perf_counter() - parsed,
        passes=run.passes,
        leaps=run.leaps,
        leap=leap,
    )
    return Result.of_run(run, summary, provenance(spec, deployment, opened, router, run.pass_times), timings, opened)


def given_spec(
    spec: Spec | str | Path | Mapping[str, Any], trace: Trace | str | Path | None
) -> tuple[Spec, Trace | None]:
    """The spec that is meant, its trace named in it; and a trace that is there already. Raises SpecError."""
    if not isinstance(spec, Spec):
        spec = make_spec(spec) if isinstance(spec, Mapping) else load_spec(spec)
    if isinstance(trace, (str, Path)):
        spec = with_trace(spec, trace)
        trace = None
    if spec.search is not None:
        raise spec.source.problem(("search",), "only `servetwin plan` reads it", wanted="--set search=null")
    return spec, trace


def check_workload(deployment: Deployment, trace: Trace, routers: Mapping[str, Router | None]) -> None:
    """Raises SpecError for a workload that does not suit. `routers`: objects, by role, in place of the specs'."""
    for pool in deployment.pools:
        check_blocks(pool.spec, trace, pool.engine.block_tokens)
        if routers[pool.role] is None:
            check_sessions(pool.spec, trace)


def carry_out(
    spec: Spec,
    deployment: Deployment,
    trace: Trace,
    routers: Mapping[str, Router | None],
    *,
    leap: bool = True,
    progress: Callable[[float], None] | None = None,
) -> tuple[Run, dict[str, float]]:
    """A checked run and its summary alone, for those who make thousands. Raises as `simulate` does."""
    router = routers[deployment.first.role]
    config = run_description(spec, deployment, leap=leap, own_router=router is not None)
    with native_errors():
        run = native_simulate(
            trace, json.dumps(config), router=router, decode_router=routers.get("decode"), progress=progress
        )
        return run, json.loads(run.summary(json.dumps(summary_options(spec, deployment))))


def own_routers(deployment: Deployment, first: Router | None = None) -> dict[str, Router | None]:
    """By role, the Python routers that the specs name, made anew; None where a router is built in.

    `first`: in place of that of the replicas to which requests come.
    """
    given = {} if first is None else {deployment.first.role: first}
    return {pool.role: given.get(pool.role) or _own_router(pool.spec) for pool in deployment.pools}


def _own_router(spec: Spec) -> Router | None:
    return load_router(spec, spec.router) if isinstance(spec.router, PythonRouter) else None


def with_trace(spec: Spec, trace: str | Path) -> Spec:
    """The spec with this trace, a path from here; a generated workload gives way to it, as setting a kind does."""
    old = spec.workload if isinstance(spec.workload, TraceWorkload) else TraceWorkload()
    return spec.with_workload(old.model_copy(update={"trace": absolute(trace)}))
