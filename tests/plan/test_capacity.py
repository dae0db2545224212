"""Capacity: a search on a ladder, and the judgement of each run on it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.plan.capacity import REACH, climb, knee
from servetwin.plan.curve import curve
from servetwin.plan.load import keeps_up, ladder, shortcoming
from servetwin.plan.runs import Outcome
from servetwin.plan.screen import excess
from servetwin.spec import make_spec
from servetwin.workload import open_workload

from .worlds import BASE


def _climbed(limit: int, start: int, step: int) -> tuple[int | None, list[int]]:
    """What a climb finds where all rungs up to `limit` meet the level, and the rungs it asked for."""
    search, asked = climb(start, step), []
    try:
        rung = next(search)
        while True:
            asked.append(rung)
            rung = search.send(rung <= limit)
    except StopIteration as end:
        return end.value, asked


@given(limit=st.integers(-REACH - 20, REACH + 20), start=st.integers(-REACH, REACH), step=st.sampled_from([1, 4, 8]))
def test_a_climb_finds_the_highest_rung(limit: int, start: int, step: int) -> None:
    found, asked = _climbed(limit, start, step)
    assert all(-REACH <= rung <= REACH and (rung - start) % step == 0 for rung in asked)
    assert len(asked) == len(set(asked)) <= 16
    reachable = [*range(start, REACH + 1, step), *range(start, -REACH - 1, -step)]
    good = [rung for rung in reachable if rung <= limit]
    assert found == (max(good) if good else None)


def test_the_ladder_doubles_every_sixteen_rungs() -> None:
    assert [ladder(rung) for rung in (-32, 0, 16, 8)] == [0.25, 1.0, 2.0, 1.41421]


@pytest.mark.parametrize(
    ("middle", "end", "arrivals", "steady"),
    [
        (0, 0, 0, True),
        (10, 30, 1000, True),  # within 5 % of the arrivals
        (50, 130, 1000, True),  # 80 ≤ 50 + 3·√100
        (50, 131, 1000, False),
        (0, 60, 100, False),
        (100, 20, 100, True),
    ],
)
def test_a_growing_backlog_is_no_steady_state(middle: int, end: int, arrivals: int, steady: bool) -> None:
    summary = {"backlog.middle": middle, "backlog.end": end, "backlog.arrivals": arrivals}
    assert keeps_up(summary) is steady


def test_a_shortcoming_names_what_is_missed() -> None:
    counts = {"requests": 10, "completed": 10}
    assert shortcoming(counts, stalled=False) is None
    assert shortcoming(counts, stalled=True) == "stalls: a replica stops making progress"
    assert shortcoming({**counts, "completed": 7}, stalled=False) == "3 requests are not served"
    missed = {**counts, "slo.met": False, "slo.ttft_ms.p95.met": False, "slo.tpot_ms.p95.met": True}
    assert shortcoming(missed, stalled=False) == "misses ttft_ms.p95"
    lost = shortcoming({**missed, "completed": 7}, stalled=False)
    assert lost == "misses ttft_ms.p95 (3 of 10 requests not served)"
    assert shortcoming({**counts, "slo.met": False}, stalled=False) == "misses the attainment"
    growing = {**counts, "backlog.middle": 0, "backlog.end": 60, "backlog.arrivals": 100}
    kept = "does not keep up: 60 more requests in flight after 100 arrivals"
    assert shortcoming(growing, stalled=False) == kept
    assert shortcoming({**growing, "slo.met": False}, stalled=False) == f"misses the attainment and {kept}"


def test_a_run_that_stalls_or_serves_too_few_is_far_from_any_level() -> None:
    summary = {"requests": 10, "completed": 10, "slo.ttft_ms.p95.limit": 100.0, "slo.ttft_ms.p95.value": 50.0}
    assert excess(Outcome(summary, False, 0.1), None) == 0.5
    assert excess(Outcome(summary, True, 0.1), None) == math.inf
    del summary["slo.ttft_ms.p95.value"]
    assert excess(Outcome(summary, False, 0.1), None) == math.inf


def test_a_server_of_known_capacity() -> None:
    """One request at a time takes 10 ms of prefill and 9 passes of 10 ms: 10 requests a second, whatever the rate."""
    spec = make_spec(
        {
            "engine": {"max_num_seqs": 1, "max_model_len": 64, "num_gpu_blocks": 100, "async_scheduling": False,
                       "max_num_batched_tokens": 64},
            "timing": {"kind": "linear", "base_ms": 10},
            "workload": {"kind": "constant", "requests": 4000, "rate_per_s": 2, "input_tokens": 16,
                         "output_tokens": 10},
        }
    )  # fmt: skip
    found = curve(spec, open_workload(spec), replicas=(2,))
    # 5 × the workload is all it can do; a backlog is called growing only beyond 5 % of the arrivals and chance.
    assert found.limit is not None
    assert 5.0 <= found.limit <= 5.5
    assert found.above is not None
    assert found.above.startswith("does not keep up")
    two = found.replicas[2]
    assert two is not None
    assert two / found.limit == pytest.approx(2, rel=0.05)
    assert found.levels == sorted(found.levels, key=lambda level: level.load)


def test_a_level_that_nothing_meets() -> None:
    spec = make_spec({**BASE, "slo": {"ttft_ms": {"p95": 1}}})
    found = curve(spec, open_workload(spec))
    assert found.limit is None
    assert found.nearest is not None
    assert found.nearest.misses == "misses ttft_ms.p95"


def test_a_closed_loop_is_turned_by_its_users() -> None:
    workload = {**BASE["workload"], "kind": "closed", "users": 4}
    del workload["rate_per_s"]
    spec = make_spec({**BASE, "workload": workload})
    found = curve(spec, open_workload(spec))
    assert found.axis.name == "users"
    assert found.limit is not None
    assert found.limit == int(found.limit)
    assert found.headroom == found.limit / 4


def test_the_knee_is_where_power_is_greatest() -> None:
    # An M/M/1 queue: throughput x, latency 1 / (1 - x): power x·(1 - x), greatest at one half (Kleinrock 1979).
    loads = [step / 10 for step in range(1, 10)]
    assert knee((load, load, 1 / (1 - load)) for load in loads) == 0.5
    assert knee([]) is None
