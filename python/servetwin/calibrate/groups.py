"""What is compared: means over groups of requests that were sent one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

from .measured import Request
from .runs import Load, Simulated

GROUP = 15
"""Requests at least: fewer say more of chance than of the deployment."""
MOST_GROUPS = 20
METRICS = ("ttft", "tpot", "latency")
SATURATED = 3.0
"""Times the TTFT of the fastest tenth: such a request waited."""


@dataclass(frozen=True)
class Group:
    """Requests `start` to `end` of a load. `measured`: means in picoseconds, by metric."""

    load: Load
    start: int
    end: int
    measured: dict[str, float]

    @property
    def requests(self) -> int:
        return self.end - self.start

    def simulated(self, run: Simulated) -> dict[str, float]:
        """The same means of a run."""
        rows = range(self.start, self.end)
        return _means([(run.ttft_ps[i], run.latency_ps[i], run.output_tokens[i]) for i in rows])

    def residuals(self, run: Simulated) -> dict[str, float]:
        """By metric, the logarithm of simulated over measured."""
        simulated = self.simulated(run)
        return {
            name: math.log(simulated[name] / value)
            for name, value in self.measured.items()
            if value > 0 and simulated.get(name, 0) > 0
        }


def groups(load: Load) -> list[Group]:
    """Of about equal size."""
    if load.point is not None:
        point = load.point
        means = {"ttft": point.ttft_ps, "tpot": point.tpot_ps}
        return [Group(load, 0, len(load.trace), {name: value for name, value in means.items() if value is not None})]
    requests = load.measurement.requests
    count = min(max(len(requests) // GROUP, 1), MOST_GROUPS)
    bounds = [len(requests) * i // count for i in range(count + 1)]
    return [Group(load, start, end, measured_means(requests[start:end])) for start, end in pairwise(bounds)]


def measured_means(requests: Iterable[Request]) -> dict[str, float]:
    return _means([(one.ttft_ps, one.latency_ps, one.output_tokens) for one in requests])


def _means(times: Sequence[tuple[int, int, int]]) -> dict[str, float]:
    """TPOT as the mean over requests with several tokens, as benchmarks report it."""
    means = {"ttft": fmean(ttft for ttft, _, _ in times), "latency": fmean(latency for _, latency, _ in times)}
    gaps = [(latency - ttft) / (tokens - 1) for ttft, latency, tokens in times if tokens > 1]
    return means | ({"tpot": fmean(gaps)} if gaps else {})


@dataclass(frozen=True)
class MetricError:
    """Of a metric, as shares: of the mean over all requests, and the median over groups without regard to sign."""

    mean: float
    median_group: float


def errors(pairs: Sequence[tuple[Group, Simulated]]) -> dict[str, MetricError]:
    """By metric."""
    found: dict[str, MetricError] = {}
    for name in METRICS:
        rows = [(g.requests, g.measured[name], g.simulated(run)[name]) for g, run in pairs if name in g.measured]
        if rows:
            measured = sum(count * value for count, value, _ in rows)
            simulated = sum(count * value for count, _, value in rows)
            middle = median(abs(math.log(simulated_ / measured_)) for _, measured_, simulated_ in rows)
            found[name] = MetricError(simulated / measured - 1, middle)
    return found


def saturated(load: Load, run: Simulated) -> tuple[int, dict[str, float]] | None:
    """How many requests waited, as measured, and the error of their mean by metric; None if hardly any did."""
    if load.point is not None:
        return None
    requests = load.measurement.requests
    fast = sorted(one.ttft_ps for one in requests)[len(requests) // 10]
    waited = [i for i, one in enumerate(requests) if one.ttft_ps > SATURATED * fast]
    if len(waited) < max(len(requests) // 10, GROUP):
        return None
    measured = measured_means([requests[i] for i in waited])
    simulated = _means([(run.ttft_ps[i], run.latency_ps[i], run.output_tokens[i]) for i in waited])
    return len(waited), {name: simulated[name] / measured[name] - 1 for name in METRICS if name in measured}
