"""DynoSim's built-in formula, for runs side by side with it.

Its default when no profile is given; it fits no particular GPU or model. In milliseconds, for T prefill tokens
and R tokens of context over the rows that decode in this pass or complete their prompt in it:

    prefill = 4.209989e-07·T² + 1.518344e-02·T + 16.50142    (0 without prefill tokens)
    decode  = max(−25.74·x² + 54.01·x + 5.74, 1), x = min(R / tokens of the cache, 1)    (0 without such rows)

and a pass takes both, one after the other. Source: ai-dynamo/dynamo, lib/mocker.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ..units import PS_PER_MS
from .base import FRACTION_BITS, Evidence, Lowered, PassLimits, fixed_point

PREFILL_MS = (4.209989e-07, 1.518344e-02, 16.50142)
DECODE_CENTI_MS = (-2574, 5401, 574)
"""Hundredths of a millisecond, so that its values are exact ratios of integers."""

SEGMENTS = 256
_CENTI_MS = PS_PER_MS // 100


@dataclass(frozen=True)
class Polynomial:
    evidence: Evidence = Evidence.UNCALIBRATED
    spread: float = 0.0

    @property
    def assumptions(self) -> dict[str, float | str]:
        return {"formula": "DynoSim's polynomial, fitted to no particular GPU or model"}

    def lower(self, limits: PassLimits) -> Lowered:
        """Decode becomes chords over equal segments of the context, each with an integer slope, then a flat end."""
        width = -(-limits.cache_tokens // SEGMENTS)
        knots = range(0, limits.cache_tokens + width, width)
        start = [_nearest(*_decode_ps(knot, limits.cache_tokens)) for knot in knots]
        slope = [_nearest(after - here, width) for here, after in pairwise(start)] + [0]
        description = {
            "kind": "polynomial",
            "prefill_fps": [fixed_point(coefficient * PS_PER_MS) for coefficient in PREFILL_MS],
            "segment_tokens": width,
            "start_ps": start,
            "slope_ps": slope,
        }
        q2, q1, q0 = (coefficient * PS_PER_MS for coefficient in PREFILL_MS)
        return Lowered(
            description,
            error_ps=_prefill_error_ps(limits) + _decode_error_ps(limits, start, slope, width),
            greatest_ps=int(q2 * limits.tokens**2 + q1 * limits.tokens + q0) + _prefill_error_ps(limits) + max(start),
        )


def _decode_ps(context: int, capacity: int) -> tuple[int, int]:
    """As a numerator and a denominator. The floor of 1 ms is never reached."""
    context = min(context, capacity)
    a, b, c = DECODE_CENTI_MS
    return (a * context**2 + b * context * capacity + c * capacity**2) * _CENTI_MS, capacity**2


def _nearest(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def _prefill_error_ps(limits: PassLimits) -> int:
    # Half a unit of each coefficient, and the final shift.
    return (limits.tokens**2 + limits.tokens + 1 >> FRACTION_BITS + 1) + 2


def _decode_error_ps(limits: PassLimits, start: list[int], slope: list[int], width: int) -> int:
    # A parabola is farthest from a line at an end, or where it has the line's slope.
    capacity = limits.cache_tokens
    a, b, _ = (coefficient * _CENTI_MS for coefficient in DECODE_CENTI_MS)
    worst = 0
    for i, (ps, per_token) in enumerate(zip(start, slope, strict=True)):
        first, last = i * width, (i + 1) * width - 1
        tangent = (per_token * capacity - b) * capacity // (2 * a)
        for context in (first, last, capacity, tangent, tangent + 1):
            if first <= context <= last:
                numerator, denominator = _decode_ps(context, capacity)
                line = ps + per_token * (context - first)
                worst = max(worst, abs(numerator - line * denominator) // denominator)
    return worst + 2
