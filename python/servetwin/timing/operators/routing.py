"""Which experts get how many tokens, where loads follow a power law as they do in models that serve real traffic."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from statistics import fmean

SHUFFLES = 6
"""Of the experts among ranks, that the fullest rank is averaged over."""


@dataclass(frozen=True)
class Routed:
    """On the fullest rank, averages."""

    rows: float
    """Pairs of token and expert."""
    hit: float
    """Experts with a token."""
    largest: float
    """Rows of the expert with most."""


@cache
def fullest_rank(tokens: int, experts: int, active: int, ranks: int, skew: float) -> Routed:
    """`tokens` tokens, each to `active` of `experts` experts, which `ranks` ranks share evenly.

    Loads are proportional to the quantiles of a power law with exponent `skew` between one token and 80 % of all,
    as AIConfigurator's timings draw them at random; with a skew of 0 they are alike.
    """
    loads = _loads(tokens, experts, active, skew)
    each = experts // ranks
    groups = [loads]
    if ranks > 1:
        shuffled = random.Random(experts)
        groups = []
        for _ in range(SHUFFLES):
            order = shuffled.sample(loads, len(loads))
            groups.append(max((order[first : first + each] for first in range(0, each * ranks, each)), key=sum))
    return Routed(
        rows=max(fmean(map(sum, groups)), 1.0),
        hit=max(fmean(sum(1 for load in group if load) for group in groups), 1.0),
        largest=max(fmean(map(max, groups)), 1.0),
    )


def _loads(tokens: int, experts: int, active: int, skew: float) -> list[int]:
    total = tokens * active
    if skew == 0:
        each, more = divmod(total, experts)
        return [each + (expert < more) for expert in range(experts)]
    low, high = (1.0, 0.8 * tokens) if total > experts else (0.01, 2.0)
    quantiles = [(index + 0.5) / experts for index in range(experts)]
    if skew == 1:
        weights = [low * (high / low) ** quantile for quantile in quantiles]
    else:
        power = 1 - skew
        weights = [((high**power - low**power) * quantile + low**power) ** (1 / power) for quantile in quantiles]
    scale = total / sum(weights)
    loads = [min(round(weight * scale), tokens) for weight in weights]
    missing = total - sum(loads)
    step, expert = (1 if missing > 0 else -1), experts - 1
    # What rounding lost goes to the fullest first; an expert gets a token once.
    while missing:
        if 0 <= loads[expert] + step <= tokens:
            loads[expert] += step
            missing -= step
        expert = expert - 1 if expert else experts - 1
    return loads
