"""Leaping is an optimisation: with it and without, a run leaves the same records, bit for bit."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from .worlds import World, outcome, worlds


@settings(max_examples=400)
@given(worlds())
def test_leaping_changes_nothing(world: World) -> None:
    leapt, stepped = outcome(world, leap=True), outcome(world, leap=False)
    assert stepped.get("leaps", 0) == 0
    assert leapt | {"leaps": 0} == stepped | {"leaps": 0}


@settings(max_examples=100)
@given(worlds())
def test_the_same_run_twice(world: World) -> None:
    assert outcome(world) == outcome(world)


class LeastUsed:
    def route(self, request, replicas):  # type: ignore[no-untyped-def]
        return min(replicas, key=lambda replica: (replica.used_blocks, replica.requests, replica.index)).index


@settings(max_examples=150)
@given(worlds(), st.sampled_from([0, 10**9, 37 * 10**9]), st.sampled_from([0, 10**9, 5 * 10**9]))
def test_a_router_sees_the_same_replicas(world: World, interval_ps: int, delay_ps: int) -> None:
    """Views are read in the middle of a leap as if every pass had been stepped."""
    router = {"kind": "python", "interval_ps": interval_ps, "delay_ps": delay_ps if interval_ps else 0}
    world = replace(world, run=world.run | {"router": router, "instances": {"count": 1, "deal": "round_robin"}})
    leapt, stepped = (outcome(world, leap=leap, router=LeastUsed()) for leap in (True, False))
    assert leapt | {"leaps": 0} == stepped | {"leaps": 0}
