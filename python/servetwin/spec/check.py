"""Checks across fields that need nothing but the spec: options without effect, and what is not modelled."""

from __future__ import annotations

from .check_engine import check_engine
from .deployment import Spec
from .router import PythonRouter
from .timing import LinearTiming
from .workload import TraceWorkload


def check(spec: Spec) -> None:
    """Raises SpecError for the first thing wrong."""
    _parallel(spec)
    check_engine(spec)
    _router(spec)
    _timing(spec)
    _workload(spec)
    _service_level(spec)


def _parallel(spec: Spec) -> None:
    for name in ("pipeline", "data", "expert"):
        size = getattr(spec.parallel, name)
        if size > 1:
            raise spec.source.problem(
                ("parallel", name), f"{name} parallelism is not yet modelled", found=str(size), wanted="1"
            )
    cluster = spec.cluster
    if cluster is not None and spec.gpus > cluster.nodes * cluster.gpus_per_node:
        raise spec.source.problem(
            ("replicas",),
            f"{spec.replicas} replicas of {spec.parallel.tensor} GPUs need {spec.gpus} GPUs, but the cluster has "
            f"{cluster.nodes} × {cluster.gpus_per_node} = {cluster.nodes * cluster.gpus_per_node}",
        )


def _workload(spec: Spec) -> None:
    workload = spec.workload
    if isinstance(workload, TraceWorkload) and workload.users is not None and spec.was_set("workload", "speedup"):
        raise spec.source.problem(
            ("workload", "speedup"), "never read with users: a closed loop has no arrival times", wanted="it left out"
        )


def _router(spec: Spec) -> None:
    router = spec.router
    if isinstance(router, PythonRouter) and router.delay_ms > 0 and router.interval_ms == 0:
        raise spec.source.problem(
            ("router", "delay_ms"),
            "never read: without an interval there are no samples to be late",
            found=str(router.delay_ms),
            wanted="interval_ms above 0, or it left out",
        )


def _timing(spec: Spec) -> None:
    timing = spec.timing
    if isinstance(timing, LinearTiming) and not any(timing.model_dump(exclude={"kind"}).values()):
        raise spec.source.problem(("timing",), "no pass would take any time", wanted="a coefficient above 0")


def _service_level(spec: Spec) -> None:
    slo = spec.slo
    if slo is None:
        return
    if spec.was_set("slo", "attainment") and not slo.limits_requests:
        raise spec.source.problem(
            ("slo", "attainment"),
            "never read: no limit on single requests is given",
            wanted="a number for ttft_ms, tpot_ms or e2e_ms, or it left out",
        )
    if (slo.ttft_ms, slo.tpot_ms, slo.e2e_ms) == (None, None, None):
        raise spec.source.problem(("slo",), "limits nothing", wanted="ttft_ms, tpot_ms or e2e_ms")
