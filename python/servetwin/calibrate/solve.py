"""Least squares with bounds and prior knowledge, for a handful of unknowns.

Gauss-Newton (Levenberg-Marquardt) on residuals in units of their noise, which is found for each kind of them, each
unknown with a normal prior of mean `start` and standard deviation `prior`. The posterior's covariance is the inverse of
the normal matrix at the optimum (Gelman et al., Bayesian Data Analysis, 4.1); large residuals count less (Huber, 1964).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

HUBER = 1.5
"""Standard deviations beyond which a residual counts with its size, not its square."""
ROUNDS = 12
ROUNDS_OF_NOISE = 3
ENOUGH = 1e-4
"""Relative improvement below which it ends."""

Residuals = Callable[[Sequence[float]], list[float]]


@dataclass(frozen=True)
class Unknown:
    start: float
    low: float
    high: float
    prior: float
    step: float
    """Over which slopes are taken: longer than what single decisions of a scheduler do."""


@dataclass(frozen=True)
class Solution:
    at: list[float]
    covariance: list[list[float]]
    noise: dict[str, float]
    """By kind of residual: root of the mean square, at least the floor."""


def solve(
    residuals: Residuals, kinds: Sequence[str], unknowns: Sequence[Unknown], noise: float, floor: float
) -> Solution:
    """`kinds`: of each residual. `noise`: of any, to begin with; afterwards as found, at least `floor`."""
    at = [one.start for one in unknowns]
    by_kind = dict.fromkeys(kinds, noise)
    found = residuals(at)
    for _ in range(ROUNDS_OF_NOISE):
        noises = [by_kind[kind] for kind in kinds]
        at, found = _descend(residuals, unknowns, at, found, noises)
        by_kind = {kind: max(_spread(found, noises, kinds, kind, len(unknowns)), floor) for kind in by_kind}
    noises = [by_kind[kind] for kind in kinds]
    matrix, _ = _normal(residuals, unknowns, at, found, noises)
    return Solution(at, inverse(matrix), by_kind)


def _spread(found: Sequence[float], noises: Sequence[float], kinds: Sequence[str], kind: str, unknowns: int) -> float:
    """Of the residuals of a kind; the unknowns are told by all kinds alike."""
    own = [_weight(r, noise) * r * r for r, noise, other in zip(found, noises, kinds, strict=True) if other == kind]
    free = max(len(own) * (1 - unknowns / len(found)), 1)
    return math.sqrt(sum(own) / free)


def _descend(
    residuals: Residuals, unknowns: Sequence[Unknown], at: list[float], found: list[float], noises: Sequence[float]
) -> tuple[list[float], list[float]]:
    damping, cost = 1e-3, _cost(unknowns, at, found, noises)
    for _ in range(ROUNDS if unknowns else 0):
        matrix, slope = _normal(residuals, unknowns, at, found, noises)
        before = cost
        for _ in range(5):
            damped = [[v * (1 + damping) if i == j else v for j, v in enumerate(row)] for i, row in enumerate(matrix)]
            move = solved(damped, [-value for value in slope])
            there = [min(max(x + dx, one.low), one.high) for x, dx, one in zip(at, move, unknowns, strict=True)]
            tried = residuals(there)
            tried_cost = _cost(unknowns, there, tried, noises)
            if tried_cost < cost:
                at, found, cost, damping = there, tried, tried_cost, damping / 5
                break
            damping *= 8
        if before - cost <= ENOUGH * before:
            break
    return at, found


def _weight(residual: float, noise: float) -> float:
    size = abs(residual) / noise
    return 1.0 if size <= HUBER else HUBER / size


def _cost(unknowns: Sequence[Unknown], at: Sequence[float], found: Sequence[float], noises: Sequence[float]) -> float:
    sizes = (abs(residual) / noise for residual, noise in zip(found, noises, strict=True))
    data = sum(size * size / 2 if size <= HUBER else HUBER * (size - HUBER / 2) for size in sizes)
    return data + sum(((x - one.start) / one.prior) ** 2 / 2 for x, one in zip(at, unknowns, strict=True))


def _normal(
    residuals: Residuals, unknowns: Sequence[Unknown], at: list[float], found: list[float], noises: Sequence[float]
) -> tuple[list[list[float]], list[float]]:
    """Matrix and slope of the cost."""
    columns = []
    for i, one in enumerate(unknowns):
        ends = max(at[i] - one.step, one.low), min(at[i] + one.step, one.high)
        below, above = (residuals([end if j == i else x for j, x in enumerate(at)]) for end in ends)
        columns.append([(b - a) / (ends[1] - ends[0]) for a, b in zip(below, above, strict=True)])
    weights = [_weight(residual, noise) / noise**2 for residual, noise in zip(found, noises, strict=True)]
    size = range(len(unknowns))
    matrix = [
        [sum(w * a * b for w, a, b in zip(weights, columns[i], columns[j], strict=True)) for j in size] for i in size
    ]
    slope = [sum(w * a * r for w, a, r in zip(weights, columns[i], found, strict=True)) for i in size]
    for i, one in enumerate(unknowns):
        matrix[i][i] += 1 / one.prior**2
        slope[i] += (at[i] - one.start) / one.prior**2
    return matrix, slope


def solved(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """The solution of a positive definite system."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for i in range(size):
        pivot = max(range(i, size), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(size):
            if k != i:
                share = rows[k][i] / rows[i][i]
                rows[k] = [a - share * b for a, b in zip(rows[k], rows[i], strict=True)]
    return [rows[i][size] / rows[i][i] for i in range(size)]


def inverse(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """Of a positive definite matrix."""
    size = range(len(matrix))
    columns = [solved(matrix, [float(i == j) for i in size]) for j in size]
    return [[columns[j][i] for j in size] for i in size]
