"""Timings on a grid: gaps closed between neighbours, and falls beyond noise refused."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise

from .read import Row, Timings

NOISE = 0.5
"""Of itself, and SHORT_PS: a time may fall by so much from one size to the next larger one before it is an error.

LLMServingSim's own timings, of three repetitions each, fall by up to 56 %, or 4 us, where a kernel changes.
"""

SHORT_PS = 10_000_000


def check_rising(timings: Timings, rows: Sequence[Row], axis: str, sizes: Sequence[int]) -> None:
    """`rows` differ in `sizes` alone, ascending. Raises InputError where a larger one takes much less."""
    for (before, size), (row, larger) in pairwise(zip(rows, sizes, strict=True)):
        if row.ps < before.ps * (1 - NOISE) and before.ps - row.ps > SHORT_PS:
            what = f" of {row.name}" if row.name else ""
            raise timings.problem(
                f"falls by {1 - row.ps / before.ps:.0%}: the time{what} at {axis} {larger:,} is much less than at "
                f"{size:,} (line {before.line})",
                row,
                found=f"{row.ps / 1e6:g} us after {before.ps / 1e6:g}",
                wanted="times that rise with size, measured again",
            )


def interpolated(known: Mapping[int, int], x: int) -> int:
    """Between the two neighbours of `x`; beyond the last, as the last two go on; below the first, as it."""
    knots = sorted(known)
    if x in known:
        return known[x]
    i = bisect_left(knots, x)
    if i == 0 or len(knots) == 1:
        return known[knots[0]]
    start, end = knots[min(i, len(knots) - 1) - 1], knots[min(i, len(knots) - 1)]
    return max(known[start] + (known[end] - known[start]) * (x - start) // (end - start), 0)
