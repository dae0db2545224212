"""The terms that a calibration fits, and what they do to a lowered model.

Of a model in tables (kind `tabulated`):

    products    factor on what all tokens share (matrix products, small kernels, collectives) and on the output head
    attention   factor on attention
    longest     factor on what the longest context takes beyond the mean one, where that is known

Of a roofline (kind `affine`): `compute` and `memory`, factors on its two terms. Of either: `host_ms`, what each pass
costs on top, and `request_ms`, what the front end takes of a request, in milliseconds, in place of the model's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..units import PS_PER_MS, nearest_ps
from .base import Lowered
from .draws import lengthened

FACTORS: dict[str, dict[str, tuple[str, ...]]] = {
    "tabulated": {
        "products": ("tokens", "sequences"),
        "attention": ("decode", "prompt", "mixed"),
        "longest": ("longest",),
    },
    "affine": {"compute": (), "memory": ()},
}
"""By the kind of a lowered model, then by term: the parts of its description."""

HOST, REQUEST = "host_ms", "request_ms"


def factors_of(described: Mapping[str, Any]) -> list[str]:
    """The factors that a lowered model can take."""
    parts = FACTORS.get(described["kind"], {})
    if described["kind"] == "affine":
        return list(parts) if len(described["terms"]) == len(parts) else []
    return [term for term, names in parts.items() if any(described.get(name) is not None for name in names)]


def with_terms(lowered: Lowered, terms: Mapping[str, float], host_ms: float) -> Lowered:
    """The model with its factors, and with a host that takes `terms[HOST]` in place of `host_ms`, in whole units."""
    described = dict(lowered.description)
    if described["kind"] == "affine":
        described["terms"] = [
            lengthened(term, terms.get(name, 1.0))
            for name, term in zip(FACTORS["affine"], described["terms"], strict=True)
        ]
    else:
        for term, names in FACTORS[described["kind"]].items():
            described |= {name: lengthened(described.get(name), terms.get(term, 1.0)) for name in names}
    more = nearest_ps(terms.get(HOST, host_ms), PS_PER_MS) - nearest_ps(host_ms, PS_PER_MS)
    described["host"] = {**described["host"], "base_ps": described["host"]["base_ps"] + more}
    greatest = max(1.0, *(terms.get(name, 1.0) for name in FACTORS[described["kind"]]))
    return replace(
        lowered,
        description=described,
        error_ps=round(greatest * lowered.error_ps),
        greatest_ps=round(greatest * lowered.greatest_ps) + max(more, 0),
    )
