"""Requests that wait for several others, and others for them: who comes when, whatever happens to whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from servetwin import Trace, _core
from servetwin.workload import read_trace, write_trace

from .. import small
from .worlds import MS, World, outcome, traces, worlds

COMPLETED, REJECTED, UNFINISHED = range(3)
PREDECESSOR, NEVER_SENT = 5, 6
"""Codes of the reasons why a request never arrived."""


def with_waits(trace: dict[str, Any]) -> bool:
    return bool(trace["wait_for"])


dags = traces().filter(with_waits)


def predecessors(trace: dict[str, Any], row: int) -> list[int]:
    start, end = trace["wait_offsets"][row : row + 2]
    return [one for one in (trace["after"][row], *trace["wait_for"][start:end]) if one >= 0]


def column(run: _core.Run, name: str, code: Any = "q") -> list[int]:
    return memoryview(run.column(name)).cast(code).tolist()


def ran(world: World, **changes: Any) -> _core.Run:
    """A run that the engine itself would not end with an error."""
    try:
        return world.simulate(**changes)
    except _core.InputError as error:
        assume("fails here" not in str(error))
        raise


def trajectories(trace: dict[str, Any]) -> list[int]:
    """The first row of each row's, found by spreading the least of them until nothing changes."""
    first = list(range(len(trace["after"])))
    changed = True
    while changed:
        changed = False
        for row in range(len(first)):
            for before in predecessors(trace, row):
                least = min(first[row], first[before])
                changed |= first[row] != least or first[before] != least
                first[row] = first[before] = least
    return first


@settings(max_examples=60, deadline=None)
@given(dags)
def test_the_first_of_a_trajectory_is_found(trace: dict[str, Any]) -> None:
    made = Trace.from_columns(**trace)
    assert memoryview(made.column("trajectory")).cast("I").tolist() == trajectories(trace)


@settings(max_examples=100, deadline=None)
@given(worlds(), dags)
def test_who_waits_comes_when_the_last_has_ended(world: World, trace: dict[str, Any]) -> None:
    """Where one of them does not complete, it never comes, and says why."""
    run = ran(replace(world, trace=trace))
    arrivals, ends = column(run, "arrival_ps"), column(run, "end_ps")
    status, reasons = list(run.column("status")), list(run.column("reason"))
    for row in range(len(arrivals)):
        before = predecessors(trace, row)
        if not before:
            assert arrivals[row] >= 0 or reasons[row] == NEVER_SENT
        elif all(status[one] == COMPLETED for one in before):
            assert arrivals[row] == max(ends[one] for one in before) + trace["arrival_ps"][row]
        else:
            assert (arrivals[row], status[row], reasons[row]) == (-1, UNFINISHED, PREDECESSOR)


@settings(max_examples=100, deadline=None)
@given(worlds(), dags, st.integers(1, 4))
def test_a_user_stays_with_a_trajectory_to_its_end(world: World, trace: dict[str, Any], users: int) -> None:
    run = ran(replace(world, trace=trace, run=world.run | {"users": users}))
    arrivals, ends, reasons = column(run, "arrival_ps"), column(run, "end_ps"), list(run.column("reason"))
    first = trajectories(trace)
    of: dict[int, list[int]] = {}
    for row, start in enumerate(first):
        of.setdefault(start, []).append(row)
    # From its first request to the last end; one with a request that neither ended nor is lost keeps its user.
    spans = []
    for start, rows in sorted(of.items()):
        if arrivals[start] < 0:
            continue
        open_ended = any(ends[row] < 0 and reasons[row] != PREDECESSOR for row in rows)
        spans.append((arrivals[start], 10**18 if open_ended else max(ends[row] for row in rows)))
        for row in rows:
            if not predecessors(trace, row):
                assert arrivals[row] - arrivals[start] == trace["arrival_ps"][row] - trace["arrival_ps"][start]
    assert spans == sorted(spans, key=lambda span: span[0]), "in the order of the trace"
    for begin, _ in spans:
        assert sum(other <= begin < end for other, end in spans) <= users
    if len(spans) < len(of):
        assert sum(end == 10**18 for _, end in spans) == users, "somebody was free to start another"


