"""Timelines are right by the Trace Event Format, and tell what the result does."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin import InputError, Result
from servetwin.files import write_whole
from servetwin.report.timeline.document import nanoseconds, timeline
from servetwin.report.timeline.lanes import lanes
from servetwin.report.timeline.window import Window

from .worlds import WORLDS, world

Event = dict[str, Any]
NEEDED = {"M": {"args"}, "C": {"ts", "args"}, "X": {"ts", "dur", "tid"}, "i": {"ts", "tid", "s"}}
NEEDED |= {"s": {"ts", "tid", "id"}, "f": {"ts", "tid", "id"}}


def events(result: Result, window: Window | None = None) -> list[Event]:
    document = json.loads("".join(timeline(result, window or Window())))
    assert document["displayTimeUnit"] == "ms"
    return list(document["traceEvents"])


@pytest.fixture(params=WORLDS)
def result(request: pytest.FixtureRequest) -> Result:
    return world(request.param)


def test_events_have_what_their_phase_needs(result: Result) -> None:
    for event in events(result):
        assert {"ph", "name", "pid"} | NEEDED[event["ph"]] <= event.keys(), event
        assert event.get("dur", 0) >= 0
        if event["ph"] == "C":
            assert all(isinstance(value, (int, float)) for value in event["args"].values())


def test_slices_of_a_lane_nest(result: Result) -> None:
    """Any two slices of a lane are apart, or one is within the other, in nanoseconds."""
    by_lane: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for event in events(result):
        if event["ph"] == "X":
            start = round(event["ts"] * 1000)
            by_lane[event["pid"], event["tid"]].append((start, start + round(event["dur"] * 1000)))
    for slices in by_lane.values():
        open_: list[int] = []
        for start, end in slices:
            while open_ and open_[-1] <= start:
                open_.pop()
            assert not open_ or end <= open_[-1]
            open_.append(end)


def test_every_request_is_told_once(result: Result) -> None:
    shown = events(result)
    told = [event["args"]["row"] for event in shown if event.get("args", {}).get("status")]
    rows = result.requests.to_pylist()
    waiting = [event for event in shown if event["name"] == "queued"]
    arrived = {n for n, row in enumerate(rows) if row["arrival_ps"] is not None}
    scheduled = {n for n in arrived if rows[n]["scheduled_ps"] is not None or rows[n]["replica"] is None}
    if "prefill_replica" in result.requests.column_names:
        # Each request has a part on either side of its hand-over.
        assert set(told) == scheduled
        return
    assert sorted(told) == sorted(scheduled)
    assert len(waiting) == sum(
        row["replica"] is not None and (row["scheduled_ps"] is None or row["scheduled_ps"] > row["routed_ps"])
        for row in rows
    )
    for event in shown:
        if event["ph"] == "X" and event.get("args", {}).get("status") == "completed":
            row = rows[event["args"]["row"]]
            assert round(event["ts"] * 1000) == nanoseconds(row["scheduled_ps"])
            assert round((event["ts"] + event["dur"]) * 1000) == nanoseconds(row["end_ps"])
            assert event["pid"] == row["replica"] + 1
            for name in ("input_tokens", "cached_tokens", "output_tokens", "preemptions"):
                assert event["args"][name] == row[name]


def test_arrows_come_in_pairs(result: Result) -> None:
    shown = events(result)
    starts = [event["id"] for event in shown if event["ph"] == "s"]
    assert Counter(starts) == Counter(event["id"] for event in shown if event["ph"] == "f")
    assert len(set(starts)) == len(starts)


def test_counters_are_the_series(result: Result) -> None:
    counters = [event for event in events(result) if event["ph"] == "C" and event["name"] == "running"]
    assert len(counters) == result.series.num_rows
    points = {(row["replica"] + 1, nanoseconds(row["time_ps"])): row["running"] for row in result.series.to_pylist()}
    for event in counters:
        assert event["args"]["requests"] == points[event["pid"], round(event["ts"] * 1000)]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 30)), max_size=40))
def test_lanes_hold_no_two_at_once_and_are_as_few_as_can_be(parts: list[tuple[int, int]]) -> None:
    spans = sorted((start, start + length) for start, length in parts)
    found = lanes(spans)
    by_lane: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for lane, span in zip(found, spans, strict=True):
        by_lane[lane].append(span)
    for held in by_lane.values():
        assert all(before[1] <= after[0] for before, after in pairwise(held))
    most = max((sum(start <= time < end for start, end in spans) for time, _ in spans), default=0)
    assert len(by_lane) == most


def test_a_window_and_a_limit_leave_out_the_rest() -> None:
    result = world("one replica")
    rows = result.requests.to_pylist()
    part = events(result, Window(from_s=4, to_s=6))
    told = {event["args"]["row"] for event in part if event.get("args", {}).get("status")}
    assert told == {n for n, row in enumerate(rows) if row["end_ps"] >= 4e12 and row["arrival_ps"] < 6e12}
    assert all(4e6 <= event["ts"] < 6e6 for event in part if event["ph"] == "C")
    few = events(result, Window(limit=7))
    assert {event["args"]["row"] for event in few if event.get("args", {}).get("status")} == set(range(7))


@pytest.mark.parametrize("window", [(5.0, 5.0), (-1.0, None), (None, float("nan")), (float("inf"), None)])
def test_windows_that_hold_nothing_are_refused(window: tuple[float | None, float | None]) -> None:
    with pytest.raises(InputError, match="expected"):
        Window(*window)


def test_names_ending_in_gz_are_compressed(tmp_path: Any) -> None:
    parts = list(timeline(world("one request"), Window()))
    write_whole(tmp_path / "t.json.gz", parts)
    write_whole(tmp_path / "t.json", parts)
    assert gzip.decompress((tmp_path / "t.json.gz").read_bytes()) == (tmp_path / "t.json").read_bytes()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Any) -> None:
    file = tmp_path / "page.html"
    write_whole(file, ["old"])

    def broken() -> Any:
        yield "half"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_whole(file, broken())
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(InputError, match="is a folder"):
        write_whole(tmp_path, ["page"])
    with pytest.raises(InputError, match="cannot be written"):
        write_whole(tmp_path / "no" / "page.html", ["page"])
