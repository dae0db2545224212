"""Where a result comes from, and how well its parts are known."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any

from .._core import __version__
from ..describe import Deployment, gpu_hour
from ..spec import Spec
from ..spec.router import PythonRouter
from ..spec.workload import TraceWorkload

if TYPE_CHECKING:
    from .._core import Trace
    from ..policy import Router


def provenance(spec: Spec, deployment: Deployment, trace: Trace, router: Router | None) -> dict[str, Any]:
    """JSON values only; the same for the same inputs, however the run was computed."""
    written = spec.model_dump(mode="json", exclude_none=True)
    hour = gpu_hour(spec, deployment.engine)
    price = {} if hour is None else {"gpu_hour": {"price": hour.price, "source": hour.source}}
    return {
        "servetwin": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "seed": spec.seed,
        "spec": written,
        "spec_sha256": hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest(),
        "workload": _workload(spec, trace),
        "engine": _engine(spec, deployment),
        "timing": {
            "kind": spec.timing.kind,
            "evidence": deployment.timing.evidence.value,
            "assumptions": deployment.timing.assumptions,
            "lowering_error_ps": deployment.lowered.error_ps,
        },
        "router": _router(spec, router),
        **price,
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


def _engine(spec: Spec, deployment: Deployment) -> dict[str, Any]:
    engine = deployment.engine
    known = {
        **engine.options,
        "rules": engine.rules,
        "kv_cache": engine.kv_cache,
        "kv_capacity": "given" if engine.memory is None else f"analytic: {engine.memory.arithmetic()}",
    }
    if spec.source.left_out:
        known["left_out"] = spec.source.left_out
    return known


def _router(spec: Spec, router: Router | None) -> dict[str, Any]:
    if router is None:
        return {"kind": spec.router.kind}
    described = {"kind": "python", "object": f"{type(router).__module__}:{type(router).__qualname__}"}
    if isinstance(spec.router, PythonRouter):
        return {**described, "interval_ms": spec.router.interval_ms, "delay_ms": spec.router.delay_ms}
    return described
