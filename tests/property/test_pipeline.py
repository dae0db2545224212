"""Pipeline stages: leaping changes nothing, and routers see the same replicas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from .test_leap_is_step import LeastUsed
from .worlds import World, outcome, step_times, worlds

WITHOUT = {
    "vllm": {
        "version": "0.32",
        "num_speculative_tokens": 0,
        "acceptance": None,
        "num_lookahead_tokens": 0,
        "eagle_block_drop": False,
        "num_speculative_tokens_per_batch_size": [],
        "offload": None,
        "groups": None,
    },
    "sglang": {
        "disable_overlap_schedule": True,
        "speculative_num_draft_tokens": 0,
        "acceptance": None,
        "decode_reserve_tokens": 0,
        "hicache": None,
        "window": None,
    },
}
"""What an engine leaves out to run in stages."""


@st.composite
def pipelines(draw: st.DrawFn, first: dict[str, Any]) -> dict[str, Any]:
    kinds = [first, *draw(st.lists(step_times(), max_size=2))]
    stages = draw(st.lists(st.integers(0, len(kinds) - 1), min_size=2, max_size=4))
    return {"kinds": kinds, "stages": stages}


@st.composite
def pipelined_worlds(draw: st.DrawFn) -> World:
    world = draw(worlds(replicas=3).filter(lambda world: world.run["engine"]["name"] in WITHOUT))
    engine = world.run["engine"]
    left_out = {name: value for name, value in WITHOUT[engine["name"]].items() if name in engine}
    if engine["name"] == "sglang":
        left_out["pp_max_micro_batch_size"] = draw(st.none() | st.integers(1, 6))
    pipeline = draw(pipelines(world.run["step_time"]))
    return replace(world, run=world.run | {"engine": engine | left_out, "pipeline": pipeline})


@settings(max_examples=120)
@given(pipelined_worlds())
def test_leaping_changes_nothing(world: World) -> None:
    leapt, stepped = outcome(world, leap=True), outcome(world, leap=False)
    assert stepped.get("leaps", 0) == 0
    assert leapt | {"leaps": 0} == stepped | {"leaps": 0}


@settings(max_examples=30)
@given(pipelined_worlds(), st.sampled_from([0, 10**9, 37 * 10**9]))
def test_a_router_sees_the_same_replicas(world: World, interval_ps: int) -> None:
    router = {"kind": "python", "interval_ps": interval_ps, "delay_ps": 0}
    world = replace(world, run=world.run | {"router": router, "instances": {"count": 1, "deal": "round_robin"}})
    leapt, stepped = (outcome(world, leap=leap, router=LeastUsed()) for leap in (True, False))
    assert leapt | {"leaps": 0} == stepped | {"leaps": 0}
