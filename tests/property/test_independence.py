"""What cannot matter does not: what comes later, what other replicas do, when the clock was started."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from servetwin import _core

from .topologies import ONE_POOL, TOPOLOGIES, Deployed, numbers

NONE = 2**32 - 1
TIMES = ("arrival_ps", "routed_ps", "scheduled_ps", "first_token_ps", "last_token_ps", "end_ps")
COUNTS = ("output_tokens", "cached_tokens", "preemptions", "status", "reason")


def alone(world: Deployed, **changes: Any) -> Deployed:
    """With requests that neither wait for others nor for users."""
    trace = world.trace
    arrivals = sorted(trace["arrival_ps"])
    free = {"arrival_ps": arrivals, "after": [-1] * len(arrivals), "wait_for": [], "wait_offsets": []}
    return replace(world, trace=trace | free, run=world.run | {"users": None} | changes)


def only(trace: dict[str, Any], rows: list[int]) -> dict[str, Any]:
    """These of its requests."""
    names = ("arrival_ps", "input_tokens", "output_tokens", "max_output_tokens", "priority", "after")
    offsets = trace["block_offsets"]
    blocks = [trace["block_ids"][offsets[row] : offsets[row + 1]] for row in rows]
    dense = {block: index for index, block in enumerate(dict.fromkeys(block for held in blocks for block in held))}
    ends = [0]
    for held in blocks:
        ends.append(ends[-1] + len(held))
    return trace | {
        **{name: [trace[name][row] for row in rows] for name in names},
        "block_ids": [dense[block] for held in blocks for block in held],
        "block_offsets": ends,
    }


def rows_of(run: _core.Run, *names: str) -> list[tuple[int, ...]]:
    return list(zip(*(numbers(run, name) for name in names), strict=True))


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_the_future_changes_nothing(topology: str) -> None:
    """Without the requests from some time on, all that happened until then is the same."""

    @settings(max_examples=25)
    @given(TOPOLOGIES[topology], st.integers(0, 38))
    def holds(world: Deployed, drawn: int) -> None:
        world = alone(world)
        arrivals = world.trace["arrival_ps"]
        steps = [row for row in range(1, len(arrivals)) if arrivals[row - 1] < arrivals[row]]
        assume(steps)
        kept = steps[drawn % len(steps)]
        whole = world.simulate()
        cut = replace(world, trace=only(world.trace, list(range(kept)))).simulate()

        def until_then(run: _core.Run) -> list[list[int]]:
            columns = [numbers(run, name)[:kept] for name in TIMES]
            return [[time if time < arrivals[kept] else -1 for time in column] for column in columns]

        assert until_then(whole) == until_then(cut)

    holds()


def apart(pool: dict[str, Any]) -> bool:
    """Whether its replicas share nothing, and draw nothing by the number of a request."""
    engine = pool["engine"]
    drawn = (engine.get("acceptance") or {}).get("kind") == "drawn"
    below = (engine.get("offload") or {}).get("below") or []
    return not drawn and all(tier["place"] != "shared" for tier in below)


@pytest.mark.parametrize("topology", ONE_POOL)
def test_replicas_go_their_own_way(topology: str) -> None:
    """Under a router that looks at nothing, each does what it would do by itself with its requests."""

    @settings(max_examples=25)
    @given(ONE_POOL[topology])
    def holds(world: Deployed) -> None:
        assume(apart(world.run["pools"][0]))
        pool = world.run["pools"][0] | {"replicas": 3, "router": {"kind": "round_robin"}}
        world = alone(world, pools=[pool])
        whole = world.simulate()
        replicas, records = numbers(whole, "replica"), rows_of(whole, *TIMES, *COUNTS)
        for replica in set(replicas) - {NONE}:
            rows = [row for row, one in enumerate(replicas) if one == replica]
            by_itself = replace(world, trace=only(world.trace, rows)).changed(pools=[pool | {"replicas": 1}])
            assert rows_of(by_itself.simulate(), *TIMES, *COUNTS) == [records[row] for row in rows]

    holds()


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_clock_that_starts_later_shows_later_times(topology: str) -> None:
    """With routers and ranks that look at no clock of their own."""
    routers = st.sampled_from(["round_robin", "least_requests", "random"])

    @settings(max_examples=25)
    @given(TOPOLOGIES[topology], routers, st.sampled_from([1, 10**9 + 7, 10**15]))
    def holds(world: Deployed, router: str, later_ps: int) -> None:
        pools = [dict(pool, router={"kind": router}) for pool in world.run["pools"]]
        for pool in pools:
            if "data" in pool:
                pool["data"] = pool["data"] | {"balance": {"kind": "round_robin"}}
        world = alone(world, pools=pools)
        late = world.trace | {"arrival_ps": [time + later_ps for time in world.trace["arrival_ps"]]}
        early, late_run = world.simulate(), replace(world, trace=late).changed(series_interval_ps=10**15).simulate()
        for name in TIMES:
            moved = [time + later_ps if time >= 0 else time for time in numbers(early, name)]
            assert numbers(late_run, name) == moved, name
        assert rows_of(late_run, *COUNTS) == rows_of(early, *COUNTS)

    holds()
