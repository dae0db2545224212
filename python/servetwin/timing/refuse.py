"""Deployments that nothing was measured for: what is missing, and the nearest that is there."""

from __future__ import annotations

from ..catalog import GPUS, Gpu, Model, ResolvedEngine
from ..catalog.parallel import Ranks, ranks
from ..catalog.stages import link_domain
from ..errors import SpecError
from ..spec import Spec
from .composed import lacking
from .operators import basis
from .priced import ASSUMED_EFFICIENCY

NEAREST = 4
"""GPUs that are named in the place of one that will not do."""


def check_links(spec: Spec, engine: ResolvedEngine) -> None:
    """Raises SpecError where ranks of a pipeline stage do not reach each other directly."""
    assert engine.gpu is not None
    stage, domain = ranks(spec, engine.model).stage, link_domain(spec, engine.gpu)
    if stage > domain:
        raise spec.source.problem(
            ("parallel", "tensor" if spec.parallel.tensor > domain else "data"),
            f"{stage} ranks do not fit into one domain of {domain} joined by {engine.gpu.link.name}; "
            "collectives beyond it were not measured and are not modelled",
            wanted=f"at most {domain} in a stage (parallel.pipeline joins more), or another kind of timing",
        )


def no_basis(spec: Spec, engine: ResolvedEngine, missing: list[str]) -> SpecError:
    assert engine.model is not None
    assert engine.gpu is not None
    there = _nearest(engine.model, engine.gpu, ranks(spec, engine.model), engine)
    nearest = f"a GPU where all was measured ({', '.join(there)}), " if there else "another format of the weights, "
    return spec.source.problem(
        ("timing",),
        f"nothing was measured on {engine.gpu.title}: {'; '.join(missing)}",
        found=f"{engine.model.name} on {engine.gpu.name}",
        wanted=f"{nearest}timing of your own (kind table or linear), or --allow-extrapolation, which takes "
        f"{ASSUMED_EFFICIENCY:.0%} of the roofline for what is missing",
    )


def without_effect(spec: Spec, option: str, why: str) -> SpecError:
    """Of an option of the timing."""
    return spec.source.problem(("timing", option), f"without effect: {why}", wanted="it left out")


def check_experts(spec: Spec, model: Model, shared: Ranks, exchange: str) -> None:
    """Raises SpecError for options of experts that have no effect, or that their placement does not allow."""
    if spec.was_set("timing", "expert_skew") and not model.has_experts:
        raise without_effect(spec, "expert_skew", f"{model.name} has no experts")
    if spec.was_set("timing", "expert_exchange") and (shared.data == 1 or not model.has_experts):
        raise without_effect(spec, "expert_exchange", "no data ranks bring tokens to experts")
    if exchange == "deepep" and shared.expert != shared.stage:
        raise spec.source.problem(
            ("parallel", "expert"),
            "DeepEP brings tokens to whole experts, one share of them on each rank",
            found=str(shared.expert),
            wanted=f"{shared.stage}, or timing.expert_exchange: gather",
        )


def check_without_effect(spec: Spec, why: str) -> None:
    """Raises SpecError for options that only passes composed of operators read."""
    for option in ("allow_extrapolation", "expert_skew", "expert_exchange"):
        if spec.was_set("timing", option):
            raise without_effect(spec, option, f"{why}, which makes it a roofline")


def _nearest(model: Model, gpu: Gpu, shared: Ranks, engine: ResolvedEngine) -> list[str]:
    """By memory rate, the closest first."""
    measured = [one for one in GPUS.values() if basis(one.name) == one.name]
    fit = [one for one in measured if not lacking(model, one, shared, engine.stored)]
    return [one.name for one in sorted(fit, key=lambda one: _apart(one, gpu))][:NEAREST]


def _apart(one: Gpu, other: Gpu) -> float:
    rate, wanted = one.memory_bytes_per_s, other.memory_bytes_per_s
    return max(rate / wanted, wanted / rate)
