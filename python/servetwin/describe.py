"""A spec as the core reads it: integers only, every default filled in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .catalog import ResolvedEngine, resolve_engine
from .describe_router import describe_instances, describe_router
from .spec import Spec
from .timing import Lowered, TimingModel, lower, pass_limits, timing_model
from .units import PS_PER_S, nearest_ps


@dataclass(frozen=True)
class Deployment:
    """What a spec resolves to, before it meets its workload."""

    engine: ResolvedEngine
    timing: TimingModel
    lowered: Lowered


def resolve(spec: Spec) -> Deployment:
    """Everything that can be checked and derived without the workload. Raises SpecError."""
    engine = resolve_engine(spec)
    timing = timing_model(spec, engine)
    return Deployment(engine, timing, lower(spec, timing, pass_limits(engine)))


def run_description(spec: Spec, deployment: Deployment, *, leap: bool, own_router: bool) -> dict[str, Any]:
    """The core's configuration of a run. `own_router`: an object is given beside it, whatever the spec names."""
    return {
        "pools": [
            {
                "role": "aggregated",
                "replicas": spec.replicas,
                "engine": dict(deployment.engine.options),
                "step_time": deployment.lowered.description,
                "router": describe_router(spec, deployment.engine, own_router=own_router),
                "instances": describe_instances(spec.router, own_router=own_router),
            }
        ],
        "seed": spec.seed,
        "leap": leap,
        "stall_passes": spec.stall_passes,
        "users": spec.users,
        "check_admission": True,
        "max_passes": None,
        "series_interval_ps": max(nearest_ps(spec.metrics.series_interval, PS_PER_S), 1),
        "record": {"passes": False, "block_ids": False},
    }


@dataclass(frozen=True)
class GpuHour:
    """What a GPU costs for an hour, and who says so."""

    price: float
    source: str


def gpu_hour(spec: Spec, engine: ResolvedEngine) -> GpuHour | None:
    """As given, else as the catalog lists the GPU; None where neither says."""
    if spec.cluster is not None and spec.cluster.gpu_price_per_hour is not None:
        return GpuHour(spec.cluster.gpu_price_per_hour, "given")
    listed = None if engine.gpu is None else engine.gpu.price
    return None if listed is None else GpuHour(listed.usd, f"US dollars: {listed.source}, {listed.date}")


def summary_options(spec: Spec, deployment: Deployment) -> dict[str, Any]:
    """What the core needs to compute the metrics."""
    hour = gpu_hour(spec, deployment.engine)
    window = spec.metrics.window
    slo = None
    if spec.slo is not None:
        slo = spec.slo.model_dump(exclude_none=True)
        if not spec.slo.limits_requests:
            slo.pop("attainment")
    return {
        "warmup_ps": nearest_ps(spec.metrics.warmup, PS_PER_S),
        "window_ps": None if window is None else nearest_ps(window, PS_PER_S),
        "gpus": spec.gpus,
        "kv_blocks": deployment.engine.blocks * spec.replicas,
        "gpu_price_per_hour": None if hour is None else hour.price,
        "slo": slo,
    }
