"""A smooth curve over an operator's regime: how much longer than at the peak it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import exp, prod

from .load import Load

DEGREES = {1: 5, 4: 4}
"""Of the polynomial, by how many dimensions the regime has."""


def terms(regime: Sequence[float], corrections: Sequence[float]) -> list[float]:
    """All monomials of the regime up to its degree, then the corrections."""
    found = [1.0]
    for degree in range(1, DEGREES[len(regime)] + 1):
        found += [prod(chosen) for chosen in combinations_with_replacement(regime, degree)]
    return [*found, *corrections]


@dataclass(frozen=True)
class Curve:
    """(roofline + floor) · e^(terms · coefficients), and never less than the roofline.

    Outside the regime that it was fitted over, from `low` to `high`, it goes on as at its edge; the exponent stays
    within what was measured, `least` to `most`, as polynomials do not where nothing was.
    """

    floor_s: float
    least: float
    most: float
    low: tuple[float, ...]
    high: tuple[float, ...]
    coefficients: tuple[float, ...]
    error: float
    """Median, relative, on the shapes that were kept from the fit."""

    def seconds(self, load: Load) -> float:
        return self.seconds_like(load, load)

    def seconds_like(self, own: Load, like: Load) -> float:
        """On a GPU that was not measured: as far from its peak as the same shape (`like`) is on the one that was."""
        regime = [min(max(value, low), high) for value, low, high in zip(like.regime, self.low, self.high, strict=True)]
        values = terms(regime, like.corrections)
        exponent = sum(value * factor for value, factor in zip(values, self.coefficients, strict=True))
        exponent = min(max(exponent, self.least), self.most)
        return max(own.roofline_s, (own.roofline_s + self.floor_s) * exp(exponent))

    def distance(self, load: Load) -> float:
        """How far outside the regime that was measured, in natural logarithms; 0 inside."""
        ranges = zip(load.regime, self.low, self.high, strict=True)
        return max(0.0, *(max(low - value, value - high) for value, low, high in ranges))
