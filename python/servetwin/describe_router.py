"""A spec's router as the core reads it."""

from __future__ import annotations

from typing import Any

from .catalog import ResolvedEngine
from .spec import Spec
from .spec.router import (
    CacheAwareRouter,
    ConsistentHashingRouter,
    KvAwareRouter,
    LlmDRouter,
    PowerOfTwoRouter,
    PythonRouter,
    Router,
    SessionAffinityRouter,
    Several,
)
from .units import PS_PER_MS, PS_PER_S, nearest_ps


def describe_router(spec: Spec, engine: ResolvedEngine, *, own_router: bool) -> dict[str, Any]:
    """`own_router`: an object is given beside the spec, whatever it names."""
    router = spec.router
    if own_router and not isinstance(router, PythonRouter):
        return {"kind": "python", "interval_ps": 0, "delay_ps": 0}
    options = router.model_dump(exclude={"instances", "deal"})
    match router:
        case PythonRouter():
            return {"kind": "python", **_telemetry(router)}
        case PowerOfTwoRouter():
            return {"kind": router.kind, "telemetry": _telemetry(router) if router.load == "tokens" else None}
        case SessionAffinityRouter():
            _in_ps(options, "max_idle", "eviction_interval")
        case ConsistentHashingRouter():
            options["prefix_tokens"] = options.pop("prefix_token_count")
        case CacheAwareRouter():
            _in_ps(options, "eviction_interval")
        case LlmDRouter():
            if router.lru_capacity_per_server is None:  # llm-d asks the engine
                options["lru_capacity_per_server"] = engine.blocks
            options = {name: value for name, value in options.items() if not name.endswith("_ms")}
            options |= _telemetry(router)
        case KvAwareRouter():
            _in_ps(options, "ttl")
            if not router.track_prefill_tokens:
                options["queue_threshold"] = None
        case _:
            pass
    return options


def describe_instances(router: Router, *, own_router: bool) -> dict[str, Any]:
    """How many of the router there are, and how requests come to them."""
    if own_router or not isinstance(router, Several):
        return {"count": 1, "deal": "round_robin"}
    return {"count": router.instances, "deal": router.deal}


def _telemetry(router: PythonRouter | PowerOfTwoRouter | LlmDRouter) -> dict[str, int]:
    return {
        "interval_ps": nearest_ps(router.interval_ms, PS_PER_MS),
        "delay_ps": nearest_ps(router.delay_ms, PS_PER_MS),
    }


def _in_ps(options: dict[str, Any], *names: str) -> None:
    for name in names:
        options[f"{name}_ps"] = nearest_ps(options.pop(f"{name}_secs"), PS_PER_S)
