"""Requests that wait for each other, as files have them: Dynamo's agentic Mooncake, and sessions of agents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from servetwin import InputError, Trace
from servetwin.workload import read_trace

MS = 10**9
NONE = 2**32 - 1


def row(name: str, *wait_for: str, **more: Any) -> dict[str, Any]:
    return {"request_id": name, "wait_for": list(wait_for), "input_length": 600, "output_length": 5, **more}


def read(tmp_path: Path, *rows: dict[str, Any], **options: Any) -> Trace:
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_trace(tmp_path / "t.jsonl", **options)


def column(trace: Trace, name: str, code: Any = "I") -> list[int]:
    return memoryview(trace.column(name)).cast(code).tolist()


def waits(trace: Trace) -> list[list[int]]:
    offsets, rows = column(trace, "wait_offsets", "Q"), column(trace, "wait_for")
    return [rows[slice(*offsets[at : at + 2])] for at in range(len(trace))] if offsets else [[]] * len(trace)


CALLS = (
    row("plan", session_id="main", timestamp=100, branches=["left", "right"], prefix_reset=True),
    row("left", "plan", session_id="l"),
    row("right", "plan", session_id="r", delay=1, tool_wait_ms=20, request_kind="llm"),
    row("join", "plan", "right", "left", session_id="main", tool_wait_ms=7.5, tool_events=[{"kind": "tool_end"}]),
)
"""A turn that calls two sub-agents, and the one that waits for both."""


def test_calls_and_joins(tmp_path: Path) -> None:
    trace = read(tmp_path, *CALLS)
    assert column(trace, "arrival_ps", "q") == [100 * MS, 0, 21 * MS, 7_500_000_000]
    assert column(trace, "after") == [NONE, NONE, NONE, 0], "a session goes on in its own turns"
    assert waits(trace) == [[], [0], [0], [2, 1]]
    assert column(trace, "trajectory") == [0] * 4
    assert trace.notes["later_turns"] == 3
    for field in ("branches", "prefix_reset", "request_kind", "tool_events"):
        assert trace.notes[f"{field}_without_effect"] == 1
    found = trace.profile()["trajectories"]
    assert (found["count"], found["called_sessions"], found["joins"]) == (1, 2, 1)


def test_rows_may_stand_in_any_order(tmp_path: Path) -> None:
    trace = read(tmp_path, *reversed(CALLS), row("first", timestamp=0))
    assert trace.request_ids == ["first", "plan", "left", "right", "join"]
    by_name = dict(zip(trace.request_ids, waits(trace), strict=True))
    assert {trace.request_ids[one] for one in by_name["join"]} == {"left", "right"}


def test_without_sessions_the_first_that_waits_goes_on(tmp_path: Path) -> None:
    trace = read(tmp_path, row("a", timestamp=0), row("b", "a"), row("c", "a"), row("d", "b", "c"))
    assert column(trace, "after") == [NONE, 0, NONE, 1]
    assert waits(trace) == [[], [], [0], [2]]


def test_limits_and_speed(tmp_path: Path) -> None:
    trace = read(tmp_path, *CALLS, limit=3, speedup=2)
    assert column(trace, "arrival_ps", "q") == [50 * MS, 0, 10_500_000_000]


REFUSED: list[tuple[list[dict[str, Any]], int, str, str]] = [
    ([row("a", "b"), row("b", "c"), row("c", "a")], 1, "wait_for", '"a" → "b" → "c" wait for each other in a circle'),
    ([row("x", timestamp=0), row("a", "a")], 2, "wait_for", '"a" waits for itself'),
    ([row("a", timestamp=0), row("b", "nobody")], 2, "wait_for", 'found "nobody"; no request of the trace'),
    ([row("a", timestamp=0), row("b", "a", "a")], 2, "wait_for", 'found "a", named twice'),
    ([row("a", timestamp=0), row("a", "a")], 2, "request_id", '"a" again'),
    ([row("a")], 1, "timestamp", "missing"),
    ([row("a", timestamp=0, delay=5)], 1, "delay", "waits for no other"),
    ([row("a", timestamp=0, tool_wait_ms=5)], 1, "delay", "waits for no other"),
    ([row("a", timestamp=0) | {"wait_for": "b"}], 1, "wait_for", "an array of request ids is right"),
    ([row("a", timestamp=0) | {"wait_for": [{}]}], 1, "wait_for", "a string that is not empty is right"),
    ([row("a", timestamp=0, branches=7)], 1, "branches", "an array of request ids is right"),
    ([row("a", timestamp=0, prefix_reset="yes")], 1, "prefix_reset", "true or false"),
    ([row("a", timestamp=0, tool_events=7)], 1, "tool_events", "an array of events"),
    ([row("a", timestamp=0), row("b", "a", tool_wait_ms=-1)], 2, "tool_wait_ms", "never negative"),
]


@pytest.mark.parametrize(("rows", "line", "field", "message"), REFUSED)
def test_what_makes_no_sense(tmp_path: Path, rows: list[dict[str, Any]], line: int, field: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, *rows)
    assert (caught.value.line, caught.value.field) == (line, field), caught.value
    assert message in str(caught.value)


def test_a_row_beyond_the_limit_is_nobody(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'"right"; no request of the first 2 rows'):
        read(tmp_path, CALLS[0], CALLS[3], *CALLS[1:3], limit=2)


def test_turns_say_nothing_of_rows_that_name_what_they_wait_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave turns out"):
        read(tmp_path, *CALLS, turns="delta")
