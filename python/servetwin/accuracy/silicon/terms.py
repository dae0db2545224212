"""What whole runs tell that single kernels do not: two kinds of terms, physical and bounded, fitted to the sample.

`request_ms` of an engine and a benchmark: what a request takes on its way in, and its first token on its way out.
`eager_layer_us` of a kind of layer: the launches of one whose kernels are in no CUDA graph, as those of prompts are
not. Both add to TTFT; pass times stay as the operators have them, as factors on them that were fitted to some
architectures made others worse.

Each run is simulated at a few values of the launches; between them its times are taken as linear. What is fitted is
then simulated as it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

EAGER_LAYER_US = (300.0, 1000.0, 3000.0)
"""Where runs are simulated."""

BOUNDS: Mapping[str, tuple[float, float]] = {
    "request_ms": (0.0, 100.0),
    "eager_layer_us": (100.0, 4000.0),
}
"""Fits stay within. A launch takes a few microseconds, and eager layers have tens to hundreds of them."""

TRUST = 0.02
"""What a term must gain, in mean error, to go from one bound to the other."""

ROUNDED = 0.1
"""The absolute error is rounded off around 0, so that terms in turn find what they would find together."""

SWEEPS = 8

PRECISION = 0.005
"""Of a term, in parts of its range."""


@dataclass(frozen=True)
class Terms:
    """Of one run. Without a fit: as timing has them."""

    request_ms: float = 1.0
    eager_layer_us: float = 300.0


UNFITTED = Terms()


@dataclass(frozen=True)
class Fitted:
    """By engine with benchmark, and by kind of layer; those of neither are the defaults."""

    request_ms: Mapping[str, float]
    eager_layer_us: Mapping[str, float]

    def of(self, served: str, kind: str) -> Terms:
        return Terms(
            self.request_ms.get(served, UNFITTED.request_ms), self.eager_layer_us.get(kind, UNFITTED.eager_layer_us)
        )


@dataclass(frozen=True)
class Response:
    """One run at the values above, its times in milliseconds: TTFT and TPOT each."""

    served: str
    """By which engine, under which benchmark."""
    kind: str
    group: str
    measured: tuple[float, float]
    eager: tuple[tuple[float, float], ...]
    """At each value of the launches."""

    def times(self, terms: Terms) -> tuple[float, float]:
        ttft, tpot = _between(self.eager, terms.eager_layer_us)
        return ttft + terms.request_ms - UNFITTED.request_ms, tpot


def _between(values: Sequence[tuple[float, float]], at: float) -> tuple[float, float]:
    first = 0 if at <= EAGER_LAYER_US[1] else 1
    share = (at - EAGER_LAYER_US[first]) / (EAGER_LAYER_US[first + 1] - EAGER_LAYER_US[first])
    # Below the least value simulated nothing is known to shrink.
    share = max(share, 0.0)
    low, high = values[first], values[first + 1]
    return low[0] + share * (high[0] - low[0]), low[1] + share * (high[1] - low[1])


def fit(responses: Sequence[Response]) -> Fitted:
    """The terms with the least mean absolute error, relative to what was measured, of TTFT and TPOT alike; groups of
    rows weigh as the square root of their size, each pulled a little towards what it is without a fit."""
    sizes = Counter(one.group for one in responses)
    request_ms = dict.fromkeys((one.served for one in responses), UNFITTED.request_ms)
    eager_layer_us = dict.fromkeys((one.kind for one in responses), UNFITTED.eager_layer_us)
    for _ in range(SWEEPS):
        for served in request_ms:
            rows = [one for one in responses if one.served == served]

            def with_request(value: float, of: str = served) -> Fitted:
                return Fitted({**request_ms, of: value}, eager_layer_us)

            request_ms[served] = _best(rows, sizes, "request_ms", with_request)
        for kind in eager_layer_us:
            rows = [one for one in responses if one.kind == kind]

            def with_launches(value: float, of: str = kind) -> Fitted:
                return Fitted(request_ms, {**eager_layer_us, of: value})

            eager_layer_us[kind] = _best(rows, sizes, "eager_layer_us", with_launches)
    return Fitted(request_ms, eager_layer_us)


def _best(
    rows: Sequence[Response],
    sizes: Mapping[str, int],
    name: str,
    changed: Callable[[float], Fitted],
) -> float:
    """By golden section, between the term's bounds."""
    low, high = BOUNDS[name]
    width = high - low
    start: float = getattr(UNFITTED, name)

    def loss(value: float) -> float:
        return _loss(rows, sizes, changed(value)) + TRUST * abs(value - start) / width

    ratio = (math.sqrt(5) - 1) / 2
    while high - low > PRECISION * width:
        below, above = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, above) if loss(below) <= loss(above) else (below, high)
    return min((low + high) / 2, start, key=loss)


def _loss(rows: Sequence[Response], sizes: Mapping[str, int], fitted: Fitted) -> float:
    total = weights = 0.0
    for one in rows:
        weight = sizes[one.group] ** -0.5
        times = one.times(fitted.of(one.served, one.kind))
        for predicted, measured in zip(times, one.measured, strict=True):
            total += weight * math.hypot(predicted / measured - 1, ROUNDED)
        weights += 2 * weight
    return total / weights
