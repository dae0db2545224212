"""Time is integer picoseconds inside, milliseconds and seconds at the edges."""

from __future__ import annotations

from fractions import Fraction

PS_PER_US = 10**6
PS_PER_MS = 10**9
PS_PER_S = 10**12

HORIZON_PS = 100 * 86_400 * PS_PER_S
"""Longest simulated time, 100 days: beyond it sums of picoseconds near the end of 64 bits."""

GIB = 2**30


def exact_ps(value: float, unit_ps: int) -> int | None:
    """`value` units in picoseconds, read as the decimal a person wrote; None if not a whole number of them."""
    ps = Fraction(repr(value)) * unit_ps
    return int(ps) if ps.denominator == 1 else None


def nearest_ps(value: float, unit_ps: int) -> int:
    """`value` units in picoseconds, to the nearest one."""
    return round(Fraction(value) * unit_ps)
