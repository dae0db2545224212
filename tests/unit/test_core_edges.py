"""The native core at the edges of what it takes: refused by name, bounded, or exact all the same."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from servetwin import _core

from .. import small
from ..small import MS, VLLM, affine, numbers, series, trace

HOUR = 3600 * 10**12
ENGINE = VLLM | {"max_model_len": 4096, "num_gpu_blocks": 65, "enable_prefix_caching": True}


def simulate(rows: list[tuple[int, int, int]], *, after: list[int] | None = None, **changes: Any) -> _core.Run:
    """Rows of arrival_ps, prompt, output; a pass takes 5 ms."""
    pool: dict[str, Any] = {"step_time": affine(5 * MS), "engine": ENGINE | changes.pop("engine", {})}
    pool |= {name: changes.pop(name) for name in ("step_time", "replicas", "router", "instances") if name in changes}
    router, progress = changes.pop("object", None), changes.pop("progress", None)
    run = {"stall_passes": 10_000, "series_interval_ps": 10**12} | changes
    return small.simulate([pool], trace(*zip(*rows, strict=True), after=after), router=router, progress=progress, **run)


@pytest.mark.parametrize("leap", [True, False])
def test_a_run_of_over_a_hundred_days_is_refused(leap: bool) -> None:
    with pytest.raises(_core.InputError, match="100 days"):
        simulate([(0, 10, 300)], step_time=affine(10 * HOUR), leap=leap)
    with pytest.raises(_core.InputError, match="100 days"):
        simulate([(0, 10, 3)], step_time=affine(2**62), leap=leap)
    engine = {"max_model_len": 2_000_000, "num_gpu_blocks": 200_000}
    with pytest.raises(_core.InputError, match="100 days"):
        simulate([(0, 10, 100_000)], step_time=affine(HOUR), leap=leap, engine=engine)


def test_turns_delayed_beyond_the_horizon_are_refused() -> None:
    days = 100 * 24 * HOUR
    with pytest.raises(_core.InputError, match="100 days"):
        simulate([(0, 10, 3), (days, 10, 3), (days, 10, 3)], after=[-1, 0, 1])


def test_computing_a_long_prompt_again_is_no_stall() -> None:
    engine = {"enable_prefix_caching": False, "max_num_batched_tokens": 5, "num_gpu_blocks": 352}
    run = simulate([(0, 16, 1200), (0, 4500, 5)], engine=engine | {"max_model_len": 8192}, stall_passes=100)
    assert numbers(run, "preemptions")[1] > 0, "or the test is of nothing"
    assert run.status == "completed"


def test_a_context_that_just_fits_the_pool_runs_with_drafts() -> None:
    acceptance = {"kind": "cycle", "pattern": [0]}
    engine = {"num_speculative_tokens": 3, "acceptance": acceptance, "max_model_len": 160, "num_gpu_blocks": 11}
    assert numbers(simulate([(0, 100, 60)], engine=engine), "status") == [0]
    # Its drafts do not fit, and it would preempt itself for ever.
    engine["max_model_len"] = 1600
    assert numbers(simulate([(0, 100, 60)], engine=engine), "status") == [1]


def test_every_request_left_over_has_its_reason() -> None:
    stuck = {"max_num_batched_tokens": 4096, "num_gpu_blocks": 7, "enable_chunked_prefill": False}
    run = simulate(
        [(0, 200, 5), (0, 10, 3), (0, 10, 3)], after=[-1, 0, -1], engine=stuck, check_admission=False, users=1
    )
    assert run.status == "stalled"
    assert numbers(run, "status") == [2, 2, 2]
    assert numbers(run, "reason") == [4, 5, 6]


def drawn(*counts: int) -> dict[str, object]:
    return {"kind": "drawn", "counts": counts, "seed": 0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": {"block_size": 1 << 20}}, "block_size"),
        ({"engine": {"num_speculative_tokens": 5000}}, "drafts are above 64"),
        ({"engine": {"num_speculative_tokens": 1}}, "acceptance"),
        ({"engine": {"num_speculative_tokens": 2, "acceptance": drawn(4, 4)}}, "counts"),
        ({"engine": {"num_speculative_tokens": 1, "acceptance": drawn(0, 0)}}, "counts"),
        ({"engine": {"num_lookahead_tokens": 1}}, "speculation"),
        ({"engine": {"id_ranks": [0]}}, "id_ranks"),
        ({"engine": {"id_ranks": [0, 0]}}, "id_ranks"),
        ({"step_time": affine(-1)}, "negative"),
        ({"router": {"kind": "python", "interval_ps": 10, "delay_ps": 0}}, "microsecond"),
        ({"replicas": 0}, "replicas"),
        ({"stall_passes": 0}, "stall_passes"),
    ],
)
def test_an_impossible_description_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(_core.InputError, match=message):
        simulate([(0, 10, 3), (0, 10, 3)], **changes)


def test_a_fine_time_series_is_thinned_and_stays_even() -> None:
    run = simulate([(0, 10, 300), (HOUR, 10, 300)], replicas=256, series_interval_ps=10**6)
    times = series(run, "time_ps")
    replicas = series(run, "replica")
    first = [time for time, replica in zip(times, replicas, strict=True) if replica == 0]
    assert 2 < len(first) < 20_000
    assert len({later - earlier for earlier, later in pairwise(first)}) == 1


class First:
    def route(self, request: Any, replicas: Any) -> int:
        with pytest.raises((AttributeError, TypeError)):
            replicas.pop()
        return 0


def test_the_last_point_of_a_time_series_is_within_the_run() -> None:
    """The one after it would be on day 120: its picoseconds need more than 64 bits."""
    day_ps = 24 * HOUR
    run = simulate([(0, 10, 3), (99 * day_ps, 10, 3)], series_interval_ps=60 * day_ps)
    assert series(run, "time_ps") == [0, 60 * day_ps]


def test_a_router_cannot_change_what_it_is_shown() -> None:
    router = {"kind": "python", "interval_ps": 5 * MS, "delay_ps": 0}
    assert simulate([(0, 10, 3)] * 5, replicas=3, router=router, object=First()).status == "completed"


def test_idle_ticks_cost_nothing() -> None:
    """An hour without events at a sample a microsecond: 3.6 thousand million ticks, if each were taken."""
    router = {"kind": "python", "interval_ps": 10**6, "delay_ps": 0}
    simulate([(0, 10, 3), (HOUR, 10, 3)], replicas=3, router=router, object=First())


def test_any_run_can_be_interrupted() -> None:
    """One request and five million passes: nothing arrives, and still the caller is asked."""

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(
            [(0, 10, 5_000_000)], leap=False, progress=stop, engine={"max_model_len": 10**7, "num_gpu_blocks": 10**6}
        )
