"""Screening: a first look at short stretches of the workload. It saves runs, and proves nothing."""

from __future__ import annotations

import math

from .load import Ran

SHARES = (1 / 16, 1 / 4)
"""Of the workload, in turn: who looks hopeless on the first is not looked at on the second."""

FAR = 1.5
"""How many times over its limits a deployment must be on a part of the workload to be given up for it."""

LESS = {1 / 16: 0.25, 1 / 4: 0.1}
"""By how much of a figure another must be better on such a share to be preferred without a look at the whole."""

FEWEST_REQUESTS = 200
"""A shorter stretch tells too little."""


def shares(requests: int) -> tuple[float, ...]:
    """Those that hold enough requests."""
    return tuple(share for share in SHARES if requests * share >= FEWEST_REQUESTS)


def on(share: float) -> str:
    """How a figure is known, for people."""
    return f"on {part(share)}"


def part(share: float) -> str:
    """A share of the workload, for people."""
    if share == 1:
        return "the whole workload"
    parts = 1 / share
    return f"1/{parts:.0f} of the workload" if parts.is_integer() else f"{share:.3g} of the workload"


def excess(run: Ran, attainment: float | None) -> float:
    """How far a run is from its service level: 1 or less meets it, 2 is twice over a limit.

    Of limits on requests, whose wanted share is `attainment`, the share of those that miss them counts instead.
    """
    if run.stalled:
        return math.inf
    summary = run.summary
    over = [
        # A statistic without a value is infinite, or has no sample at all.
        summary.get(key.removesuffix(".limit") + ".value", math.inf) / limit
        for key, limit in summary.items()
        if key.startswith("slo.") and key.endswith(".limit")
    ]
    if attainment is not None:
        missing = 1 - summary.get("slo.attainment", 0.0)
        # A tenth of the allowance at least, so that a wanted share of all allows for chance in a short run.
        over.append(missing / max(1 - attainment, 0.01))
    return max(over, default=1.0)
