"""Native routers choose, request by request, what their rules say when every replica is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .reference_routers import REFERENCES, Instances, ages
from .worlds import ROUTERS, World, records, worlds

UNBOUNDED = {"max_tree_size": 2**53, "lru_capacity_per_server": 2**40, "queue_threshold": None}
"""The references forget nothing and keep nothing back."""
ALONE = {"count": 1, "deal": "round_robin"}


def what_came_of_it(world: World, router: object | None = None) -> dict[str, Any]:
    told = records(world.simulate(router=router))
    return {name: told[name] for name in told if not name.startswith("route_")}


def test_every_router_has_its_reference() -> None:
    assert set(REFERENCES) == set(ROUTERS)


@pytest.mark.parametrize("kind", ROUTERS)
def test_a_native_router_follows_its_rule(kind: str) -> None:
    @settings(max_examples=200 if kind == "kv_aware" else 40, deadline=None)
    @given(worlds(replicas=6), ROUTERS[kind])
    def check(world: World, router: dict[str, Any]) -> None:
        router = router | {name: value for name, value in UNBOUNDED.items() if name in router}
        engine = world.run["engine"] | {"enable_prefix_caching": True}
        world = replace(world, run=world.run | {"router": router, "engine": engine})
        python = {"router": {"kind": "python", **ages(router)}, "instances": ALONE}
        plain = replace(world, run=world.run | python)
        assert what_came_of_it(plain, Instances(world.trace, world.run)) == what_came_of_it(world)

    check()


@settings(max_examples=60, deadline=None)
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
