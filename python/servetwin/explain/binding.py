"""What binds, and for how long: the replicas' states at the points of the time series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..describe import Deployment
from ..result.result import Result
from ..units import PS_PER_S

IDLE, FREE = "idle", "nothing waits"
STATES = (IDLE, FREE, "batch slots", "kv cache", "tokens of a pass", "transfer")
"""The last four keep the first request that waits out of the batch (`holdup` of series.parquet): as many requests as
may run do; the cache has no room; prompts before it take the pass's tokens; its KV is on its way."""


@dataclass(frozen=True)
class Binding:
    """One pool's replicas over the run.

    Attributes:
        role: of the pool.
        shares: of the time of all its replicas, by state; they add up to 1.
        running: requests that run on a replica, on average while any does.
        cache_used: of its cache, on average over the run.
    """

    role: str
    shares: Mapping[str, float]
    running: float
    cache_used: float


@dataclass(frozen=True)
class Link:
    """Hand-overs on their way.

    Attributes:
        busy: share of the run in which at least one was.
        most: at once.
    """

    busy: float
    most: int


def bindings(result: Result, deployment: Deployment) -> list[Binding]:
    """By pool, in the order of the deployment; without a series, nothing."""
    table = result.series
    names = ("replica", "running", "waiting", "used_blocks")
    rows = list(zip(*(table[name].to_pylist() for name in names), table["holdup"].to_pylist(), strict=True))
    found, first = [], 0
    for pool in deployment.pools:
        last = first + pool.spec.replicas
        own = [row for row in rows if first <= row[0] < last]
        first = last
        if not own:
            continue
        states = Counter(_state(running, waiting, holdup) for _, running, waiting, _, holdup in own)
        blocks = pool.engine.blocks * pool.spec.parallel.data
        busy = [running for _, running, *_ in own if running]
        found.append(
            Binding(
                pool.role,
                {state: states[state] / len(own) for state in STATES if states[state]},
                sum(busy) / len(busy) if busy else 0.0,
                sum(row[3] for row in own) / len(own) / blocks,
            )
        )
    return found


def _state(running: int, waiting: int, holdup: str) -> str:
    if waiting:
        return holdup
    return FREE if running else IDLE


def link(result: Result) -> Link | None:
    """None where nothing is handed over."""
    table = result.requests
    if "transfer_start_ps" not in table.column_names:
        return None
    ways = [
        (start, end)
        for start, end in zip(table["transfer_start_ps"].to_pylist(), table["transfer_end_ps"].to_pylist(), strict=True)
        if start is not None and end is not None
    ]
    if not ways:
        return None
    steps = sorted([(start, 1) for start, _ in ways] + [(end, -1) for _, end in ways])
    busy = most = now = since = 0
    for time, step in steps:
        busy += time - since if now else 0
        now, since = now + step, time
        most = max(most, now)
    ends = [time for time in table["end_ps"].to_pylist() if time is not None]
    length = max(ends) - min(time for time in table["arrival_ps"].to_pylist() if time is not None)
    return Link(busy / max(length, PS_PER_S // 1000), most)
