"""The terms at which the simulator comes closest to what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from ..errors import InputError
from .groups import Group, MetricError, errors, groups
from .ranges import TermRange
from .runs import Load, Simulated, Simulator
from .solve import solve

NOISE, FLOOR = 0.03, 0.005
"""Of the mean of a group, as a share: to begin with, and at least."""

TOLD = 0.7
"""A term whose error is still so much of its prior's is not told by the measurements."""

FITTED = ("ttft", "tpot")
"""The latency of a request is made of these."""


@dataclass(frozen=True)
class Fit:
    """`stds` and `correlation` by term, in the order of `terms`; those of factors are of their logarithms."""

    terms: dict[str, float]
    stds: dict[str, float]
    correlation: list[list[float]]
    fixed: dict[str, str]
    at_bounds: dict[str, str]
    noise: float
    runs: int


@dataclass(frozen=True)
class Judged:
    """Errors where nothing was fitted, and what was kept from the fit."""

    by: str
    errors: dict[str, MetricError]
    groups: int


class Runs:
    """Simulations by terms, each made once."""

    def __init__(self, simulator: Simulator, told: Callable[[int], None] = lambda count: None) -> None:
        self.simulator = simulator
        self.count = 0
        self._told = told
        self._made: dict[tuple[str, tuple[tuple[str, float], ...]], Simulated] = {}

    def of(self, load: Load, terms: Mapping[str, float]) -> Simulated:
        key = (load.name, tuple(sorted(terms.items())))
        if key not in self._made:
            self._made[key] = self.simulator.simulated(load, terms)
            self.count += 1
            self._told(1)
        return self._made[key]

    def pairs(self, of: Sequence[Group], terms: Mapping[str, float]) -> list[tuple[Group, Simulated]]:
        return [(group, self.of(group.load, terms)) for group in of]


def fit(runs: Runs, of: Sequence[Group], ranges: Sequence[TermRange], fixed: Collection[str]) -> Fit:
    """Raises InputError for fewer data than terms."""
    free = [one for one in ranges if one.name not in fixed]
    told = sum(name in group.measured for group in of for name in FITTED)
    if told <= len(free):
        raise InputError(
            f"{told} measured means cannot tell {len(free)} terms ({', '.join(one.name for one in free)})",
            file=of[0].load.measurement.name,
            wanted="more requests or points, or --fix TERM for those that are known",
        )
    known = dict.fromkeys(fixed, "given")
    start = {one.name: one.start for one in ranges}
    while True:
        names = [one.name for one in free]

        def residuals(at: Sequence[float], free: Sequence[TermRange] = free) -> list[float]:
            terms = start | {one.name: one.outer(x) for one, x in zip(free, at, strict=True)}
            found = [group.residuals(run) for group, run in runs.pairs(of, terms)]
            return [one[name] for one in found for name in FITTED if name in one]

        solution = solve(residuals, [one.unknown for one in free], NOISE, FLOOR)
        stds = [math.sqrt(solution.covariance[i][i]) for i in range(len(free))]
        untold = max(range(len(free)), key=lambda i: stds[i] / free[i].prior, default=None)
        if untold is None or stds[untold] <= TOLD * free[untold].prior:
            break
        one = free[untold]
        known[one.name] = f"the measurements do not tell it: left at {one.start:g}"
        free = [other for other in free if other is not one]
    terms = {one.name: one.outer(x) for one, x in zip(free, solution.at, strict=True)}
    pairs = range(len(free))
    correlation = [[round(solution.covariance[i][j] / (stds[i] * stds[j]), 4) for j in pairs] for i in pairs]
    at_bounds = {}
    for one, x in zip(free, solution.at, strict=True):
        if x in (one.unknown.low, one.unknown.high):
            at_bounds[one.name] = one.reason if x == one.unknown.low else f"at most {one.high:g}"
    return Fit(terms, dict(zip(names, stds, strict=True)), correlation, known, at_bounds, solution.noise, runs.count)


def judge(runs: Runs, loads: Sequence[Load], ranges: Sequence[TermRange], fixed: Collection[str]) -> Judged:
    """Fits to one part and judges on the other: every second load, or of one alone the later half of its requests.

    Raises InputError as `fit` does.
    """
    if len(loads) > 1:
        ordered = sorted(loads, key=_intensity)
        here = [group for load in ordered[::2] for group in groups(load)]
        there = [group for load in ordered[1::2] for group in groups(load)]
        by = f"every second of {len(loads)} measurements, by their load"
    else:
        every = groups(loads[0])
        here, there = every[: (len(every) + 1) // 2], every[(len(every) + 1) // 2 :]
        by = "the later half of the requests"
    if not there:
        count = len(loads[0].trace)
        raise InputError(
            f"{count:,} requests cannot be parted into some to fit and some to judge by",
            file=loads[0].name,
            wanted="twice 15 requests, or two files or points",
        )
    found = fit(runs, here, ranges, fixed)
    start = {one.name: one.start for one in ranges}
    pairs = runs.pairs(there, start | found.terms)
    return Judged(by, errors(pairs), len(there))


def _intensity(load: Load) -> float:
    """Requests at a time, or tokens a second."""
    if load.point is not None:
        return float(load.point.users or load.point.rate_per_s or 0)
    if load.users is not None:
        return float(load.users)
    requests = load.measurement.requests
    lasted = max(requests[-1].sent_ps - requests[0].sent_ps, 1)
    return sum(one.input_tokens + one.output_tokens for one in requests) / lasted
