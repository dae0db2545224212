"""Comparisons, opened in a browser without a network, read and clicked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .browser import opened
from .test_report_page import path
from .worlds import world

CHARTS = ["cdf-ttft_ms", "cdf-tpot_ms", "cdf-e2e_ms", "cdf-queue_ms", "bands-ttft_ms", "bands-tpot_ms", "completed"]
CHARTS += ["output-tokens", "waiting", "running", "kv-use"]

Compared = Callable[..., Path]
THREE = ("one replica", "preemptions", "twelve replicas")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (420, "dark")])
@pytest.mark.parametrize(
    "names", [THREE, ("all rejected", "one request"), ("stalled", "names"), ("no output", "classes")]
)
def test_any_results_are_shown(
    browser: Any, comparison_of: Compared, names: tuple[str, ...], width: int, scheme: str
) -> None:
    with opened(browser, comparison_of(*names), width=width, scheme=scheme) as shown:
        for chart in CHARTS:
            assert shown.figure(chart).locator("svg").count() == 1, chart
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
        text = shown.page.inner_text("body")
        assert not any(word in text for word in ("NaN", "undefined", "[object"))


def test_figures_are_those_of_the_results(browser: Any, comparison_of: Compared) -> None:
    names = ("one replica", "preemptions")
    with opened(browser, comparison_of(*names)) as shown:
        rows = shown.table("metrics").locator("tbody tr")
        titles = rows.locator("td:first-child").all_inner_texts()
        row = rows.nth(titles.index("TTFT p95 (ms)"))
        values = row.locator("data").evaluate_all("cells => cells.map(cell => Number(cell.value))")
        assert values == [world(name).summary["ttft_ms.p95"] for name in names]
        assert row.locator(".bad" if values[1] > values[0] else ".good").count() == 1
        fields = shown.table("differences").locator("tbody td:first-child").all_inner_texts()
        assert "engine.num_gpu_blocks" in fields
        paired = json.loads(shown.copied(shown.table("paired"), "JSON"))
    first, other = (world(name).requests.to_pylist() for name in names)
    changes = [
        (b["first_token_ps"] - b["arrival_ps"] - a["first_token_ps"] + a["arrival_ps"]) / 1e9
        for a, b in zip(first, other, strict=True)
    ]
    assert paired[0]["mean"] == pytest.approx(sum(changes) / len(changes))
    assert paired[0]["count"] == len(changes)


def test_different_traces_are_warned_of(browser: Any, comparison_of: Compared) -> None:
    with opened(browser, comparison_of("one replica", "one request")) as shown:
        assert "different traces" in shown.page.locator("[role=alert]").inner_text()
        assert shown.page.locator("[data-table='paired']").count() == 0


def test_percentiles_are_switched_and_time_is_zoomed(browser: Any, comparison_of: Compared) -> None:
    with opened(browser, comparison_of(*THREE)) as shown:
        before = path(shown.figure("bands-ttft_ms"))
        shown.figure("bands-ttft_ms").get_by_role("button", name="p50").click()
        assert path(shown.figure("bands-ttft_ms")) != before
        before = path(shown.figure("running"))
        shown.drag(shown.figure("completed"), (0.3, 0.5), (0.7, 0.5))
        assert path(shown.figure("running")) != before
        shown.figure("cdf-ttft_ms").get_by_role("button", name="preemptions").click()
        assert shown.figure("cdf-ttft_ms").locator("svg g[clip-path] path").count() == 2
