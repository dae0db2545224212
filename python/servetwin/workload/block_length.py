"""How long blocks of time must be for a bootstrap to keep what hangs together in a trace.

The rule of Politis & White (Automatic block-length selection for the dependent bootstrap, Econometric Reviews 23,
2004), as corrected by Patton, Politis & White (the same, 28, 2009), for the circular block bootstrap. It is applied to
the tokens that arrive in equal parts of the trace's time, after a moving average is taken away: what changes more
slowly than that stays in its place, since blocks are drawn from near theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..units import PS_PER_S
from .columns import array, followers

if TYPE_CHECKING:
    from .._core import Trace

MOST_BINS = 1024
STARTS_PER_BIN = 4
"""On average, at least."""

KEPT_SHARE = 8
"""Rates that change over more than an eighth of the trace stay where they are."""

LEAST_STARTS = KEPT_SHARE * STARTS_PER_BIN

SIGNIFICANT = 2.0
"""Politis & White's c: autocorrelations beyond c·√(log₁₀ n / n) are not chance."""


@dataclass(frozen=True)
class Blocks:
    """Attributes:
    length_ps: of a block.
    near_ps: how far from its own place a block may be drawn: at least four blocks, so that there is a choice.
    """

    length_ps: int
    near_ps: int


def blocks(trace: Trace) -> Blocks | None:
    """None where there is no time to divide: requests come at once, or too few at their own times."""
    import pyarrow as pa
    import pyarrow.compute as pc

    own = pc.invert(followers(trace))
    times = array(trace, "arrival_ps").filter(own)
    span_ps = times[-1].as_py() - times[0].as_py()
    if span_ps <= 0 or len(times) < LEAST_STARTS:
        return None
    tokens = pc.add(array(trace, "input_tokens").cast(pa.int64()), array(trace, "output_tokens").cast(pa.int64()))
    count = min(len(times) // STARTS_PER_BIN, MOST_BINS)
    width_ps = span_ps // count + 1
    bins = pc.divide(pc.subtract(times, times[0]), width_ps)
    sums = pa.table({"bin": bins, "tokens": tokens.filter(own)}).group_by("bin").aggregate([("tokens", "sum")])
    series = [0.0] * count
    for place, total in zip(sums["bin"].to_pylist(), sums["tokens_sum"].to_pylist(), strict=True):
        series[place] = float(total)
    in_bins = min(block_length(without_trend(series, count // KEPT_SHARE)), count / KEPT_SHARE)
    length_ps = max(round(in_bins * width_ps), 1)
    return Blocks(length_ps, max(span_ps // (2 * KEPT_SHARE), 4 * length_ps))


def length_s(found: Blocks) -> float:
    return found.length_ps / PS_PER_S


def without_trend(series: Sequence[float], window: int) -> list[float]:
    """Less the mean of about `window` values around each: towards the ends of fewer, as many before as behind."""
    sums = [0.0]
    for value in series:
        sums.append(sums[-1] + value)
    half = max(window // 2, 1)
    left = []
    for place, value in enumerate(series):
        reach = min(half, place, len(series) - 1 - place)
        left.append(value - (sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1))
    return left


def block_length(series: Sequence[float]) -> float:
    """Of a stationary series, in its steps: at least 1, at most a third of it or 3·√n."""
    n = len(series)
    mean = sum(series) / n
    centred = [value - mean for value in series]
    most = math.ceil(min(3 * math.sqrt(n), n / 3))

    def covariance(lag: int) -> float:
        return sum(a * b for a, b in zip(centred, centred[lag:], strict=False)) / n

    variance = covariance(0)
    if variance <= 0:
        return 1.0
    run = max(5, math.ceil(math.sqrt(math.log10(n))))
    last = min(math.ceil(math.sqrt(n)) + run, n - 1)
    covariances = [covariance(lag) for lag in range(last + 1)]
    chance = SIGNIFICANT * math.sqrt(math.log10(n) / n) * variance
    found = _insignificant_after(covariances, run, chance)
    bandwidth = min(max(2 * found, 1), last)
    weights = [_flat_top(lag / bandwidth) for lag in range(bandwidth + 1)]
    slope = 2 * sum(w * lag * covariances[lag] for lag, w in enumerate(weights))
    spectrum = covariances[0] + 2 * sum(w * covariances[lag] for lag, w in enumerate(weights) if lag)
    if spectrum <= 0:
        return 1.0
    length = math.cbrt(2 * slope**2 / (4 / 3 * spectrum**2) * n)
    return min(max(length, 1.0), float(most))


def _insignificant_after(covariances: Sequence[float], run: int, chance: float) -> int:
    """The smallest lag after which `run` autocorrelations are all chance; else the last that is none."""
    significant = [lag for lag, value in enumerate(covariances) if lag and abs(value) >= chance]
    for lag in range(len(covariances) - run):
        if not any(lag < other <= lag + run for other in significant):
            return lag
    return significant[-1] if significant else 0


def _flat_top(share: float) -> float:
    """The trapezoidal window of Politis & Romano (1995)."""
    return 1.0 if share <= 0.5 else max(2 * (1 - share), 0.0)
