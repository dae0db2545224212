"""Errors of predictions, relative to what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .compare import Compared
from .peer import Prediction
from .rows import Measured

TPOT_MEDIAN, TPOT_MEAN, TTFT_MEAN = 0.09, 0.15, 0.28
"""What is wanted where AIConfigurator predicts as well."""

Predicted = Callable[[Compared], Prediction | None]

PREDICTIONS: dict[str, Predicted] = {
    "other architectures": lambda one: one.by_architecture,
    "other GPUs": lambda one: one.by_gpu,
    "unfitted": lambda one: one.unfitted,
    "AIConfigurator": lambda one: one.theirs,
}
"""By what they are fitted to."""


@dataclass(frozen=True)
class Errors:
    """Over deployments, absolute; `bias` is the median of predicted over measured, less 1."""

    deployments: int
    tpot_median: float
    tpot_mean: float
    tpot_bias: float
    ttft_median: float
    ttft_mean: float
    ttft_bias: float

    @property
    def reached(self) -> bool:
        return self.tpot_median <= TPOT_MEDIAN and self.tpot_mean <= TPOT_MEAN and self.ttft_mean <= TTFT_MEAN


def errors(compared: Sequence[Compared], predicted: Predicted) -> Errors | None:
    """None without predictions."""
    pairs = [(one.measured, found) for one in compared if (found := predicted(one)) is not None]
    return errors_of(pairs) if pairs else None


def errors_of(pairs: Sequence[tuple[Measured, Prediction]]) -> Errors:
    tpot = [found.tpot_ms / measured.tpot_ms - 1 for measured, found in pairs]
    ttft = [found.ttft_ms / measured.ttft_ms - 1 for measured, found in pairs]
    return Errors(len(pairs), *_of(tpot), *_of(ttft))


def _of(differences: Sequence[float]) -> tuple[float, float, float]:
    sizes = [abs(one) for one in differences]
    return statistics.median(sizes), statistics.mean(sizes), statistics.median(differences)
