"""Curves over seconds, tabulated: knots where the curves bend, straight lines between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

from ..units import PS_PER_S
from .base import PassCurves, PassLimits
from .tables import DecodeGrid, Line, PassTables, PromptGrid

TOKENS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024)
"""Few rows make a staircase of blocks of 128; above, knots are a quarter of an octave apart."""

ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
CONTEXTS = (1, 64, 128, 256, 512)
"""Windows and indexers reach as far as a power of two, as a rule: those are knots."""

PROMPTS = (1, 16, 64, 128, 256, 512)


def tabulate(curves: PassCurves, limits: PassLimits) -> PassTables:
    """About 400 calls of the curves."""
    tokens = _knots(TOKENS, limits.tokens, 4)
    rows = _knots(ROWS, limits.rows, 2)
    contexts = _knots(CONTEXTS, limits.length, 1)
    prompts = _knots(PROMPTS, limits.tokens, 1)
    decode = [[_ps(curves.decode_s(n, n * context)) for context in contexts] for n in rows]
    reach = tuple(_reach(new, limits.length) for new in prompts)
    prompt = [[_ps(curves.prompt_s(new, new * r)) for r in knots] for new, knots in zip(prompts, reach, strict=True)]
    return PassTables(
        tokens=_line(tokens, curves.tokens_s),
        sequences=_line(rows, curves.head_s),
        decode=DecodeGrid(rows, contexts, _rising(decode)),
        prompt=PromptGrid(prompts, reach, tuple(tuple(accumulate(row, max)) for row in prompt)),
    )


def error_share(curves: PassCurves, tables: PassTables, limits: PassLimits) -> float:
    """The greatest relative difference of passes that lie between the knots, halfway along every axis."""
    worst = 0.0
    grid, prompt = tables.decode, tables.prompt
    for (i, rows), (k, context) in zip(
        _middles(grid.rows), _spread(_middles(grid.contexts), len(grid.rows)), strict=False
    ):
        exact = curves.tokens_s(rows) + curves.head_s(rows) + curves.decode_s(rows, rows * context)
        corners = (grid.ps[i][k], grid.ps[i][k + 1], grid.ps[i + 1][k], grid.ps[i + 1][k + 1])
        shares = _shares(grid.rows, i, rows), _shares(grid.contexts, k, context)
        found = tables.tokens.value(rows) + tables.sequences.value(rows) + _bilinear(corners, *shares)
        worst = max(worst, abs(found / PS_PER_S / exact - 1))
    for i, new in _middles(prompt.tokens):
        exact = curves.tokens_s(new) + curves.head_s(1) + curves.prompt_s(new, new * new)
        low, high = (_at(prompt.reach[j], prompt.ps[j], new) for j in (i, i + 1))
        attention = low + (high - low) * _shares(prompt.tokens, i, new)
        found = tables.tokens.value(new) + tables.sequences.value(1) + attention
        worst = max(worst, abs(found / PS_PER_S / exact - 1))
    return worst


def _knots(first: Sequence[int], most: int, an_octave: int) -> tuple[int, ...]:
    """`first`, then so many in each octave, up to `most` and with it."""
    found = [knot for knot in first if knot < most]
    power = 1
    while (knot := round(first[-1] * 2 ** (power / an_octave))) < most:
        found.append(knot)
        power += 1
    return tuple(dict.fromkeys([*found, most]))


def _reach(new: int, length: int) -> tuple[int, ...]:
    """From one token of a past to the longest request's; one prompt without a past among them."""
    most = 2 * max(length, new)
    return tuple(sorted({1, new, most, *(2**power for power in range(5, most.bit_length()) if 2**power < most)}))


def _line(knots: Sequence[int], seconds: Callable[[int], float]) -> Line:
    """Never falling: between the highest so far and the lowest to come where the curve does."""
    values = [_ps(seconds(knot)) for knot in knots]
    highest = list(accumulate(values, max))
    lowest = list(accumulate(reversed(values), min))[::-1]
    return Line.through(knots, [(high + low) // 2 for high, low in zip(highest, lowest, strict=True)])


def _rising(table: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    """More rows or more context never take less."""
    rows = [list(accumulate(row, max)) for row in table]
    for before, row in pairwise(rows):
        row[:] = [max(pair) for pair in zip(before, row, strict=True)]
    return tuple(map(tuple, rows))


def _middles(knots: Sequence[int]) -> list[tuple[int, int]]:
    return [(i, (start + end) // 2) for i, (start, end) in enumerate(pairwise(knots))]


def _spread(cells: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    return [cells[(3 * i) % len(cells)] for i in range(count)] if cells else []


def _shares(knots: Sequence[int], i: int, x: int) -> float:
    return (x - knots[i]) / (knots[i + 1] - knots[i])


def _bilinear(corners: tuple[int, int, int, int], row: float, context: float) -> float:
    low, low_next, high, high_next = corners
    first, last = low + (low_next - low) * context, high + (high_next - high) * context
    return first + (last - first) * row


def _at(knots: Sequence[int], values: Sequence[int], x: int) -> float:
    i = min(max(sum(knot <= x for knot in knots) - 1, 0), len(knots) - 2)
    return values[i] + (values[i + 1] - values[i]) * _shares(knots, i, x)


def _ps(seconds: float) -> int:
    return round(seconds * PS_PER_S)
