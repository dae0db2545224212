"""How long a pass takes: a timing model lowered to whole picoseconds.

Coefficients named `_fps` count 2^-20 ps. Everything is integer arithmetic, and shifts round
towards minus infinity, so that the native core gets the same number to the last picosecond.
"""

from __future__ import annotations

from dataclasses import dataclass

FRACTION_BITS = 20


@dataclass(frozen=True)
class Features:
    """What a pass does. Context is counted after the pass, drafts included."""

    prefill_tokens: int
    prefill_work: int
    """Sum over prefill rows of new * (2 * past + new): twice the attention work, to be whole."""
    decode_rows: int
    context: int
    sequences: int
    ready_context: int
    """Context of the rows that get a token from this pass: decodes, and prompts it completes."""
    ready_rows: int
    draft_tokens: int = 0
    """Drafts verified, beside the rows that decode."""


@dataclass(frozen=True)
class Linear:
    """A linear function of the features."""

    base_ps: int = 0
    prefill_token_ps: int = 0
    work_fps: int = 0
    decode_row_ps: int = 0
    context_ps: int = 0
    sequence_ps: int = 0
    draft_token_ps: int = 0

    def at(self, f: Features) -> int:
        return (
            self.base_ps
            + self.prefill_token_ps * f.prefill_tokens
            + ((self.work_fps * f.prefill_work) >> FRACTION_BITS)
            + self.decode_row_ps * f.decode_rows
            + self.context_ps * f.context
            + self.sequence_ps * f.sequences
            + self.draft_token_ps * f.draft_tokens
        )


@dataclass(frozen=True)
class Affine:
    """Host time plus the slowest of several terms."""

    host: Linear
    terms: tuple[Linear, ...]

    def picoseconds(self, features: Features) -> int:
        slowest = max((term.at(features) for term in self.terms), default=0)
        return max(self.host.at(features) + slowest, 1)


@dataclass(frozen=True)
class Polynomial:
    """A quadratic in the prefill tokens, then a decode, piecewise linear in its context."""

    prefill_fps: tuple[int, int, int]
    """Quadratic, linear and constant coefficient."""
    segment_tokens: int
    start_ps: tuple[int, ...]
    slope_ps: tuple[int, ...]
    """Per token of context beyond the segment's start; the last segment has no end."""

    def picoseconds(self, features: Features) -> int:
        return max(self._prefill(features.prefill_tokens) + self._decode(features), 1)

    def _prefill(self, tokens: int) -> int:
        if tokens == 0:
            return 0
        q2, q1, q0 = self.prefill_fps
        return (q2 * tokens * tokens + q1 * tokens + q0) >> FRACTION_BITS

    def _decode(self, features: Features) -> int:
        if features.ready_rows == 0:
            return 0
        context = features.ready_context
        i = min(context // self.segment_tokens, len(self.start_ps) - 1)
        return self.start_ps[i] + self.slope_ps[i] * (context - i * self.segment_tokens)


StepTime = Affine | Polynomial
