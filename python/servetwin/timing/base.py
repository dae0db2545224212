"""What a step-time model is: something that can be lowered to integers, and says how well it is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

COMPUTE_EFFICIENCY, MEMORY_EFFICIENCY = 0.7, 0.8
"""Of the data sheet's rates, that a roofline reaches where none are given: assumptions."""


class Evidence(StrEnum):
    """How a figure is known."""

    GIVEN = "given"
    """Written by the user."""
    UNCALIBRATED = "uncalibrated"
    """A formula of someone else's, fitted to nothing of this deployment."""
    ANALYTIC = "analytic"
    """Computed from data sheets and stated efficiencies."""
    CALIBRATED = "calibrated"
    """Another's, its terms fitted to measurements of this deployment."""
    INTERPOLATED = "interpolated"
    """Between measured timings of just this model on this GPU."""
    FITTED = "fitted"
    """Composed of operators, by curves fitted to timings of this GPU."""
    TRANSFERRED = "transferred"
    """The same, by curves of another GPU of its generation."""


@dataclass(frozen=True)
class PassLimits:
    """The largest pass an engine can schedule: the range over which a lowering is exact or bounded."""

    tokens: int
    rows: int
    length: int
    """Tokens of a request."""
    cache_tokens: int
    """Of the whole cache."""

    @property
    def context(self) -> int:
        """Over all rows; rows that share blocks may hold more than the cache."""
        return self.rows * self.length


@dataclass(frozen=True)
class Lowered:
    """A model in integers, as the core and the reference evaluate it.

    `description` is the core's `step_time`: `affine` (host + the greatest of its terms), `polynomial` or `tabulated`.
    Times are picoseconds; names ending in `_fps` count 2⁻²⁰ ps.
    """

    description: dict[str, Any]
    error_ps: int
    """No pass within the limits differs from the model by more; of a tabulated one, at the tables' knots."""
    greatest_ps: int
    """No pass within the limits takes longer."""
    error_share: float = 0.0
    """Of a tabulated model: the greatest relative difference found halfway between knots."""


class PassCurves(Protocol):
    """A pass on one rank as the sum of four functions, in seconds; the host's time apart."""

    def tokens_s(self, tokens: int) -> float:
        """What all tokens share, padding included: products, experts, norms, collectives."""
        ...

    def decode_s(self, rows: int, context: int) -> float:
        """Attention of `rows` that decode, with `context` tokens of all of them after the pass."""
        ...

    def prompt_s(self, tokens: int, work: int) -> float:
        """Attention of prompts with `tokens` new tokens; `work` = Σ new · (2 · past + new)."""
        ...

    def head_s(self, sequences: int) -> float:
        """The output head and the choice of a token, for so many rows."""
        ...

    def distance(self, prefill: int, work: int, rows: int, context: int) -> float:
        """How far such a pass lies from what was measured, in natural logarithms of size; 0 within."""
        ...

    @property
    def spread(self) -> float:
        """How far off such times were where they could be compared, as a share; 0 where that is not known."""
        ...


class TimingModel(Protocol):
    """Maps the features of a forward pass to its duration."""

    @property
    def evidence(self) -> Evidence: ...

    @property
    def assumptions(self) -> dict[str, float | str]:
        """The figures that the durations rest on, for the provenance."""
        ...

    @property
    def spread(self) -> float:
        """How far off its figures were where they could be compared, as a share; 0 where that is not known."""
        ...

    def lower(self, limits: PassLimits) -> Lowered:
        """In integers. Mutates nothing; raises SpecError where an exact model is not a whole number."""
        ...


FRACTION_BITS = 20
"""Of the coefficients named `_fps`."""


def fixed_point(ps: float) -> int:
    """`ps` in units of 2⁻²⁰ ps."""
    return round(ps * (1 << FRACTION_BITS))


def affine(**coefficients: int) -> dict[str, int]:
    """An affine sum of the features of a pass, its other coefficients being 0."""
    names = ("base_ps", "prefill_token_ps", "work_fps", "decode_row_ps", "context_ps", "sequence_ps")
    return {**dict.fromkeys(names, 0), **coefficients}


def affine_limit(coefficients: dict[str, int], limits: PassLimits) -> int:
    """The sum for the largest pass, in picoseconds."""
    work = 2 * limits.tokens * limits.length
    return (
        coefficients["base_ps"]
        + coefficients["prefill_token_ps"] * limits.tokens
        + (coefficients["work_fps"] * work >> FRACTION_BITS)
        + coefficients["decode_row_ps"] * limits.rows
        + coefficients["context_ps"] * limits.context
        + coefficients["sequence_ps"] * limits.rows
    )
