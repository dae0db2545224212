"""Data ranks, in step or not: leaping changes nothing, and nobody is kept waiting without cause."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from .. import small
from ..small import VLLM
from ..unit.test_data_parallel import simulate
from .worlds import World, data_ranks, outcome, worlds


@st.composite
def group_worlds(draw: st.DrawFn, *, in_step: bool | None = None) -> World:
    world = draw(worlds(replicas=3))
    engine = world.run["engine"]
    if engine["name"] == "vllm":
        engine = engine | {"prefill_schedule_interval": draw(st.sampled_from([1, 1, 2, 3]))}
    return replace(world, run=world.run | {"engine": engine, "data": draw(data_ranks(in_step=in_step))})


@settings(max_examples=400)
@given(group_worlds())
def test_leaping_changes_nothing(world: World) -> None:
    leapt, stepped = outcome(world, leap=True), outcome(world, leap=False)
    assert stepped.get("leaps", 0) == 0
    assert leapt | {"leaps": 0} == stepped | {"leaps": 0}
    assert 0 <= leapt.get("summary", {}).get("barrier_wait_share", 0) <= 1


@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(1, 70), st.integers(1, 40)), min_size=1, max_size=12),
    st.integers(2, 4),
    st.booleans(),
)
def test_ranks_with_the_same_requests_never_wait(rows: list[tuple[int, int, int]], ranks: int, ahead: bool) -> None:
    each = [row for row in sorted(rows) for _ in range(ranks)]
    run = simulate(*each, leap=True, engine=VLLM | {"async_scheduling": ahead}, ranks=ranks)
    assert small.summary(run)["barrier_wait_share"] == 0
