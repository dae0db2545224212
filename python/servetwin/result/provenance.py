"""Where a result comes from, and how well its parts are known."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._core import __version__
from ..describe import Deployment, PoolDeployment, gpu_hour
from ..describe_handover import describe_handover
from ..spec import Spec
from ..spec.router import PythonRouter
from ..spec.workload import TraceWorkload
from ..timing import front_end

if TYPE_CHECKING:
    from .._core import Trace
    from ..policy import Router


def provenance(
    spec: Spec,
    deployment: Deployment,
    trace: Trace,
    router: Router | None,
    pass_times: Sequence[tuple[int, int]],
) -> dict[str, Any]:
    """`pass_times`: of each pool, picoseconds of all passes, and of those beyond what was measured.

    JSON values only; the same for the same inputs, however the run was computed.
    """
    written = spec.model_dump(mode="json", exclude_none=True)
    hour = gpu_hour(spec, deployment)
    price = {} if hour is None else {"gpu_hour": {"price": hour.price, "source": hour.source}}
    return {
        "servetwin": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "seed": spec.seed,
        "spec": written,
        "spec_sha256": hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest(),
        "workload": _workload(spec, trace),
        "engine": _engine(deployment.first),
        "timing": _timing(deployment.first, pass_times[0]),
        "router": _router(deployment.first.spec, router),
        **_pools(spec, deployment, pass_times),
        **price,
    }


def _pools(spec: Spec, deployment: Deployment, pass_times: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Each pool's own, and what lies between them; nothing where all replicas are alike."""
    crossed = deployment.handover
    if crossed is None:
        return {}
    pools = {
        pool.role: {
            "replicas": pool.spec.replicas,
            "gpus": pool.spec.gpus,
            "gpu": None if pool.engine.gpu is None else pool.engine.gpu.title,
            "engine": _engine(pool),
            "timing": _timing(pool, times),
            "router": pool.spec.router.kind,
        }
        for pool, times in zip(deployment.pools, pass_times, strict=True)
    }
    described: dict[str, Any] = {"pools": []}
    describe_handover(described, spec, crossed)
    handover = described["handover"] | {"crosses": crossed.written}
    return {"pools": pools, "handover": handover}


def _timing(pool: PoolDeployment, times: tuple[int, int]) -> dict[str, Any]:
    all_ps, extrapolated_ps = times
    extrapolated = extrapolated_ps / all_ps if all_ps else 0.0
    evidence = pool.timing.evidence.value
    known = {
        "kind": pool.spec.timing.kind,
        "evidence": evidence,
        "shares": {evidence: 1 - extrapolated, "extrapolated": extrapolated} if extrapolated else {evidence: 1.0},
        "assumptions": pool.timing.assumptions,
        "lowering_error_ps": pool.lowered.error_ps,
    }
    known["front_end"] = front_end(pool.spec)
    if pool.lowered.error_share:
        known["lowering_error_share"] = round(pool.lowered.error_share, 4)
    if pool.timing.spread:
        known["spread"] = round(pool.timing.spread, 4)
    return known


def _workload(spec: Spec, trace: Trace) -> dict[str, Any]:
    kind = "trace" if isinstance(spec.workload, TraceWorkload) else spec.workload.kind
    return {
        "kind": kind,
        "requests": len(trace),
        "sha256": trace.sha256,
        "block_tokens": trace.block_tokens,
        **{name: trace.notes[name] for name in sorted(trace.notes)},
    }


def _engine(pool: PoolDeployment) -> dict[str, Any]:
    engine = pool.engine
    known = {
        **engine.options,
        "rules": engine.rules,
        "kv_cache": engine.kv_cache,
        "kv_capacity": "given" if engine.memory is None else f"analytic: {engine.memory.arithmetic()}",
    }
    if pool.spec.source.left_out:
        known["left_out"] = pool.spec.source.left_out
    return known


def _router(spec: Spec, router: Router | None) -> dict[str, Any]:
    if router is None:
        return {"kind": spec.router.kind}
    described = {"kind": "python", "object": f"{type(router).__module__}:{type(router).__qualname__}"}
    if isinstance(spec.router, PythonRouter):
        return {**described, "interval_ms": spec.router.interval_ms, "delay_ms": spec.router.delay_ms}
    return described
