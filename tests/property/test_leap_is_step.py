"""Leaping is an optimisation: with it and without, a run leaves the same records, bit for bit."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from .worlds import World, records, worlds


@settings(max_examples=400, deadline=None)
@given(worlds())
def test_leaping_changes_nothing(world: World) -> None:
    leapt, stepped = world.simulate(leap=True), world.simulate(leap=False)
    assert stepped.leaps == 0
    assert records(leapt) == records(stepped)


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_the_same_run_twice(world: World) -> None:
    assert records(world.simulate()) == records(world.simulate())


class LeastUsed:
    def route(self, request, replicas):  # type: ignore[no-untyped-def]
        return min(replicas, key=lambda replica: (replica.used_blocks, replica.requests, replica.index)).index


@settings(max_examples=150, deadline=None)
@given(worlds(), st.sampled_from([0, 10**9, 37 * 10**9]), st.sampled_from([0, 10**9, 5 * 10**9]))
def test_a_router_sees_the_same_replicas(world: World, interval_ps: int, delay_ps: int) -> None:
    """Views are read in the middle of a leap as if every pass had been stepped."""
    router = {"kind": "python", "interval_ps": interval_ps, "delay_ps": delay_ps if interval_ps else 0}
    world = replace(world, run=world.run | {"router": router, "instances": {"count": 1, "deal": "round_robin"}})
    leapt = world.simulate(leap=True, router=LeastUsed())
    stepped = world.simulate(leap=False, router=LeastUsed())
    assert records(leapt) == records(stepped)
