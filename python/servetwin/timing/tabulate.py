"""Curves over seconds, tabulated: knots where the curves bend, straight lines between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise

from ..units import PS_PER_S
from .base import PassCurves, PassLimits
from .tables import DecodeGrid, Line, Measured, PassTables, PromptGrid

TOKENS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024)
"""Few rows make a staircase of blocks of 128; above, knots are a quarter of an octave apart."""

ROWS = (1, 2, 4, 8, 12, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128)
CONTEXTS = (1, 64, 128, 256, 512)
"""Windows and indexers reach as far as a power of two, as a rule: those are knots."""

PROMPTS = (1, 16, 64, 128, 256, 512)


USUAL_PROMPT = 2048
"""Tokens; many of a pass are several prompts."""

NEAR = 0.01
"""A distance in logarithms that is none."""


def tabulate(curves: PassCurves, limits: PassLimits) -> PassTables:
    """About 400 calls of the curves."""
    tokens = _knots(TOKENS, limits.tokens, 4)
    rows = _knots(ROWS, limits.rows, 4)
    contexts = _knots(CONTEXTS, limits.length, 1)
    prompts = _knots(PROMPTS, limits.tokens, 1)
    decode = [[_ps(curves.decode_s(n, n * context)) for context in contexts] for n in rows]
    reach = tuple(_reach(new, limits.length) for new in prompts)
    prompt = [[_ps(curves.prompt_s(new, new * r)) for r in knots] for new, knots in zip(prompts, reach, strict=True)]
    return PassTables(
        tokens=_line(tokens, curves.tokens_s),
        sequences=_line(rows, curves.head_s),
        decode=DecodeGrid(rows, contexts, _rising_grid(decode)),
        prompt=PromptGrid(prompts, reach, tuple(tuple(_rising(row)) for row in prompt)),
        measured=_measured(curves, tokens, rows, contexts, dict(zip(prompts, reach, strict=True))),
    )


def _measured(
    curves: PassCurves,
    tokens: Sequence[int],
    rows: Sequence[int],
    contexts: Sequence[int],
    reach: Mapping[int, Sequence[int]],
) -> Measured:
    def of_decodes(n: int) -> int:
        return _farthest(contexts, lambda context: curves.distance(0, 0, n, n * context))

    def of_prompts(new: int) -> int:
        return _farthest(reach[new], lambda r: curves.distance(new, new * r, 0, 0))

    return Measured(
        _farthest(tokens, lambda count: curves.distance(count, count * min(count, USUAL_PROMPT), 0, 0)),
        tuple(rows),
        tuple(map(of_decodes, rows)),
        tuple(reach),
        tuple(map(of_prompts, reach)),
    )


def _farthest(knots: Sequence[int], distance: Callable[[int], float]) -> int:
    """The last knot that lies within what was measured; 0 if none does."""
    return next((knot for knot in reversed(knots) if distance(knot) <= NEAR), 0)


def error_share(curves: PassCurves, tables: PassTables, limits: PassLimits) -> float:
    """The greatest relative difference of passes that lie halfway between knots, as far as the cache holds them."""
    grid, prompt = tables.decode, tables.prompt
    contexts = _middles(grid.contexts)
    worst = 0.0
    for index, (i, rows) in enumerate(_middles(grid.rows)):
        k, context = contexts[3 * index % len(contexts)] if contexts else (0, 1)
        if rows * context > limits.cache_tokens or not contexts:
            continue
        shares = _share(grid.rows, i, rows), _share(grid.contexts, k, context)
        low, high = (line[k] + (line[k + 1] - line[k]) * shares[1] for line in grid.ps[i : i + 2])
        found = tables.tokens.value(rows) + tables.sequences.value(rows) + low + (high - low) * shares[0]
        exact = curves.tokens_s(rows) + curves.head_s(rows) + curves.decode_s(rows, rows * context)
        worst = max(worst, abs(found / PS_PER_S / exact - 1))
    for i, new in _middles(prompt.tokens):
        low, high = (_at(prompt.reach[j], prompt.ps[j], new) for j in (i, i + 1))
        attention = low + (high - low) * _share(prompt.tokens, i, new)
        found = tables.tokens.value(new) + tables.sequences.value(1) + attention
        exact = curves.tokens_s(new) + curves.head_s(1) + curves.prompt_s(new, new * new)
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
    """Up to the longest request's; one prompt without a past among them."""
    most = 2 * max(length, new)
    return tuple(sorted({new, most, *(2**power for power in range(4, most.bit_length()) if 2**power < most)}))


def _line(knots: Sequence[int], seconds: Callable[[int], float]) -> Line:
    return Line.through(knots, _rising([_ps(seconds(knot)) for knot in knots]))


def _rising_grid(table: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    """More rows or more context never take less."""
    by_context = zip(*(_rising(row) for row in table), strict=True)
    return tuple(zip(*(_rising(column) for column in by_context), strict=True))


def _rising(values: Sequence[int]) -> list[int]:
    """Where they fall, between the highest so far and the lowest to come."""
    highest = accumulate(values, max)
    lowest = list(accumulate(reversed(values), min))[::-1]
    return [(high + low) // 2 for high, low in zip(highest, lowest, strict=True)]


def _middles(knots: Sequence[int]) -> list[tuple[int, int]]:
    return [(i, (start + end) // 2) for i, (start, end) in enumerate(pairwise(knots))]


def _share(knots: Sequence[int], i: int, x: int) -> float:
    return (x - knots[i]) / (knots[i + 1] - knots[i])


def _at(knots: Sequence[int], values: Sequence[int], x: int) -> float:
    i = min(max(sum(knot <= x for knot in knots) - 1, 0), len(knots) - 2)
    return values[i] + (values[i + 1] - values[i]) * _share(knots, i, x)


def _ps(seconds: float) -> int:
    return round(seconds * PS_PER_S)
