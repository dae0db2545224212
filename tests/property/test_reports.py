"""Reports of random runs, starved, preempted, stalled, with requests that never arrive: nothing breaks or gets lost."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import servetwin
from servetwin import Result, _core
from servetwin.report.compare.comparison import Comparison
from servetwin.report.compare.page import comparison_page
from servetwin.report.compare.terminal import print_comparison
from servetwin.report.page.document import report_page
from servetwin.report.page.view import view
from servetwin.report.timeline.document import timeline
from servetwin.report.timeline.window import Window
from servetwin.result.result import Timings

from .worlds import World, described, worlds


@functools.cache
def provenance() -> str:
    """Of some run, as JSON."""
    workload = {"kind": "poisson", "requests": 1, "rate_per_s": 1, "input_tokens": 9, "output_tokens": 1}
    spec = {"timing": "polynomial", "engine": {"max_model_len": 64, "num_gpu_blocks": 9}, "workload": workload}
    return json.dumps(servetwin.simulate(spec).provenance)


def result_of(world: World, warmup_s: float = 0.0, window_s: float | None = None) -> Result:
    trace = _core.Trace.from_columns(**world.trace)
    run = _core.simulate(trace, described(world.run))
    options: dict[str, Any] = {"warmup_ps": round(warmup_s * 1e12), "gpus": 1, "gpu_price_per_hour": None, "slo": None}
    options["window_ps"] = None if window_s is None else round(window_s * 1e12)
    known = json.loads(provenance())
    known["workload"] |= {"requests": len(trace), "sha256": trace.sha256}
    known["engine"] |= world.run["engine"]
    known["spec"]["metrics"] = {"warmup": warmup_s, "window": window_s}
    timings = Timings(parse_s=0.0, simulate_s=0.0, passes=run.passes, leaps=run.leaps, leap=True)
    return Result.of_run(run, json.loads(run.summary(json.dumps(options))), known, timings, trace)


@settings(max_examples=60)
@given(worlds(), st.sampled_from([0.0, 0.05, 1.0]), st.sampled_from([None, 0.1, 2.0]))
def test_a_page_loses_no_request(world: World, warmup_s: float, window_s: float | None) -> None:
    result = result_of(world, warmup_s, window_s)
    group = view(result)["groups"][0]
    rows = result.requests.to_pylist()
    assert sum(group["traffic"]["completed"]) == sum(row["status"] == "completed" for row in rows)
    assert sum(group["traffic"]["arrived"]) == sum(row["arrival_ps"] is not None for row in rows)
    for metric in ("ttft_ms", "tpot_ms", "e2e_ms", "queue_ms"):
        assert group["stats"][metric]["count"] == result.summary.get(f"{metric}.count", 0)
        for name in ("mean", "p50", "p95", "p99", "max"):
            shown, told = group["stats"][metric].get(name), result.summary.get(f"{metric}.{name}")
            assert shown == (None if told is None else pytest.approx(told, rel=1e-5, abs=1e-9))
    assert report_page(result).startswith("<!DOCTYPE html>")


@settings(max_examples=60)
@given(worlds())
def test_a_timeline_tells_each_request_once_in_slices_that_nest(world: World) -> None:
    result = result_of(world)
    events = json.loads("".join(timeline(result, Window())))["traceEvents"]
    told = Counter(event["args"]["row"] for event in events if event.get("args", {}).get("status"))
    rows = result.requests.to_pylist()
    begun = {n for n, row in enumerate(rows) if row["scheduled_ps"] is not None}
    turned_away = {n for n, row in enumerate(rows) if row["replica"] is None and row["arrival_ps"] is not None}
    assert told == dict.fromkeys(begun | turned_away, 1)
    lanes: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            start = round(event["ts"] * 1000)
            lanes[event["pid"], event["tid"]].append((start, start + round(event["dur"] * 1000)))
    for slices in lanes.values():
        open_: list[int] = []
        for start, end in slices:
            while open_ and open_[-1] <= start:
                open_.pop()
            assert end >= start
            assert not open_ or end <= open_[-1]
            open_.append(end)


@settings(max_examples=30)
@given(worlds(), st.integers(0, 2**32))
def test_any_two_runs_can_be_compared(world: World, seed: int) -> None:
    other = dataclasses.replace(world, run=world.run | {"seed": seed, "router": {"kind": "random"}})
    shown = Comparison(["a", "b"], [result_of(world), result_of(other)])
    assert shown.same_trace
    json.dumps(shown.as_json(), allow_nan=False)
    assert comparison_page(shown).startswith("<!DOCTYPE html>")
    print_comparison(shown)
