"""Four coefficients, taken at their word."""

from __future__ import annotations

from dataclasses import dataclass

from ..spec import Spec
from ..spec.timing import LinearTiming
from ..units import PS_PER_MS, exact_ps
from .base import Evidence, Lowered, PassLimits, affine, affine_limit

_CORE_NAMES = {
    "base_ms": "base_ps",
    "prefill_token_ms": "prefill_token_ps",
    "decode_row_ms": "decode_row_ps",
    "context_token_ms": "context_ps",
}


@dataclass(frozen=True)
class Linear:
    spec: Spec
    options: LinearTiming
    evidence: Evidence = Evidence.GIVEN
    spread: float = 0.0

    @property
    def assumptions(self) -> dict[str, float | str]:
        return {name: getattr(self.options, name) for name in _CORE_NAMES}

    def lower(self, limits: PassLimits) -> Lowered:
        coefficients = affine()
        for name, core_name in _CORE_NAMES.items():
            value = getattr(self.options, name)
            ps = exact_ps(value, PS_PER_MS)
            if ps is None:
                raise self.spec.source.problem(
                    ("timing", name),
                    "not a whole number of picoseconds, so it would not be exact",
                    found=f"{value!r} ms",
                    wanted=f"such as {round(value, 9)!r} ms",
                )
            coefficients[core_name] = ps
        return Lowered(
            {"kind": "affine", "host": coefficients, "terms": []},
            error_ps=0,
            greatest_ps=affine_limit(coefficients, limits),
        )
