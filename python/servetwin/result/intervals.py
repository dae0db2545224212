"""From replications to an interval, and to the share that each source of error has in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEAST_FREEDOM = 5
"""Degrees of freedom below which no shares are told: they would be noise."""


@dataclass(frozen=True)
class Shares:
    """Of a metric's variance over the replications: from the pass times' error, and from the workload's chance.

    `error` is one standard error of either.
    """

    timing: float
    workload: float
    error: float


@dataclass(frozen=True)
class Interval:
    """A metric over the replications.

    Attributes:
        low, high: the interval; see `quantile`.
        median, mean, std: of the replications; `std / sqrt(replications)` is the standard error of `mean`.
        shares: None where nothing varies, or too few replications were run to tell.
    """

    low: float
    high: float
    median: float
    mean: float
    std: float
    shares: Shares | None

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "shares"} | (
            {} if self.shares is None else {"shares": vars(self.shares)}
        )


def least_replications(confidence: float) -> int:
    """So many that the smallest and the greatest of them hold the next one with this chance."""
    return max(math.ceil(2 / (1 - confidence) - 1 - 1e-9), 2)


def quantile(values: Sequence[float], share: float, even: float = 0.0) -> float:
    """At (n + 1)·share of the ordered values, the smallest counting as the first.

    Definition 6 of Hyndman & Fan (Sample quantiles in statistical packages, 1996): of n draws, the next lies below the
    k-th smallest with chance k / (n + 1), whatever they are drawn from. So an interval between two of these holds what
    comes next as often as it says, with 20 replications as well.

    Draws that are spread evenly lie one in each n-th part, the k-th smallest at (k - 1/2) / n (definition 5). `even`:
    how much of the variance comes from such draws; the place lies between the two accordingly.
    """
    ordered = sorted(values)
    place = ((len(ordered) + 1) * share - 1) * (1 - even) + (len(ordered) * share - 0.5) * even
    place = min(max(place, 0.0), len(ordered) - 1.0)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def interval(values: Sequence[float], errors: Mapping[str, Sequence[float]], confidence: float) -> Interval:
    """Of a metric's values, one a replication. `errors`: of each term of the pass times, what was drawn for each."""
    tail = (1 - confidence) / 2
    mean = math.fsum(values) / len(values)
    spread = math.fsum((value - mean) ** 2 for value in values)
    known = shares(values, errors)
    even = 0.0 if known is None else known.timing
    return Interval(
        low=quantile(values, tail, even),
        high=quantile(values, 1 - tail, even),
        median=quantile(values, 0.5),
        mean=mean,
        std=math.sqrt(spread / (len(values) - 1)),
        shares=known,
    )


def shares(values: Sequence[float], errors: Mapping[str, Sequence[float]]) -> Shares | None:
    """The law of total variance: Var(m) = Var(E[m | errors]) + E[Var(m | errors)].

    The errors drawn are known numbers, so the first term needs no runs of its own: it is the variance that a
    regression of the metric on them explains (linear and quadratic for one term, linear for several). R² is too large
    with few runs; adjusted for degrees of freedom (Ezekiel, 1930) it is not. The rest is the workload's, and that of
    both together. The standard error is that of R² (Olkin & Siotani, 1976; in Cohen et al., 2003, 3.6.2).
    """
    n = len(values)
    mean = math.fsum(values) / n
    total = math.fsum((value - mean) ** 2 for value in values)
    if total <= (1e-12 * abs(mean)) ** 2 * n:
        return None
    terms = [list(drawn) for drawn in errors.values()]
    if not terms:
        return Shares(0.0, 1.0, 0.0)
    if len(terms) == 1:
        terms.append([one * one for one in terms[0]])
    freedom = n - 1 - len(terms)
    if freedom < LEAST_FREEDOM:
        return None
    explained = 1 - _left(values, terms) / total
    adjusted = min(max(1 - (1 - explained) * (n - 1) / freedom, 0.0), 1.0)
    error = math.sqrt(4 * adjusted * (1 - adjusted) ** 2 * freedom**2 / ((n**2 - 1) * (n + 3)))
    return Shares(adjusted, 1 - adjusted, error)


def _left(values: Sequence[float], terms: Sequence[Sequence[float]]) -> float:
    """The sum of squares that least squares leave, by taking one term after the other out of all that follow."""
    columns = [_centred(column) for column in (*terms, values)]
    for place, column in enumerate(columns[:-1]):
        size = math.fsum(one * one for one in column)
        if size <= 0:
            continue
        for other in columns[place + 1 :]:
            along = math.fsum(a * b for a, b in zip(column, other, strict=True)) / size
            other[:] = [b - along * a for a, b in zip(column, other, strict=True)]
    return math.fsum(one * one for one in columns[-1])


def _centred(column: Sequence[float]) -> list[float]:
    mean = math.fsum(column) / len(column)
    return [value - mean for value in column]
