"""Worlds whose truth is known: a system drawn from the model's own error, under traffic from a known process.

What an operator has: a spec, and traffic that was seen once. What comes next: other traffic of the same process, on a
system whose pass times are off by an error that the model states. The interval of the first ought to hold the second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ...describe import resolve, with_error
from ...replication import replicate
from ...simulation import carry_out, own_routers
from ...spec import make_spec
from ...timing.draws import ErrorDraw
from ...workload import open_workload

METRICS = (
    "ttft_ms.mean",
    "ttft_ms.p95",
    "tpot_ms.mean",
    "tpot_ms.p95",
    "e2e_ms.mean",
    "e2e_ms.p95",
    "output_tokens_per_s",
    "prefix_reuse",
)

WORLDS = 60
"""Drawn of each kind: a share of 90 % is then known to about 4 points."""

REPLICATIONS = 20

SYSTEM: dict[str, Any] = {"model": "llama-3.1-8b", "gpu": "h100", "engine": {"max_model_len": 8192}}

REQUESTS: dict[str, Any] = {
    "requests": 400,
    "input_tokens": {"p50": 800, "p99": 4000},
    "output_tokens": {"p50": 150, "p99": 500},
    "prefix": {"groups": 20, "tokens": 512, "share": 0.5, "zipf": 1.1},
}

SESSIONS: dict[str, Any] = {
    "sessions": {
        "turns": {"values": [1, 2, 4, 8]},
        "new_tokens": {"p50": 100, "p99": 400},
        "think_time_s": {"p50": 2, "p99": 9},
    },
}


@dataclass(frozen=True)
class Kind:
    """Attributes:
    process: the traffic, as a spec's workload.
    seen: whether intervals come from the trace that was seen, not from the process.
    users: of a closed loop over that trace.
    """

    name: str
    process: Mapping[str, Any]
    seen: bool = True
    users: int | None = None


KINDS = (
    Kind("Poisson, from the generator", REQUESTS | {"kind": "poisson", "rate_per_s": 12}, seen=False),
    Kind("Poisson, from a trace", REQUESTS | {"kind": "poisson", "rate_per_s": 12}),
    Kind("bursts, from a trace", REQUESTS | {"kind": "gamma", "rate_per_s": 8, "cv": 3}),
    Kind(
        "on and off, from a trace",
        REQUESTS | {"kind": "on_off", "on_rate_per_s": 16, "off_rate_per_s": 2, "on_s": 3, "off_s": 3},
    ),
    Kind("sessions, from a trace", REQUESTS | SESSIONS | {"kind": "poisson", "rate_per_s": 4}),
    Kind("closed loop, from a trace", REQUESTS | {"kind": "poisson", "rate_per_s": 12}, users=24),
)


@dataclass(frozen=True)
class Held:
    """Of one kind of world: by metric, in how many of so many worlds the interval held the truth."""

    name: str
    worlds: int
    held: dict[str, int]

    @property
    def share(self) -> float:
        return sum(self.held.values()) / (self.worlds * len(self.held))


def coverage(workers: int, worlds: int = WORLDS) -> Iterator[Held]:
    """Kind by kind; the same for the same numbers."""
    with ThreadPoolExecutor(workers) as pool:
        for kind in KINDS:
            found = list(pool.map(lambda world, kind=kind: _held(kind, world), range(worlds)))
            yield Held(kind.name, worlds, {metric: sum(one[metric] for one in found) for metric in found[0]})


def _held(kind: Kind, world: int) -> dict[str, bool]:
    process = make_spec(SYSTEM | {"workload": dict(kind.process), "seed": 2 * world})
    spec, trace = process, None
    if kind.seen:
        trace = open_workload(process)
        workload = {"trace": "seen"} | ({} if kind.users is None else {"users": kind.users})
        spec = make_spec(SYSTEM | {"workload": workload, "seed": world})
    found = replicate(spec, trace, replications=REPLICATIONS, workers=1).replications
    assert found is not None
    # Odd seeds are nobody's replications.
    next_day = make_spec(SYSTEM | {"workload": dict(kind.process), "seed": 2 * world + 1})
    system = with_error(resolve(spec), ErrorDraw(-1 - world, 0))
    _, truth = carry_out(spec, system, open_workload(next_day), own_routers(system))
    return {
        metric: found.intervals[metric].low <= truth[metric] <= found.intervals[metric].high
        for metric in METRICS
        if metric in found.intervals and metric in truth
    }
