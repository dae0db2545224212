"""Numbers as the page carries them: short, and none that JSON does not know."""

from __future__ import annotations

from collections.abc import Iterable

DIGITS = 6


def short(value: float | None) -> float | None:
    """Six significant digits: a thousandth of a pixel in any chart."""
    if value is None:
        return None
    rounded = float(f"{value:.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded


def shorts(values: Iterable[float | None]) -> list[float | None]:
    return [short(value) for value in values]
