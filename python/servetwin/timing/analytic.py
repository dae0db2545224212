"""Timing of kind `analytic`: passes composed of operators, or a roofline of whole passes where nothing was measured."""

from __future__ import annotations

from ..catalog import ResolvedEngine
from ..catalog.engine import check_fp8
from ..catalog.parallel import ranks
from ..catalog.stages import Stage
from ..spec import Spec
from ..spec.timing import AnalyticTiming, HostTiming
from .base import COMPUTE_EFFICIENCY, MEMORY_EFFICIENCY
from .composed import SKEW, Composed, lacking
from .curves_model import Curves, CurvesModel, OfStage
from .graphs import captured
from .host import host
from .operators import basis
from .refuse import check_experts, check_links, check_without_effect, no_basis, without_effect
from .roofline import Roofline


def analytic(
    spec: Spec, engine: ResolvedEngine, options: AnalyticTiming, stage: Stage | None
) -> CurvesModel | Roofline:
    """Of a pass, or of its way through one stage. Raises SpecError where nothing was measured of what it needs."""
    if engine.model is None or engine.gpu is None:
        field = "model" if engine.model is None else "gpu"
        raise spec.source.problem(
            (field,),
            "missing: timing of kind analytic (the default) computes from model and gpu",
            wanted="model and gpu, or another timing, such as `timing: polynomial`",
        )
    check_fp8(spec, engine.gpu)
    check_links(spec, engine)
    given = options.compute_efficiency is not None or options.memory_efficiency is not None
    if given:
        check_without_effect(spec, "an efficiency of the whole pass is given")
        return _roofline(spec, engine, options, stage)
    shared = ranks(spec, engine.model)
    missing = lacking(engine.model, engine.gpu, shared, engine.stored)
    if missing and not options.allow_extrapolation:
        if basis(engine.gpu.name) is None and not engine.model.beyond_roofline():
            check_without_effect(spec, f"nothing was measured on {engine.gpu.title}")
            return _roofline(spec, engine, options, stage)
        raise no_basis(spec, engine, missing)
    if options.allow_extrapolation and not missing:
        raise without_effect(spec, "allow_extrapolation", "everything was measured")
    check_experts(spec, engine.model, shared, options.expert_exchange)
    skew = SKEW if options.expert_skew is None else options.expert_skew
    kernels = Composed(engine.model, engine.gpu, shared, engine.stored, engine.kv, skew, options.expert_exchange, stage)
    return CurvesModel(kernels, host(options, stage), captured(spec, engine), kernels.stage_layers)


def _roofline(spec: Spec, engine: ResolvedEngine, options: AnalyticTiming, stage: Stage | None) -> Roofline:
    """Raises SpecError for a model that it does not price."""
    assert engine.model is not None
    assert engine.gpu is not None
    beyond = engine.model.beyond_roofline()
    if beyond:
        raise spec.source.problem(
            ("timing",),
            f"a roofline of whole passes does not price {', '.join(beyond)}",
            found=engine.model.name,
            wanted="no efficiencies, so that operators are priced each by itself; or timing of your own",
        )
    return Roofline(
        engine.model,
        engine.gpu,
        spec.parallel.tensor,
        engine.stored,
        engine.kv,
        options.compute_efficiency or COMPUTE_EFFICIENCY,
        options.memory_efficiency or MEMORY_EFFICIENCY,
        host(options, stage),
        stage,
    )


def curves(
    spec: Spec, engine: ResolvedEngine, kernels: Curves, options: HostTiming, stage: Stage | None
) -> CurvesModel:
    """Kernels summed elsewhere, with what the host and CUDA graphs add."""
    model = engine.model
    assert model is not None
    layers = model.layers
    if stage is not None:
        kernels = OfStage(kernels, stage, stage.layers / layers, model.hidden, spec.parallel.tensor)
        layers = stage.layers
    return CurvesModel(kernels, host(options, stage), captured(spec, engine), layers)
