"""Intervals as they are printed, compared, and drawn."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from rich.console import Console

import servetwin
from servetwin import Result
from servetwin.report.compare.comparison import Comparison
from servetwin.report.compare.page import comparison_page
from servetwin.report.compare.terminal import render as render_comparison
from servetwin.report.intervals import share_texts, sides
from servetwin.report.page.document import report_page
from servetwin.report.page.view import view
from servetwin.report.terminal import render
from servetwin.result.intervals import Interval, Shares

from .worlds import CHAT, run

SPEC: dict[str, Any] = {"model": "llama-3.1-8b", "gpu": "h100", "workload": CHAT, "slo": {"ttft_ms": 500}}


@pytest.fixture(scope="module")
def results() -> tuple[Result, Result]:
    return servetwin.replicate(SPEC), servetwin.replicate(SPEC | {"replicas": 2})


def printed(shown: Any, width: int = 118) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(shown)
    return capture.get()


def between(low: float, high: float) -> Interval:
    return Interval(low, high, (low + high) / 2, (low + high) / 2, 1.0, None)


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (10.0, 9.0, 11.1, "±1.05"),
        (10.0, 9.0, 12.0, "−1.00 +2.00"),
        (10.0, 11.0, 12.0, "+1.00 +2.00"),
        (10.0, 10.0, 10.0, "±0"),
        (5000.0, 4000.0, 9000.0, "−1,000 +4,000"),
        (0.5, 0.4996, 0.5004, "±0.000400"),
    ],
)
def test_sides(value: float, low: float, high: float, text: str) -> None:
    assert sides(value, between(low, high)) == text


def test_shares_tell_how_well_they_are_known() -> None:
    assert share_texts(Shares(0.83, 0.17, 0.09)) == ("83% ±9%", "17%")
    assert share_texts(Shares(1.0, 0.0, 0.0)) == ("100%", "0%")
    assert share_texts(None) == ("–", "–")


@pytest.mark.parametrize("width", [60, 80, 118, 200])
def test_the_table_fits_and_says_what_its_intervals_are(results: tuple[Result, Result], width: int) -> None:
    result = results[0]
    text = printed(render(result, Console(width=width)), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "±" in text or "−" in text
    words = " ".join(text.split())
    assert "workload: generated anew from other seeds" in words
    assert "pass times: off by a median of" in words
    assert "of 20 replications" in words


def test_a_value_outside_its_interval_is_told(results: tuple[Result, Result]) -> None:
    result = results[0]
    far = dataclasses.replace(result, summary=result.summary | {"ttft_ms.mean": 1e6})
    words = " ".join(printed(render(far, Console(width=118))).split())
    assert "outside their intervals, so not what such workloads usually give: ttft_ms.mean" in words


def test_nothing_changes_without_replications() -> None:
    result = run()
    text = printed(render(result, Console(width=118)))
    assert "±" not in text
    assert "intervals" not in text
    assert view(result)["intervals"] is None


def test_the_page_has_the_intervals(results: tuple[Result, Result]) -> None:
    known = view(results[0])["intervals"]
    assert known["count"] == 20
    replications = results[0].replications
    assert replications is not None
    assert known["metrics"]["ttft_ms.p95"]["low"] == replications.intervals["ttft_ms.p95"].low
    assert '"ttft_ms.p95":{"low"' in report_page(results[0])


def test_differences_of_pairs_have_intervals(results: tuple[Result, Result]) -> None:
    shown = Comparison(["one", "two"], list(results))
    rows = {row.metric.key: row for row in shown.rows}
    row = rows["e2e_ms.mean"]
    change, difference = row.change(1), row.difference(1)
    assert change is not None
    assert difference is not None
    assert change.low <= change.median <= change.high < 0, "two replicas are faster under every draw"
    assert row.verdict(1) == "better"
    one, two = row.interval(0), row.interval(1)
    assert one is not None
    assert two is not None
    assert change.high - change.low < one.high - one.low, "what both have in common drops out"
    assert json.loads(json.dumps(row.as_json()))["difference_intervals"] == [[change.low, change.high]]
    assert " to −" in printed(render_comparison(shown), 160)
    assert "difference_intervals" in comparison_page(shown)
    assert shown.warnings() == []


def test_what_chance_explains_is_no_verdict(results: tuple[Result, Result]) -> None:
    same = Comparison(["one", "again"], [results[0], servetwin.replicate(SPEC | {"seed": 5})])
    assert {row.verdict(1) for row in same.rows if row.metric.key.startswith(("ttft", "e2e"))} == {None}
    assert any("not of the same" in one or "seeds differ" in one for one in same.warnings()) or not same.same_trace


def test_unequal_replications_are_told(results: tuple[Result, Result]) -> None:
    uneven = Comparison(["one", "plain"], [results[0], servetwin.simulate(SPEC)])
    assert any("differences have no intervals" in one for one in uneven.warnings())
    assert all(row.change(1) is None for row in uneven.rows)
