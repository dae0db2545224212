"""Native routers choose, request by request, what their rules say when every replica is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .reference_routers import REFERENCES, Instances, ages, block_size
from .worlds import ROUTERS, World, outcome, worlds

UNBOUNDED = {"max_tree_size": 2**53, "lru_capacity_per_server": 2**40, "queue_threshold": None}
"""The references forget nothing and keep nothing back."""
ALONE = {"count": 1, "deal": "round_robin"}


def caching(engine: dict[str, Any]) -> dict[str, Any]:
    """The engine with its prefix cache on, and so with full attention alone if it is vLLM."""
    if engine["name"] == "sglang":
        return engine | {"disable_radix_cache": False}
    alone = {"groups": None} if "groups" in engine else {}
    return engine | {"enable_prefix_caching": True} | alone


def what_came_of_it(world: World, router: object | None = None) -> dict[str, Any]:
    told = outcome(world, router=router)
    return {name: told[name] for name in told if not name.startswith("route_")}


def test_every_router_has_its_reference() -> None:
    assert set(REFERENCES) == set(ROUTERS)


@pytest.mark.parametrize("kind", ROUTERS)
def test_a_native_router_follows_its_rule(kind: str) -> None:
    @settings(max_examples=200 if kind == "kv_aware" else 40)
    @given(worlds(replicas=6), ROUTERS[kind])
    def check(world: World, router: dict[str, Any]) -> None:
        router = router | {name: value for name, value in UNBOUNDED.items() if name in router}
        engine = caching(world.run["engine"])
        # Unchecked, SGLang takes a prompt that is too long for a token that others have as well.
        world = replace(world, run=world.run | {"router": router, "engine": engine, "check_admission": True})
        python = {"router": {"kind": "python", **ages(router)}, "instances": ALONE}
        plain = replace(world, run=world.run | python)
        assert what_came_of_it(plain, Instances(world.trace, world.run)) == what_came_of_it(world)

    check()


@settings(max_examples=60)
@given(worlds(), ROUTERS["kv_aware"], st.sampled_from(["fcfs", "lcfs", "wspt"]))
def test_what_a_router_keeps_back_is_sent_in_the_end(world: World, router: dict[str, Any], policy: str) -> None:
    router = router | {"queue_threshold": 0.1, "queue_policy": policy, "track_prefill_tokens": True}
    world = replace(world, run=world.run | {"router": router, "max_passes": None, "check_admission": True})
    run = world.simulate()
    if run.status == "completed":
        assert set(run.column("status")) <= {0, 1, 2}
        assert 7 not in run.column("reason")
    arrival, routed = (memoryview(run.column(name)).cast("q") for name in ("arrival_ps", "routed_ps"))
    assert all(came <= sent for came, sent in zip(arrival, routed, strict=True) if sent >= 0)


@settings(max_examples=150)
@given(worlds(), ROUTERS["kv_aware"])
def test_an_idle_replica_has_what_it_was_believed_to_have(world: World, router: dict[str, Any]) -> None:
    router = router | {"use_kv_events": True, "queue_threshold": None}
    engine = caching(world.run["engine"])
    changes = {"router": router, "engine": engine, "check_admission": True}
    run = replace(world, run=world.run | changes).simulate()
    names = {"replica": "I", "routed_ps": "q", "scheduled_ps": "q", "end_ps": "q"}
    columns = {name: list(memoryview(run.column(name)).cast(code)) for name, code in names.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    overlap, cached = (list(memoryview(run.column(f"{name}_tokens")).cast("I")) for name in ("route_overlap", "cached"))
    size = block_size(engine)
    for request, row in enumerate(rows):
        others = [other for index, other in enumerate(rows) if index != request and other["replica"] == row["replica"]]
        idle = all(
            0 <= other["end_ps"] <= row["routed_ps"] or other["routed_ps"] > row["routed_ps"] for other in others
        )
        if row["scheduled_ps"] == row["routed_ps"] >= 0 and idle:
            # A scheduler computes at least the last token of a prompt.
            findable = (world.trace["input_tokens"][request] - 1) // size * size
            found = min(overlap[request], findable)
            # A drafting head wants the last hidden states again, so vLLM gives up the last block it found.
            given_up = size if found and engine.get("eagle_block_drop") else 0
            assert cached[request] == found - given_up
