"""Checks across fields that need nothing but the spec: options without effect, and what is not modelled."""

from __future__ import annotations

from .check_engine import check_engine
from .check_parallel import check_parallel
from .check_pools import check_pools
from .check_router import check_router
from .check_sglang import check_sglang_pools
from .check_speculation import check_speculation
from .check_tiers import check_tiers
from .deployment import Spec
from .timing import LinearTiming
from .traffic import Generated, OpenLoop
from .workload import LikeWorkload

SHARES_TOLERANCE = 1e-6
"""Decimals that somebody typed: they add up but for rounding."""


def check(spec: Spec) -> None:
    """Raises SpecError for the first thing wrong."""
    for name, pool in spec.by_pool.items():
        check_parallel(pool)
        check_engine(pool)
        check_speculation(pool)
        check_router(pool)
        check_tiers(pool, name)
        _timing(pool)
    check_pools(spec)
    check_sglang_pools(spec)
    _cluster(spec)
    _workload(spec)
    _service_level(spec)


def _cluster(spec: Spec) -> None:
    cluster = spec.cluster
    if cluster is None or spec.gpus <= cluster.nodes * cluster.gpus_per_node:
        return
    pools = spec.by_pool.values()
    needs = " and ".join(f"{_count(pool.replicas, 'replica')} of {_count(pool.parallel.gpus, 'GPU')}" for pool in pools)
    raise spec.source.problem(
        ("replicas",) if spec.pools is None else ("pools",),
        f"more GPUs than the cluster has: {needs} need {spec.gpus}, and it has "
        f"{cluster.nodes} × {cluster.gpus_per_node} = {cluster.nodes * cluster.gpus_per_node}",
        wanted="fewer replicas, or more cluster.nodes",
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number > 1)}"


def _workload(spec: Spec) -> None:
    workload, problem = spec.workload, spec.source.problem
    if isinstance(workload, Generated):
        _generated(spec, workload)
    if isinstance(workload, LikeWorkload) and workload.requests is None and workload.duration_s is None:
        raise problem(("workload", "requests"), "missing", wanted="it, or duration_s, or both")
    for index, step in enumerate(workload.transforms if spec.users is not None else ()):
        for name in ("speedup", "window"):
            if getattr(step, name) is not None:
                raise problem(
                    ("workload", "transforms", index, name),
                    "never read with users: a closed loop has no arrival times",
                    wanted="it left out",
                )


def _generated(spec: Spec, workload: Generated) -> None:
    problem = spec.source.problem
    if workload.requests is None:
        if not isinstance(workload, OpenLoop):
            raise problem(("workload", "requests"), "missing")
        if workload.duration_s is None:
            raise problem(("workload", "requests"), "missing", wanted="it, or duration_s, or both")
    if workload.classes is None:
        for name in ("input_tokens", "output_tokens"):
            if getattr(workload, name) is None:
                raise problem(("workload", name), "missing", wanted="it, or classes that have their own")
        return
    for name in ("input_tokens", "output_tokens", "max_output_tokens", "prefix", "sessions"):
        if getattr(workload, name) is not None:
            raise problem(("workload", name), "never read beside classes, which have their own", wanted="it left out")
    shares = sum(traffic.share for traffic in workload.classes.values())
    if abs(shares - 1) > SHARES_TOLERANCE:
        raise problem(("workload", "classes"), f"the shares add up to {shares:g}", wanted="1 in all")


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
