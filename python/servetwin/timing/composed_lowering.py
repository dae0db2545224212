"""Pass curves in the affine form: chords over the tokens of a pass, straight lines for attention and head.

The attention of decodes is a straight line in the context, fitted over the batches that the engine allows; that of
prompts takes the time per unit of work of one long prompt, and what a short one takes beyond it for each of its
tokens.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

from ..units import PS_PER_MS, PS_PER_S, nearest_ps
from .base import FRACTION_BITS, Lowered, PassLimits, affine, affine_limit, fixed_point


class Curves(Protocol):
    def tokens_s(self, tokens: int) -> float: ...
    def decode_s(self, rows: int, context: int) -> float: ...
    def prompt_s(self, tokens: int, work: int) -> float: ...
    def head_s(self, sequences: int) -> float: ...


def lower_affine(curves: Curves, host_ms: float, limits: PassLimits) -> Lowered:
    terms = _chords([(tokens, curves.tokens_s(tokens)) for tokens in _token_counts(limits)])
    floor, context = _decode_line(curves, limits)
    work, token = _prefill_line(curves, limits)
    head, row = _head_line(curves, limits)
    fixed = affine(
        base_ps=nearest_ps(host_ms, PS_PER_MS) + _ps(floor + head),
        context_ps=_ps(context),
        prefill_token_ps=_ps(token),
        work_fps=fixed_point(work * PS_PER_S),
        sequence_ps=_ps(row),
    )
    units = 2 * (2 + limits.tokens + 2 * limits.rows + limits.context)
    rounding = 2 * limits.tokens * limits.length >> FRACTION_BITS
    return Lowered(
        {"kind": "affine", "host": fixed, "terms": terms},
        error_ps=(units + rounding + 1) // 2 + 2,
        greatest_ps=affine_limit(fixed, limits) + max(affine_limit(term, limits) for term in terms),
    )


def _decode_line(curves: Curves, limits: PassLimits) -> tuple[float, float]:
    """Seconds of the attention of decodes, whatever is in it, and for each token of context."""
    batches = sorted({min(rows, limits.rows) for rows in (1, 8, 32, 64, 128, 256)})
    lengths = sorted({min(length, limits.length) for length in (256, 1024, 4096, 16384)})
    points = [(rows * length, curves.decode_s(rows, rows * length)) for rows in batches for length in lengths]
    return _relative_line(points)


def _prefill_line(curves: Curves, limits: PassLimits) -> tuple[float, float]:
    """Seconds of the attention of prompts for a unit of work, and for each token."""
    long, short = min(limits.tokens, limits.length, 8192), min(limits.tokens, limits.length, 512)
    work = curves.prompt_s(long, long**2) / long**2
    return work, max(curves.prompt_s(short, short**2) - work * short**2, 0.0) / short


def _head_line(curves: Curves, limits: PassLimits) -> tuple[float, float]:
    """Seconds of the output head and the choice of tokens: for the first row, and for each."""
    one, all_ = (curves.head_s(rows) for rows in (1, max(limits.rows, 2)))
    slope = max(all_ - one, 0.0) / (max(limits.rows, 2) - 1)
    return max(one - slope, 0.0), slope


def _token_counts(limits: PassLimits) -> list[int]:
    counts = {min(2**power, limits.tokens) for power in range(15)}
    counts |= {min(3 * 2**power, limits.tokens) for power in range(5, 13)}
    return sorted({*counts, max(limits.tokens, 2)})


def _chords(points: list[tuple[int, float]]) -> list[dict[str, int]]:
    """Lines whose maximum is the largest convex function that is nowhere above the points, falls nowhere, and grows no
    faster than in proportion: where the points do, the last line goes through the origin."""
    least, lowest = [], float("inf")
    for tokens, seconds in reversed(points):
        lowest = min(lowest, seconds)
        least.append((tokens, lowest))
    hull = _hull(least[::-1])
    found = []
    for (x, y), (next_x, next_y) in pairwise(hull):
        slope = (next_y - y) / (next_x - x)
        if y < slope * x:
            # Superlinear from here on.
            found.append((0.0, y / x))
            break
        found.append((y - slope * x, slope))
    return [affine(base_ps=_ps(base), prefill_token_ps=_ps(slope), decode_row_ps=_ps(slope)) for base, slope in found]


def _hull(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """The lower convex hull."""
    kept: list[tuple[int, float]] = []
    for x, y in points:
        while len(kept) > 1 and _turns(kept[-2], kept[-1], (x, y)):
            kept.pop()
        kept.append((x, y))
    return kept


def _turns(first: tuple[int, float], middle: tuple[int, float], last: tuple[int, float]) -> bool:
    return (middle[1] - first[1]) * (last[0] - first[0]) >= (last[1] - first[1]) * (middle[0] - first[0])


def _relative_line(points: list[tuple[int, float]]) -> tuple[float, float]:
    """Least squares of the relative error of base + slope · x; neither below 0."""
    a = b = c = d = e = 0.0
    for x, y in points:
        a, b, c, d, e = a + 1 / y**2, b + x / y**2, c + (x / y) ** 2, d + 1 / y, e + x / y
    slope = max((a * e - b * d) / (a * c - b * b), 0.0)
    return max((d - slope * b) / a, 0.0), slope


def _ps(seconds: float) -> int:
    return round(seconds * PS_PER_S)
