"""Pipeline stages: leaping changes nothing, and routers see the same replicas."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from .test_leap_is_step import LeastUsed
from .worlds import ONE_RANK, STAGED, World, data_ranks, outcome, pipelines, worlds


@st.composite
def pipelined_worlds(draw: st.DrawFn) -> World:
    world = draw(worlds(replicas=3).filter(lambda world: world.run["engine"]["name"] in STAGED))
    engine = world.run["engine"]
    left_out = {name: value for name, value in STAGED[engine["name"]].items() if name in engine}
    if engine["name"] == "sglang":
        left_out["pp_max_micro_batch_size"] = draw(st.none() | st.integers(1, 6))
    pipeline = draw(pipelines(world.run["step_time"]))
    data = draw(st.just(ONE_RANK) | data_ranks(in_step=False))
    return replace(world, run=world.run | {"engine": engine | left_out, "pipeline": pipeline, "data": data})


@settings(max_examples=120)
@given(pipelined_worlds())
def test_leaping_changes_nothing(world: World) -> None:
    leapt, stepped = outcome(world, leap=True), outcome(world, leap=False)
    assert stepped.get("leaps", 0) == 0
    assert leapt | {"leaps": 0} == stepped | {"leaps": 0}
    assert 0 <= leapt.get("summary", {}).get("bubble_share", 0) <= 1


@settings(max_examples=30)
@given(pipelined_worlds(), st.sampled_from([0, 10**9, 37 * 10**9]))
def test_a_router_sees_the_same_replicas(world: World, interval_ps: int) -> None:
    router = {"kind": "python", "interval_ps": interval_ps, "delay_ps": 0}
    world = replace(world, run=world.run | {"router": router, "instances": {"count": 1, "deal": "round_robin"}})
    leapt, stepped = (outcome(world, leap=leap, router=LeastUsed()) for leap in (True, False))
    assert leapt | {"leaps": 0} == stepped | {"leaps": 0}