@settings(max_examples=100, deadline=None)
@given(worlds(), dags)
def test_leaping_over_trajectories_changes_nothing(world: World, trace: dict[str, Any]) -> None:
    world = replace(world, trace=trace)
    leapt, stepped = outcome(world, leap=True), outcome(world, leap=False)
    assert leapt.pop("leaps", 0) >= stepped.pop("leaps", 0)
    assert leapt == stepped


def test_edges_come_back_from_files(tmp_path: Path) -> None:
    @settings(max_examples=60, deadline=None)
    @given(dags)
    def holds(trace: dict[str, Any]) -> None:
        made = Trace.from_columns(**trace)
        for name in ("t.parquet", "t.jsonl"):
            write_trace(made, tmp_path / name)
            options = {"block_tokens": made.block_tokens} if name == "t.jsonl" else {}
            back = read_trace(tmp_path / name, **options)
            assert edges(back) == edges(made), name
        whole = read_trace(tmp_path / "t.parquet")
        assert all(whole.column(name) == made.column(name) for name in ("after", "wait_for", "wait_offsets"))

    holds()


def edges(trace: Trace) -> list[Any]:
    """Who waits for whom and how long, by name: rows of a file may come in another order."""

    def column(name: str, code: Any) -> list[int]:
        return memoryview(trace.column(name)).cast(code).tolist()

    after, waits, offsets = column("after", "I"), column("wait_for", "I"), column("wait_offsets", "Q")
    names = trace.request_ids or [f"row {row}" for row in range(len(trace))]
    found = []
    for row, delay in enumerate(column("arrival_ps", "q")):
        before = waits[slice(*offsets[row : row + 2])] if offsets else []
        before += [after[row]] if after[row] != 2**32 - 1 else []
        found.append((names[row], delay, sorted(names[one] for one in before)))
    return sorted(found)


def test_time_of_a_trajectory_is_from_its_first_arrival_to_its_last_token() -> None:
    """Two roots a second apart, a join, and a single request: by hand."""
    ran = small.simulate([{"engine": small.VLLM, "step_time": small.affine(10 * MS)}], two_roots(1000 * MS))
    summary = small.summary(ran)
    # 30 ms each: the second root ends at 1,030, its follower arrives at 1,080 and ends at 1,110.
    assert (summary["trajectories"], summary["trajectories_completed"]) == (2, 2)
    assert (summary["trajectory_ms.max"], summary["trajectory_ms.min"]) == (1110.0, 30.0)


@pytest.mark.parametrize("leap", [False, True])
def test_a_user_who_is_refused_still_waits_for_an_answer_on_its_way(leap: bool) -> None:
    """The first root ends at 30 ms at its engine and 40 ms later at its client; the second is refused at 50."""
    front = {"request_ps": 0, "prompt_token_ps": 0, "stream_ps": 40 * MS}
    pools = [{"engine": small.VLLM, "step_time": small.affine(10 * MS)}]
    run = small.simulate(pools, two_roots(50 * MS, second_output=5000), users=1, front=front, leap=leap)
    assert column(run, "end_ps") == [70 * MS, 50 * MS, -1, 140 * MS]
    assert column(run, "arrival_ps") == [0, 50 * MS, -1, 70 * MS]


def two_roots(apart_ps: int, second_output: int = 3) -> _core.Trace:
    """Of one trajectory, and what waits 50 ms for both; a single request."""
    return small.trace(
        [0, apart_ps, 50 * MS, 3000 * MS],
        [8] * 4,
        [3, second_output, 3, 3],
        after=[-1, -1, 0, -1],
        wait_for=[1],
        wait_offsets=[0, 0, 0, 1, 1],
    )
