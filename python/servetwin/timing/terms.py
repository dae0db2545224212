"""The terms that a calibration fits, and what they do to a lowered model.

    compute     factor on matrix products of many tokens, which the arithmetic limits
    memory      factor on those of few, for which reading the weights takes longest
    attention   factor on attention
    longest     factor on what the longest context takes beyond the mean one, where that is known
    host_ms     what each pass costs on top, in milliseconds
    request_ms  what the front end takes of a request

Collectives and small kernels go with the products. Of tables (kind `tabulated`) a product belongs to `memory` up to
half the GPU's balance, and to `compute` from twice that on; between them the share goes evenly with the logarithm of
the tokens. The balance is where reading a weight takes as long as multiplying it (Williams et al., Roofline, 2009). Of
a roofline (kind `affine`) the first two are its two terms, attention among them. Where whole passes were timed, there
is one factor, `passes`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..catalog import ResolvedEngine
from ..units import PS_PER_MS, nearest_ps
from .base import Lowered
from .draws import lengthened
from .tables import Line

COMPUTE, MEMORY, ATTENTION, LONGEST, PASSES = "compute", "memory", "attention", "longest", "passes"
HOST, REQUEST = "host_ms", "request_ms"

PRODUCTS = ("tokens", "sequences")
PARTS: dict[str, tuple[str, ...]] = {ATTENTION: ("decode", "prompt", "mixed"), LONGEST: ("longest",)}
"""Of a description in tables."""

USUAL_BALANCE = 256.0
"""Tokens, where GPU or model is not given."""


def factors_of(described: Mapping[str, Any]) -> list[str]:
    """The factors that a lowered model can take."""
    match described["kind"]:
        case "affine" if len(described["terms"]) == 2:
            return [COMPUTE, MEMORY]
        case "tabulated":
            parts = [term for term, names in PARTS.items() if any(described.get(name) is not None for name in names)]
            in_parts = any(any(described[name]["start_ps"]) for name in PRODUCTS)
            return [COMPUTE, MEMORY, *parts] if in_parts else [PASSES]
        case _:
            return []


def balance_tokens(engine: ResolvedEngine) -> float:
    """Tokens for which reading the weights takes as long as multiplying them."""
    if engine.model is None or engine.gpu is None:
        return USUAL_BALANCE
    stored = engine.stored.mlp
    weight_bytes = stored.size(1 << 20) / (1 << 20)
    return engine.gpu.flops(stored.arithmetic) * weight_bytes / (2 * engine.gpu.memory_bytes_per_s)


def without_host(terms: Mapping[str, float]) -> dict[str, float]:
    """Those of a pipeline stage after the first."""
    return {name: value for name, value in terms.items() if name != HOST}


def with_terms(lowered: Lowered, terms: Mapping[str, float], host_ms: float, balance: float) -> Lowered:
    """The model with its factors, and with a host that takes `terms[HOST]` in place of `host_ms`, in whole units."""
    described = dict(lowered.description)
    compute, memory, whole = (terms.get(name, 1.0) for name in (COMPUTE, MEMORY, PASSES))
    if described["kind"] == "affine":
        pairs = zip((compute, memory), described["terms"], strict=True)
        described["terms"] = [lengthened(term, factor) for factor, term in pairs]
    else:
        described |= {name: _products(described[name], compute, memory, balance) for name in PRODUCTS}
        for term, names in PARTS.items():
            factor = whole * terms.get(term, 1.0)
            described |= {name: lengthened(described.get(name), factor) for name in names}
    more = nearest_ps(terms.get(HOST, host_ms), PS_PER_MS) - nearest_ps(host_ms, PS_PER_MS)
    described["host"] = {**described["host"], "base_ps": described["host"]["base_ps"] + more}
    greatest = max(1.0, compute, memory, whole, *(terms.get(name, 1.0) for name in PARTS))
    return replace(
        lowered,
        description=described,
        error_ps=round(greatest * lowered.error_ps),
        greatest_ps=round(greatest * lowered.greatest_ps) + max(more, 0),
    )


def _products(line: Mapping[str, Any], compute: float, memory: float, balance: float) -> Mapping[str, Any]:
    if compute == memory:
        return lengthened(line, compute)  # type: ignore[no-any-return]
    shares = [computed_share(tokens, balance) for tokens in line["at"]]
    values = [
        round(ps * math.exp(share * math.log(compute) + (1 - share) * math.log(memory)))
        for ps, share in zip(line["start_ps"], shares, strict=True)
    ]
    bent = Line.through(line["at"], values)
    # Beyond the last knot it goes on as before.
    last = lengthened(line, compute)["slope_fps"][-1]
    return vars(replace(bent, slope_fps=(*bent.slope_fps[:-1], last)))


def computed_share(tokens: int, balance: float) -> float:
    """How far products of so many tokens are limited by arithmetic, from 0 to 1."""
    return min(max(0.5 + math.log2(max(tokens, 1) / balance) / 2, 0.0), 1.0)
