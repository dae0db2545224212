"""Least squares with bounds and prior knowledge, for a handful of unknowns.

Gauss-Newton (Levenberg-Marquardt) on residuals in units of their noise, each unknown with a normal prior of mean
`start` and standard deviation `prior`. The posterior's covariance is the inverse of the normal matrix at the optimum
(Gelman et al., Bayesian Data Analysis, 4.1); large residuals count less (Huber, 1964).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

HUBER = 1.5
"""Standard deviations beyond which a residual counts with its size, not its square."""
ROUNDS = 12
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
    noise: float
    """Of a residual: root of the mean square, at least the floor."""


def solve(residuals: Residuals, unknowns: Sequence[Unknown], noise: float, floor: float) -> Solution:
    """`noise`: of a residual, to begin with; afterwards as found, at least `floor`."""
    at = [one.start for one in unknowns]
    found = residuals(at)
    for _ in range(2):  # the noise is known after the first
        at, found = _descend(residuals, unknowns, at, found, noise)
        free = max(len(found) - len(unknowns), 1)
        noise = max(math.sqrt(sum(_weight(r, noise) * r * r for r in found) / free), floor)
    matrix, _ = _normal(residuals, unknowns, at, found, noise)
    return Solution(at, inverse(matrix), noise)


def _descend(
    residuals: Residuals, unknowns: Sequence[Unknown], at: list[float], found: list[float], noise: float
) -> tuple[list[float], list[float]]:
    damping, cost = 1e-3, _cost(unknowns, at, found, noise)
    for _ in range(ROUNDS if unknowns else 0):
        matrix, slope = _normal(residuals, unknowns, at, found, noise)
        before = cost
        for _ in range(5):
            damped = [[v * (1 + damping) if i == j else v for j, v in enumerate(row)] for i, row in enumerate(matrix)]
            move = solved(damped, [-value for value in slope])
            there = [min(max(x + dx, one.low), one.high) for x, dx, one in zip(at, move, unknowns, strict=True)]
            tried = residuals(there)
            tried_cost = _cost(unknowns, there, tried, noise)
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


def _cost(unknowns: Sequence[Unknown], at: Sequence[float], found: Sequence[float], noise: float) -> float:
    sizes = (abs(residual) / noise for residual in found)
    data = sum(size * size / 2 if size <= HUBER else HUBER * (size - HUBER / 2) for size in sizes)
    return data + sum(((x - one.start) / one.prior) ** 2 / 2 for x, one in zip(at, unknowns, strict=True))


def _normal(
    residuals: Residuals, unknowns: Sequence[Unknown], at: list[float], found: list[float], noise: float
) -> tuple[list[list[float]], list[float]]:
    """Matrix and slope of the cost."""
    columns = []
    for i, one in enumerate(unknowns):
        step = one.step if at[i] + one.step <= one.high else -one.step
        moved = residuals([x + step if j == i else x for j, x in enumerate(at)])
        columns.append([(b - a) / step for a, b in zip(found, moved, strict=True)])
    weights = [_weight(residual, noise) / noise**2 for residual in found]
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
