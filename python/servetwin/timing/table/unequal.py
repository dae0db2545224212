"""What a batch of unequal contexts takes beyond one in which all are as long as their mean.

LLMServingSim times attention over the same tokens spread evenly and unevenly (profiler/core/fit_alpha.py), and keeps

    t(unequal) = t(all at the mean) + alpha · (t(all at the longest) - t(all at the mean))

in `skew_fit.csv`, alpha by the number of rows among other things. Times rise evenly with the common context, so this is
a time for each token by which the longest context goes beyond the mean. It hardly depends on how many rows there are
beyond some: a kernel that gives each row and head one block of threads waits for the block of the longest. Fewer rows
are split among several blocks (FlashAttention-2: where rows · KV heads < 0.8 · 2 · multiprocessors), and cost alike.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from ...errors import InputError
from ..base import FRACTION_BITS
from ..tables import DecodeGrid, Line
from .grid import interpolated
from .read import rows_of

COLUMNS = ("pc", "n_label", "alpha")

BETWEEN = (512, 4096)
"""Tokens: the contexts between which times are taken to rise evenly; as far as requests usually differ."""


def read_alphas(file: Path) -> dict[int, float]:
    """Of passes without prompts (`pc` 0), the median alpha by the rows that a label `n<=32` ends with.

    Raises InputError: a column missing, a label or number that cannot be read.
    """
    lines = rows_of(file)
    names = [str(name) for name in next(lines, (0, []))[1]]
    for name in COLUMNS:
        if name not in names:
            raise InputError(
                f"lacks the column {name}", file=str(file), found=", ".join(names), wanted=", ".join(COLUMNS)
            )
    prompt, label, value = (names.index(name) for name in COLUMNS)
    found: dict[int, list[float]] = defaultdict(list)
    for line, cells in lines:
        if str(cells[prompt]) != "0" or str(cells[label]).startswith("n>"):
            continue
        try:
            rows, alpha = int(str(cells[label]).removeprefix("n<=")), float(cells[value])
        except ValueError:
            rows, alpha = 0, math.nan
        if rows < 1 or not math.isfinite(alpha):
            raise InputError(
                "cannot be read",
                file=str(file),
                line=line,
                found=f"{cells[label]}, {cells[value]}",
                wanted="a number of rows such as n<=32, and alpha",
            )
        found[rows].append(alpha)
    return {rows: median(alphas) for rows, alphas in sorted(found.items())}


def longest_line(decode: DecodeGrid, alphas: Mapping[int, float]) -> Line | None:
    """By rows, picoseconds of all layers for 2²⁰ tokens by which the longest context goes beyond the mean."""
    short, long = BETWEEN
    points = {}
    for rows, ps in zip(decode.rows, decode.ps, strict=True):
        if rows not in alphas:
            continue
        times = dict(zip(decode.contexts, ps, strict=True))
        slope = (interpolated(times, long) - interpolated(times, short)) / (long - short)
        points[rows] = round(max(alphas[rows] * slope, 0.0) * (1 << FRACTION_BITS))
    return Line.through(list(points), list(points.values())) if points else None
