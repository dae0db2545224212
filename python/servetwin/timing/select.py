"""The model that a spec asks for, and nothing of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from ..catalog import ResolvedEngine
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
from .effective import base_timing, spec_profile

if TYPE_CHECKING:
    from ..catalog.stages import Stage


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
    from ..catalog.stages import stages

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
        from .calibrated import Calibrated
        from .terms import balance_tokens

        profile, _ = spec_profile(spec, spec.timing)
        assert isinstance(options, HostTiming)
        later = stage is not None and not stage.is_first
        model = Calibrated(model, profile, profile.values, options.host_ms, balance_tokens(engine), later)
    _check_graphs(spec, model)
    return model


def _model(spec: Spec, engine: ResolvedEngine, options: Timing, stage: Stage | None) -> TimingModel:
    # Each kind imports what it computes with: that of the others is a tenth of a short run.
    match options:
        case LinearTiming():
            from .linear import Linear

            return Linear(spec, options)
        case PolynomialTiming():
            from .polynomial import Polynomial

            return Polynomial()
        case AiconfiguratorTiming():
            from .aiconfigurator import aiconfigurator
            from .analytic import curves

            return curves(spec, engine, aiconfigurator(spec, engine, options), options, stage)
        case AnalyticTiming():
            from .analytic import analytic

            return analytic(spec, engine, options, stage)
        case TableTiming():
            from .graphs import captured
            from .host import host
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
            rough = "a roofline" if isinstance(spec.timing, AnalyticTiming) else f"timing of kind {spec.timing.kind}"
            raise spec.source.problem(
                path,
                f"without effect: {rough} does not tell passes in CUDA graphs from others",
                wanted="it left out, or timing of kind analytic on a GPU with measured operators",
            )


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
