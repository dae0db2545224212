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
    ([row("a", timestamp=0, delay=5)], 1, "delay", "waits for no other"),
    ([row("a", timestamp=0, tool_wait_ms=5)], 1, "delay", "waits for no other"),
    ([row("a", timestamp=0) | {"wait_for": "b"}], 1, "wait_for", "an array of request ids is right"),
    ([row("a", timestamp=0) | {"wait_for": [{}]}], 1, "wait_for", "a string that is not empty is right"),
    ([row("a", timestamp=0, branches=7)], 1, "branches", "an array of request ids is right"),
    ([row("a", timestamp=0, prefix_reset="yes")], 1, "prefix_reset", "true or false"),
    ([row("a", timestamp=0, tool_events=7)], 1, "tool_events", "an array of events"),
    ([row("a", timestamp=0), row("b", "a", tool_wait_ms=-1)], 2, "tool_wait_ms", "after what the request waits for"),
    ([row("a", timestamp=0), row("b", "a", delay=8.6e9, tool_wait_ms=8.6e9)], 2, "delay", "over 100 days after"),
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


def test_a_root_without_a_time_comes_at_once(tmp_path: Path) -> None:
    trace = read(tmp_path, row("a"), row("b", "a"))
    assert (column(trace, "arrival_ps", "q"), trace.notes["roots_without_time"]) == ([0, 0], 1)


HEADER = (
    "trace_id,agent_path,seq,t_s,api_time_s,think_time_s,input_tokens,output_tokens,lcp_blocks_prev,block_size,stop\n"
)
SESSION = (
    "t,root,0,0,2,0,640,10,0,64,tool_use\n"  # a call, and 20 s
    "t,root,1,22,3,20,704,10,10,64,end_turn\n"  # the user thinks for 15 s
    "t,root,2,40,1,15,768,10,11,64,tool_use\n"  # a call, and 16 s
    "t,root,3,57,1,16,832,10,12,64,end_turn\n"
)
AGENT = "t,root/s1,0,0,2,0,320,10,0,64,tool_use\nt,root/s1,1,9,5,7,384,10,5,64,end_turn\n"  # takes 14 s
LONG = "t,root/s2,0,0,30,0,320,10,0,64,end_turn\n"


def sessions(tmp_path: Path, text: str) -> Trace:
    (tmp_path / "t.csv").write_text(HEADER + text)
    return read_trace(tmp_path / "t.csv")


def test_a_sub_agent_is_called_where_its_caller_waits_long_enough(tmp_path: Path) -> None:
    trace = sessions(tmp_path, SESSION + AGENT)
    assert trace.notes["sub_agents_placed_by_pauses"] == 1
    rows = list(zip(column(trace, "input_tokens"), waits(trace), strict=True))
    lengths = [tokens for tokens, _ in rows]
    by_length = {tokens: [lengths[one] for one in before] for tokens, before in rows}
    assert by_length == {640: [], 704: [], 768: [], 320: [768], 384: [], 832: [384]}
    delays = dict(zip(lengths, column(trace, "arrival_ps", "q"), strict=True))
    assert delays[832] == 2 * 10**12, "what is left of the 16 s that its caller waited"
    assert len(set(column(trace, "trajectory"))) == 1


def test_a_sub_agent_that_fits_nowhere_starts_with_its_trace(tmp_path: Path) -> None:
    trace = sessions(tmp_path, SESSION + LONG)
    assert (trace.notes["sub_agents_placed_by_pauses"], trace.notes["sub_agents_without_a_call"]) == (0, 1)
    assert not trace.column("wait_for")


TRIE = {
    "num_turns": 2,
    "input_prompt_length": 100,
    "assistant_response_length": [10, 20],
    "tool_call_output_length": [30, 40],
    "tool_call_latency": [0.5, 1.25],
    "final_assistant_response_length": 50,
}


def trie(tmp_path: Path, **changes: Any) -> Trace:
    (tmp_path / "t.jsonl").write_text(json.dumps(TRIE) + "\n" + json.dumps(TRIE | changes) + "\n")
    return read_trace(tmp_path / "t.jsonl", need_times=False)


def test_applied_compute(tmp_path: Path) -> None:
    trace = trie(tmp_path, num_turns=0, **{name: [] for name, of in TRIE.items() if isinstance(of, list)})
    rows = zip(*(column(trace, name) for name in ("input_tokens", "output_tokens", "after")), strict=True)
    assert sorted(rows) == [
        (100, 10, NONE),
        (100, 50, NONE),
        (140, 20, 0),
        (200, 50, 1 + (column(trace, "after")[1] == NONE)),
    ]
    assert sorted(column(trace, "arrival_ps", "q")) == [0, 0, 5 * 10**11, 125 * 10**10]
    assert trace.notes["format"] == "applied_compute_agentic"


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"num_turns": 3}, "assistant_response_length", "found 2 entries; expected a list of 3"),
        ({"tool_call_latency": [1, -1]}, "tool_call_latency.1", "negative"),
        ({"input_prompt_length": 0}, "input_prompt_length", "from 1 to"),
        ({"tools": 3}, "tools", "no field of this format"),
    ],
)
def test_applied_compute_that_makes_no_sense(tmp_path: Path, changes: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        trie(tmp_path, **changes)
    assert (caught.value.line, caught.value.field) == (2, field)
    assert message in str(caught.value)


def test_applied_compute_is_for_a_closed_loop(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps(TRIE))
    with pytest.raises(InputError, match="says nothing of when requests arrive"):
        read_trace(tmp_path / "t.jsonl")
