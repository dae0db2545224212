"""The model that a spec asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from ..catalog import ResolvedEngine
from ..catalog.engine import check_fp8
from ..catalog.parallel import ranks
from ..catalog.stages import Stage, stages
from ..spec import Spec
from ..spec.timing import (
    AiconfiguratorTiming,
    AnalyticTiming,
    HostTiming,
    LinearTiming,
    PolynomialTiming,
    ProfileTiming,
    TableTiming,
    Timing,
)
from ..units import HORIZON_PS
from .base import Lowered, PassLimits, TimingModel
from .calibrated import Calibrated
from .composed import SKEW, Composed, lacking
from .curves_model import Curves, CurvesModel, OfStage
from .effective import base_timing, spec_profile
from .graphs import captured
from .host import Host, Launches
from .linear import Linear
from .operators import basis
from .polynomial import Polynomial
from .refuse import check_experts, check_links, check_without_effect, no_basis, without_effect
from .roofline import Roofline
from .terms import balance_tokens

COMPUTE_EFFICIENCY, MEMORY_EFFICIENCY = 0.7, 0.8
"""Of a roofline, where none is given."""


@dataclass(frozen=True)
class StageModels:
    """How long a pass stays in each stage of a replica; in the only one where there is no pipeline."""

    kinds: tuple[TimingModel, ...]
    """Each once; the first is that of the first stage."""
    stages: tuple[int, ...]
    """Of each stage, its kind."""


def stage_models(spec: Spec, engine: ResolvedEngine) -> StageModels:
    """Raises SpecError as `timing_model` does. A timing that is given is that of each stage."""
    count = spec.parallel.pipeline
    prices_layers = isinstance(base_timing(spec), AnalyticTiming | AiconfiguratorTiming)
    if count == 1 or not prices_layers or engine.model is None or engine.gpu is None:
        return StageModels((timing_model(spec, engine),), (0,) * count)
    every = stages(spec, engine.model, engine.gpu)
    kinds = list(dict.fromkeys(every))
    models = tuple(timing_model(spec, engine, stage) for stage in kinds)
    return StageModels(models, tuple(kinds.index(stage) for stage in every))


def timing_model(spec: Spec, engine: ResolvedEngine, stage: Stage | None = None) -> TimingModel:
    """Of a pass, or of its way through one stage. Raises SpecError where the model needs something the spec does not
    give."""
    options = base_timing(spec)
    model = _model(spec, engine, options, stage)
    if isinstance(spec.timing, ProfileTiming):
        profile, _ = spec_profile(spec, spec.timing)
        assert isinstance(options, HostTiming)
        later = stage is not None and not stage.is_first
        model = Calibrated(model, profile, profile.values, options.host_ms, balance_tokens(engine), later)
    _check_graphs(spec, model)
    return model


def _model(spec: Spec, engine: ResolvedEngine, options: Timing, stage: Stage | None) -> TimingModel:
    match options:
        case LinearTiming():
            return Linear(spec, options)
        case PolynomialTiming():
            return Polynomial()
        case AiconfiguratorTiming():
            from .aiconfigurator import aiconfigurator

            return _curves(spec, engine, aiconfigurator(spec, engine, options), options, stage)
        case AnalyticTiming():
            return _analytic(spec, engine, options, stage)
        case TableTiming():
            from .table import table_model

            return table_model(spec, engine, options, host(options), captured(spec, engine))
        case ProfileTiming():
            raise AssertionError("a profile stands on another timing")
        case _:
            assert_never(options)


def _check_graphs(spec: Spec, model: TimingModel) -> None:
    """Raises SpecError for options of CUDA graphs where the model does not know what they change."""
    if getattr(model, "layers", 0) > 0:
        return
    launches = [("timing", name) for name in ("eager_layer_us", "piecewise_layer_us")]
    for path in [*launches, *(("engine", name) for name in spec.engine.graph_options)]:
        if spec.was_set(*path):
            rough = "a roofline" if isinstance(model, Roofline) else f"timing of kind {spec.timing.kind}"
            raise spec.source.problem(
                path,
                f"without effect: {rough} does not tell passes in CUDA graphs from others",
                wanted="it left out, or timing of kind analytic on a GPU with measured operators",
            )


def _curves(
    spec: Spec, engine: ResolvedEngine, curves: Curves, options: HostTiming, stage: Stage | None
) -> CurvesModel:
    model = engine.model
    assert model is not None
    layers = model.layers
    if stage is not None:
        curves = OfStage(curves, stage, stage.layers / layers, model.hidden, spec.parallel.tensor)
        layers = stage.layers
    return CurvesModel(curves, host(options, stage), captured(spec, engine), layers)


def _composed(spec: Spec, engine: ResolvedEngine, curves: Composed, options: AnalyticTiming) -> CurvesModel:
    return CurvesModel(curves, host(options, curves.stage), captured(spec, engine), curves.stage_layers)


def host(options: HostTiming, stage: Stage | None = None) -> Host:
    """The host prepares a pass for later stages while it is in the first, but launches each stage's kernels."""
    own = Host(options.host_ms, options.host_row_us, Launches(options.eager_layer_us, options.piecewise_layer_us))
    return own if stage is None or stage.is_first else replace(own, pass_ms=0.0, row_us=0.0)


def pass_limits(engine: ResolvedEngine) -> PassLimits:
    return PassLimits(
        tokens=engine.pass_tokens,
        rows=engine.rows,
        length=engine.request_tokens,
        cache_tokens=engine.blocks * engine.block_tokens,
    )


def lower(spec: Spec, model: TimingModel, limits: PassLimits) -> Lowered:
    """The model in integers. Raises SpecError if one pass could outlast the longest run."""
    lowered = model.lower(limits)
    if lowered.greatest_ps > HORIZON_PS:
        raise spec.source.problem(
            ("timing",), "one pass as large as the engine allows would last over 100 days", wanted="smaller figures"
        )
    return lowered


def _analytic(
    spec: Spec, engine: ResolvedEngine, options: AnalyticTiming, stage: Stage | None
) -> CurvesModel | Roofline:
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
    missing = lacking(engine.model, engine.gpu, ranks(spec, engine.model), engine.stored)
    if missing and not options.allow_extrapolation:
        if basis(engine.gpu.name) is None and not engine.model.beyond_roofline():
            check_without_effect(spec, f"nothing was measured on {engine.gpu.title}")
            return _roofline(spec, engine, options, stage)
        raise no_basis(spec, engine, missing)
    if options.allow_extrapolation and not missing:
        raise without_effect(spec, "allow_extrapolation", "everything was measured")
    shared = ranks(spec, engine.model)
    check_experts(spec, engine.model, shared, options.expert_exchange)
    skew = SKEW if options.expert_skew is None else options.expert_skew
    curves = Composed(engine.model, engine.gpu, shared, engine.stored, engine.kv, skew, options.expert_exchange, stage)
    return _composed(spec, engine, curves, options)


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
