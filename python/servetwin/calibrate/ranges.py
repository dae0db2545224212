"""What each term may be, and what is known of it before anything is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..catalog import ResolvedEngine
from ..catalog.stages import Stage, stage_layers
from ..reference import Affine, Features, Tabulated
from ..reference.lowered import step_time
from ..spec import Spec
from ..timing.base import PassLimits
from ..timing.host import Host, Launches
from ..timing.roofline import Roofline
from ..timing.select import pass_limits
from ..timing.terms import (
    ATTENTION,
    COMPUTE,
    HOST,
    LONGEST,
    MEMORY,
    REQUEST,
    balance_tokens,
    computed_share,
    factors_of,
)
from .runs import Simulator
from .solve import Unknown

PRIOR = 0.25
"""Of a factor's logarithm: models of GPUs that were measured are seldom off by a third."""
LOWEST, HIGHEST = 0.4, 2.5
"""Of a factor, where physics says no more."""
LONGEST_PRIOR, LONGEST_HIGHEST = 0.5, 5.0
HOST_PRIOR_MS, HOST_HIGHEST_MS = 1.0, 20.0
REQUEST_PRIOR_MS, REQUEST_HIGHEST_MS = 5.0, 500.0

MANY_TOKENS = 4096
ROWS, CONTEXT = 64, 4096
"""Passes by which a model is held against the data sheet."""


@dataclass(frozen=True)
class TermRange:
    """A term from `low` to `high`, with the reasons; `factor`: it is solved for by its logarithm."""

    name: str
    start: float
    low: float
    high: float
    reason: str
    factor: bool
    prior: float

    @property
    def unknown(self) -> Unknown:
        """In the coordinates of the solver."""
        step = {HOST: 0.25, REQUEST: 1.0}.get(self.name, 0.04)
        return Unknown(self.inner(self.start), self.inner(self.low), self.inner(self.high), self.prior, step)

    def inner(self, value: float) -> float:
        return math.log(value) if self.factor else value

    def outer(self, value: float) -> float:
        """The term of a solver's coordinate."""
        return math.exp(value) if self.factor else value


def ranges(simulator: Simulator, *, client: bool) -> list[TermRange]:
    """Of all terms of a deployment's timing. `client`: times were taken at clients, behind the front end."""
    pool = simulator.deployment.first
    found = []
    least = fastest(pool.engine, simulator.spec, pool.lowered.description)
    for name in factors_of(pool.lowered.description):
        low, reason = max(LOWEST, min(least.get(name, 0.0), 1.0)), f"at least {LOWEST:g}"
        if low > LOWEST:
            reason = "not faster than the data sheet's rates"
        prior, high = (LONGEST_PRIOR, LONGEST_HIGHEST) if name == LONGEST else (PRIOR, HIGHEST)
        found.append(TermRange(name, 1.0, low, high, reason, factor=True, prior=prior))
    host, request = simulator.timing.host_ms, simulator.timing.request_ms
    found.append(
        TermRange(HOST, host, 0.0, HOST_HIGHEST_MS, "no negative time", factor=False, prior=max(HOST_PRIOR_MS, host))
    )
    if client:
        prior = max(REQUEST_PRIOR_MS, request)
        found.append(
            TermRange(REQUEST, request, 0.0, REQUEST_HIGHEST_MS, "no negative time", factor=False, prior=prior)
        )
    return found


def fastest(engine: ResolvedEngine, spec: Spec, described: Any) -> dict[str, float]:
    """The factors at which a model in tables, of a pipeline that of the first stage, would beat the GPU's data sheet;
    nothing where that is not known."""
    if engine.model is None or engine.gpu is None or described["kind"] != "tabulated" or engine.model.beyond_roofline():
        return {}
    limits = pass_limits(engine)
    sheet = _sheet(engine, spec, limits)
    model = step_time(described)
    assert isinstance(model, Tabulated)
    one = Features(0, 0, 0, 1, 0, 0, 1, 0, 1)
    most = min(limits.tokens, MANY_TOKENS)
    many = Features(most, 0, 0, 0, 0, 0, 1, 0, 1)
    found = {}
    for term, f, tokens in ((MEMORY, one, 1), (COMPUTE, many, most)):
        if term == MEMORY or computed_share(most, balance_tokens(engine)) == 1:
            found[term] = sheet.picoseconds(f) / max(model.tokens.value(tokens) + model.sequences.value(1), 1)
    rows, context = min(limits.rows, ROWS), min(limits.length, CONTEXT)
    cache = sheet.terms[1].context_ps * rows * context
    return found | {ATTENTION: cache / max(model.decode.value(rows, rows * context), 1)}


def _sheet(engine: ResolvedEngine, spec: Spec, limits: PassLimits) -> Affine:
    """A pass at all of the data sheet's rates, without collectives and host."""
    assert engine.model is not None
    assert engine.gpu is not None
    host = Host(0.0, 0.0, Launches(0.0, 0.0))
    layers = stage_layers(spec, engine.model.layers)
    first = Stage(layers[0], is_first=True, is_last=len(layers) == 1, sends_bytes_per_s=math.inf)
    tensor = spec.parallel.tensor
    roofline = Roofline(engine.model, engine.gpu, tensor, engine.stored, engine.kv, 1.0, 1.0, host, first)
    lowered = roofline.lower(limits).description
    nothing = dict.fromkeys(lowered["host"], 0)
    sheet = step_time({**lowered, "host": nothing})
    assert isinstance(sheet, Affine)
    return sheet
