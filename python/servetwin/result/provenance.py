"""Where a result comes from, and how well its parts are known."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any

from .._core import __version__
from ..describe import Deployment, PoolDeployment, gpu_hour
from ..describe_handover import describe_handover
from ..spec import Spec
from ..spec.router import PythonRouter
from ..spec.workload import TraceWorkload

if TYPE_CHECKING:
    from .._core import Trace
    from ..policy import Router


def provenance(spec: Spec, deployment: Deployment, trace: Trace, router: Router | None) -> dict[str, Any]:
    """JSON values only; the same for the same inputs, however the run was computed."""
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
        "timing": _timing(deployment.first),
        "router": _router(deployment.first.spec, router),
        **_pools(spec, deployment),
        **price,
    }


def _pools(spec: Spec, deployment: Deployment) -> dict[str, Any]:
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
            "timing": _timing(pool),
            "router": pool.spec.router.kind,
        }
        for pool in deployment.pools
    }
    described: dict[str, Any] = {"pools": []}
    describe_handover(described, spec, crossed)
    handover = described["handover"] | {"crosses": crossed.written}
    return {"pools": pools, "handover": handover}


def _timing(pool: PoolDeployment) -> dict[str, Any]:
    return {
        "kind": pool.spec.timing.kind,
        "evidence": pool.timing.evidence.value,
        "assumptions": pool.timing.assumptions,
        "lowering_error_ps": pool.lowered.error_ps,
    }


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
