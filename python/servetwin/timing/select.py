"""The model that a spec asks for."""

from __future__ import annotations

from typing import assert_never

from ..catalog import Gpu, ResolvedEngine
from ..catalog.engine import check_fp8
from ..catalog.parallel import ranks
from ..spec import Spec
from ..spec.timing import (
    AiconfiguratorTiming,
    AnalyticTiming,
    HostTiming,
    LinearTiming,
    PolynomialTiming,
    TableTiming,
)
from ..units import HORIZON_PS
from .base import Lowered, PassLimits, TimingModel
from .composed import Composed, lacking
from .composed_model import ComposedModel
from .graphs import captured
from .host import Host, Launches
from .linear import Linear
from .polynomial import Polynomial
from .roofline import Roofline

COMPUTE_EFFICIENCY, MEMORY_EFFICIENCY = 0.7, 0.8
"""Of a roofline, where none is given."""

MACHINE = 8
"""GPUs of the largest machine; links that join more join a rack."""


def timing_model(spec: Spec, engine: ResolvedEngine) -> TimingModel:
    """Raises SpecError where the model needs something the spec does not give."""
    model = _model(spec, engine)
    _check_graphs(spec, model)
    return model


def _model(spec: Spec, engine: ResolvedEngine) -> TimingModel:
    options = spec.timing
    match options:
        case LinearTiming():
            return Linear(spec, options)
        case PolynomialTiming():
            return Polynomial()
        case AiconfiguratorTiming():
            from .aiconfigurator import aiconfigurator

            return ComposedModel(aiconfigurator(spec, engine, options), host(options), captured(spec, engine))
        case AnalyticTiming():
            return _analytic(spec, engine, options)
        case TableTiming():
            from .table import table_model

            return table_model(spec, engine, options, host(options), captured(spec, engine))
        case _:
            assert_never(options)


def _check_graphs(spec: Spec, model: TimingModel) -> None:
    """Raises SpecError for options of CUDA graphs where the model does not know what they change."""
    if isinstance(model, ComposedModel) or getattr(model, "layers", 0) > 0:
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


def host(options: HostTiming) -> Host:
    return Host(options.host_ms, options.host_row_us, Launches(options.eager_layer_us, options.piecewise_layer_us))


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


def _analytic(spec: Spec, engine: ResolvedEngine, options: AnalyticTiming) -> ComposedModel | Roofline:
    if engine.model is None or engine.gpu is None:
        field = "model" if engine.model is None else "gpu"
        raise spec.source.problem(
            (field,),
            "missing: timing of kind analytic (the default) computes from model and gpu",
            wanted="model and gpu, or another timing, such as `timing: polynomial`",
        )
    check_fp8(spec, engine.gpu)
    given = options.compute_efficiency is not None or options.memory_efficiency is not None
    missing = lacking(engine.model, engine.gpu, ranks(spec), engine.stored)
    beyond = engine.model.beyond_roofline()
    if beyond and (given or missing):
        raise spec.source.problem(
            ("timing",),
            f"analytic does not yet price {', '.join(beyond)}",
            found=engine.model.name,
            wanted="timing of your own, such as `timing: {kind: linear, …}`, or a dense model",
        )
    domain = _link_domain(spec, engine.gpu)
    if spec.parallel.tensor > domain:
        raise spec.source.problem(
            ("parallel", "tensor"),
            f"{spec.parallel.tensor} ranks do not fit into one domain of {domain} joined by {engine.gpu.link.name}; "
            "all-reduces beyond it are not yet modelled",
            wanted=f"at most {domain}, or another kind of timing",
        )
    model, gpu, tensor = engine.model, engine.gpu, spec.parallel.tensor
    if not given and not missing:
        curves = Composed(model, gpu, ranks(spec), engine.stored, engine.kv)
        return ComposedModel(curves, host(options), captured(spec, engine))
    return Roofline(
        model,
        gpu,
        tensor,
        engine.stored,
        engine.kv,
        options.compute_efficiency or COMPUTE_EFFICIENCY,
        options.memory_efficiency or MEMORY_EFFICIENCY,
        host(options),
    )


def _link_domain(spec: Spec, gpu: Gpu) -> int:
    """GPUs that reach each other directly: those of a machine, unless a rack joins more, or its links fewer."""
    if spec.cluster is None:
        return gpu.link.domain
    if spec.cluster.nvlink_domain is not None:
        return spec.cluster.nvlink_domain
    rack = gpu.link.domain > MACHINE
    return gpu.link.domain if rack else min(gpu.link.domain, spec.cluster.gpus_per_node)
