"""How the GPUs of one replica share the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..spec import Spec
from ..spec.check_parallel import IN_STEP
from ..spec.engine import SglangEngine, VllmEngine
from ..units import PS_PER_MS
from .layers import Experts
from .lookup import needed
from .models import Model

PUBLISHED_EVERY_MS = 100
"""How often vLLM's coordinator publishes queue lengths (min_stats_update_interval_ms, v1/engine/coordinator.py)."""


@dataclass(frozen=True)
class Ranks:
    """Ranks of one replica that run a pass together."""

    tensor: int = 1
    """Share each layer's attention."""
    data: int = 1
    """Attention data ranks: each has requests and a cache of its own; experts are shared by all of them."""
    expert: int = 1
    """Share whole experts; 1: each rank has a slice of every expert."""
    pipeline: int = 1
    """Stages, each with its share of the layers."""

    @property
    def stage(self) -> int:
        """GPUs of one stage."""
        return self.tensor * self.data

    @property
    def expert_slices(self) -> int:
        """Ranks that share one expert."""
        return self.stage // self.expert


def in_step(spec: Spec, model: Model | None) -> bool:
    """Whether data ranks start and end each pass together.

    vLLM's do only where the model has experts (DPEngineCoreProc refuses others: vllm/v1/engine/core.py); SGLang's do
    with `enable_dp_attention` (sglang/srt/managers/scheduler_components/dp_attn.py), else each is a server of its own.
    Raises SpecError where that depends on a model that is not given.
    """
    if spec.parallel.data == 1:
        return False
    if isinstance(spec.engine, SglangEngine):
        return spec.engine.enable_dp_attention
    if model is None:
        raise needed(spec, "model", "vLLM's data ranks run in step where it has experts, and apart where it has none")
    return model.has_experts


def ranks(spec: Spec, model: Model | None) -> Ranks:
    """Those that run a pass together: data ranks that do not are as many copies of the model. Raises SpecError."""
    parallel = spec.parallel
    data = parallel.data if in_step(spec, model) else 1
    return Ranks(parallel.tensor, data, min(parallel.expert, parallel.tensor * data), parallel.pipeline)


def check_ranks(spec: Spec, model: Model | None) -> None:
    """Raises SpecError where the model cannot be shared so."""
    problem, parallel = spec.source.problem, spec.parallel
    together = in_step(spec, model)
    if parallel.expert > 1:
        _check_experts(spec, model)
    if together and isinstance(spec.engine, SglangEngine) and model is not None and not model.has_experts:
        raise problem(
            ("engine", "enable_dp_attention"),
            f"{model.name} has no experts: how ranks share its MLPs is not yet modelled",
            wanted="it left out, or a mixture of experts",
        )
    for name in IN_STEP:
        if spec.was_set("engine", name) and not together:
            raise problem(
                ("engine", name),
                "never read where data ranks do not run in step: the model has no experts",
                wanted="it left out",
            )
    if together and parallel.pipeline > 1:
        raise problem(
            ("parallel", "pipeline"),
            "pipeline stages of data ranks in step are not yet modelled: the model has experts",
            found=str(parallel.pipeline),
            wanted="1, or parallel.data: 1",
        )
    if model is not None and parallel.pipeline > model.layers:
        raise problem(("parallel", "pipeline"), f"{model.name} has {model.layers} layers", found=str(parallel.pipeline))


def _check_experts(spec: Spec, model: Model | None) -> None:
    size = spec.parallel.expert
    if model is None:
        raise needed(spec, "model", "parallel.expert shares its experts")
    counts = {layer.mlp.count for layer in model.stack if isinstance(layer.mlp, Experts)}
    if not counts:
        raise spec.source.problem(("parallel", "expert"), f"{model.name} has no experts", found=str(size), wanted="1")
    if any(count % size for count in counts):
        raise spec.source.problem(
            ("parallel", "expert"),
            f"{' and '.join(map(str, sorted(counts)))} experts cannot be shared evenly by so many ranks",
            found=str(size),
        )


def describe_data(spec: Spec, model: Model | None) -> dict[str, Any]:
    """Data ranks as the core reads them."""
    engine, together = spec.engine, in_step(spec, model)
    score = {"kind": "score", "interval_ps": PUBLISHED_EVERY_MS * PS_PER_MS}
    return {
        "ranks": spec.parallel.data,
        "in_step": together,
        "balance": score if isinstance(engine, VllmEngine) else {"kind": "round_robin"},
        "sync_passes": engine.dp_sync_interval if isinstance(engine, VllmEngine) and together else 0,
    }
