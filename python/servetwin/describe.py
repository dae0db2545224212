"""A spec as the core reads it: integers only, every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .catalog import ResolvedEngine, describe_data, resolve_engine
from .describe_handover import Network, describe_handover, network
from .describe_router import describe_instances, describe_router
from .spec import Spec
from .timing import (
    Lowered,
    StageModels,
    TimingModel,
    front_end,
    lower,
    pass_limits,
    stage_models,
    with_drafting,
)
from .units import PS_PER_MS, PS_PER_S, PS_PER_US, nearest_ps

if TYPE_CHECKING:
    from .timing.draws import ErrorDraw


@dataclass(frozen=True)
class PoolDeployment:
    """What a pool resolves to."""

    role: str
    spec: Spec
    """As the pool sees it."""
    engine: ResolvedEngine
    timing: TimingModel
    lowered: Lowered
    later: tuple[tuple[TimingModel, Lowered], ...] = ()
    """Of a pipeline, the same of each kind of stage but that of the first stage."""
    stages: tuple[int, ...] = ()
    """Of a pipeline, the kind of each stage; 0 is that of the first."""


@dataclass(frozen=True)
class Deployment:
    """What a spec resolves to, before it meets its workload: one pool, or one for prompts and one that decodes."""

    pools: tuple[PoolDeployment, ...]
    handover: Network | None

    @property
    def first(self) -> PoolDeployment:
        """Where requests arrive."""
        return self.pools[0]


def resolve(spec: Spec) -> Deployment:
    """Everything that can be checked and derived without the workload. Raises SpecError."""
    pools = []
    for role, seen in spec.by_pool.items():
        engine = resolve_engine(seen, role)
        pools.append(_pool_deployment(role, seen, engine, stage_models(seen, engine)))
    handover = None if spec.pools is None else network(spec, {pool.role: pool.engine for pool in pools})
    return Deployment(tuple(pools), handover)


def with_error(deployment: Deployment, draw: ErrorDraw) -> Deployment:
    """The same, its pass times drawn from what is known of their errors. Raises SpecError as `resolve` does."""
    from .timing.draws import drawn

    pools = []
    for pool in deployment.pools:
        kinds = [pool.timing, *(timing for timing, _ in pool.later)]
        models = [drawn(timing, draw) for timing in kinds]
        if any(model is not timing for model, timing in zip(models, kinds, strict=True)):
            pool = _pool_deployment(pool.role, pool.spec, pool.engine, StageModels(tuple(models), pool.stages))
        pools.append(pool)
    return replace(deployment, pools=tuple(pools))


def _pool_deployment(role: str, spec: Spec, engine: ResolvedEngine, models: StageModels) -> PoolDeployment:
    first, *later = ((timing, _lowered(spec, engine, timing)) for timing in models.kinds)
    return PoolDeployment(role, spec, engine, *first, tuple(later), models.stages if len(models.stages) > 1 else ())


def _lowered(spec: Spec, engine: ResolvedEngine, timing: TimingModel) -> Lowered:
    limits = pass_limits(engine)
    return with_drafting(spec, engine, lower(spec, timing, limits), limits)


def run_description(spec: Spec, deployment: Deployment, *, leap: bool, own_router: bool) -> dict[str, Any]:
    """The core's configuration of a run. `own_router`: an object is given beside it, whatever the spec names."""
    described: dict[str, Any] = {
        "pools": [_pool(pool, own_router=own_router and pool is deployment.first) for pool in deployment.pools],
        "front": _front(deployment),
        "seed": spec.seed,
        "leap": leap,
        "stall_passes": spec.stall_passes,
        "users": spec.users,
        "check_admission": True,
        "max_passes": None,
        "series_interval_ps": max(nearest_ps(spec.metrics.series_interval, PS_PER_S), 1),
        "record": {"passes": False, "block_ids": False},
    }
    if deployment.handover is not None:
        describe_handover(described, spec, deployment.handover)
        _describe_own_front(described, spec)
    return described


def _front(deployment: Deployment) -> dict[str, int]:
    """The front end: that of the pool where requests arrive."""
    return _in_ps(front_end(deployment.first.spec))


def _describe_own_front(described: dict[str, Any], spec: Spec) -> None:
    """What the decode pool's servers take themselves, where its own timing says so; tokens leave by them."""
    own = frozenset() if spec.pools is None else spec.pools.decode.own_front
    takes = front_end(spec.by_pool["decode"])
    front = _in_ps({name: value if name in own else 0.0 for name, value in takes.items()})
    stream_ps = front.pop("stream_ps")
    described["pools"][1]["front"] = front
    if "stream_ms" in own:
        described["front"]["stream_ps"] = stream_ps


def _in_ps(takes: Mapping[str, float]) -> dict[str, int]:
    return {
        "request_ps": nearest_ps(takes["request_ms"], PS_PER_MS),
        "prompt_token_ps": nearest_ps(takes["prompt_token_us"], PS_PER_US),
        "stream_ps": nearest_ps(takes["stream_ms"], PS_PER_MS),
    }


def _pool(pool: PoolDeployment, *, own_router: bool) -> dict[str, Any]:
    return {
        "role": pool.role,
        "replicas": pool.spec.replicas,
        "engine": dict(pool.engine.options),
        "step_time": pool.lowered.description,
        "data": describe_data(pool.spec, pool.engine.model),
        "pipeline": _pipeline(pool),
        "router": describe_router(pool.spec, pool.engine, own_router=own_router),
        "instances": describe_instances(pool.spec.router, own_router=own_router),
    }


def _pipeline(pool: PoolDeployment) -> dict[str, Any] | None:
    if not pool.stages:
        return None
    kinds = [pool.lowered, *(lowered for _, lowered in pool.later)]
    return {"kinds": [lowered.description for lowered in kinds], "stages": list(pool.stages)}


@dataclass(frozen=True)
class GpuHour:
    """What a GPU costs for an hour, and who says so."""

    price: float
    source: str


def gpu_hour(spec: Spec, deployment: Deployment) -> GpuHour | None:
    """As given, else as the catalog lists the GPUs, on average over all; None where neither says."""
    if spec.cluster is not None and spec.cluster.gpu_price_per_hour is not None:
        return GpuHour(spec.cluster.gpu_price_per_hour, "given")
    total, sources = 0.0, []
    for pool in deployment.pools:
        listed = None if pool.engine.gpu is None else pool.engine.gpu.price
        if listed is None:
            return None
        total += listed.usd * pool.spec.gpus
        source = f"US dollars: {listed.source}, {listed.date}"
        sources += [source] if source not in sources else []
    return GpuHour(total / spec.gpus, "; ".join(sources))


def summary_options(spec: Spec, deployment: Deployment) -> dict[str, Any]:
    """What the core needs to compute the metrics."""
    hour = gpu_hour(spec, deployment)
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
        "kv_blocks": sum(
            pool.engine.blocks * pool.spec.replicas * pool.spec.parallel.data for pool in deployment.pools
        ),
        "gpu_price_per_hour": None if hour is None else hour.price,
        "slo": slo,
    }
