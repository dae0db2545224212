"""Reports, opened in a browser without a network, read and clicked."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from servetwin import make_spec

from .browser import expect, follows_the_reader, opened
from .worlds import WORLDS, world

LATENCIES = ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms", "queue_ms")
MORE = ("handover_ms", "transfer_ms", "chunk_itl_ms", "trajectory_ms")
CHARTS = ["cdf-ttft_ms", "cdf-tpot_ms", "cdf-e2e_ms", "bands-ttft_ms", "bands-tpot_ms", "requests", "input-tokens"]
CHARTS += ["output-tokens", "replicas-running", "replicas-waiting", "replicas-used_blocks", "reuse", "reuse-spread"]

Report = Callable[[str], Path]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (420, "dark")])
@pytest.mark.parametrize("name", WORLDS)
def test_any_result_is_shown_whole(browser: Any, report_of: Report, name: str, width: int, scheme: str) -> None:
    with opened(browser, report_of(name), width=width, scheme=scheme) as shown:
        for chart in CHARTS:
            if not chart.startswith("replicas-") or world(name).series.num_rows:
                assert shown.figure(chart).locator("svg").count() == 1, chart
        # Nothing sticks out at the side.
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
        text = shown.page.inner_text("body")
        assert "NaN" not in text
        assert "undefined" not in text
        assert "[object" not in text


@pytest.mark.parametrize("name", WORLDS)
def test_figures_are_those_of_the_result(browser: Any, report_of: Report, name: str) -> None:
    summary = world(name).summary
    with opened(browser, report_of(name)) as shown:
        tiles = shown.page.locator(".tile[data-metric]")
        for place in range(tiles.count()):
            tile = tiles.nth(place)
            assert float(tile.locator("data").get_attribute("value")) == summary[tile.get_attribute("data-metric")]
        rows = shown.table("latency").locator("tbody tr")
        known = [metric for metric in (*LATENCIES, *MORE) if f"{metric}.mean" in summary]
        assert rows.count() == len(known)
        for place, metric in enumerate(known):
            values = rows.nth(place).locator("data").evaluate_all("cells => cells.map(cell => cell.value)")
            names = ("mean", "p50", "p90", "p95", "p99", "max")
            assert [float(value) for value in values] == [summary[f"{metric}.{statistic}"] for statistic in names]
        outcome = shown.table("outcome").locator("tbody tr")
        counts = dict(outcome.evaluate_all("rows => rows.map(row => [row.cells[0].innerText, row.cells[1].innerText])"))
        for ending in ("completed", "rejected", "unfinished"):
            assert counts[ending] == f"{summary[ending]:,}"


def test_gpus_and_replicas_are_those_of_all_pools_and_ranks(browser: Any, report_of: Report) -> None:
    for name, title, facts in (
        ("pools", "a model of its own on 4 × H100", ["2 prefill", "1 decode", "routed by round_robin"]),
        ("three replicas, measured in part", "a model of its own on 3 × GPU", ["3 replicas"]),
    ):
        with opened(browser, report_of(name)) as shown:
            assert shown.page.inner_text("h1") == title
            assert all(fact in shown.page.inner_text("header") for fact in facts)


@pytest.mark.parametrize(
    ("name", "cards"),
    [
        ("pools", {"handovers", "ways", "prefills"}),
        ("host memory", {"sources"}),
        ("data ranks", {"ranks"}),
        ("drafts", set()),
    ],
)
def test_a_page_has_the_tables_of_what_ran(browser: Any, report_of: Report, name: str, cards: set[str]) -> None:
    of_kinds = {"handovers", "ways", "prefills", "sources", "ranks"}
    with opened(browser, report_of(name)) as shown:
        found = {card for card in of_kinds if shown.table(card).count()}
        assert found == cards
        drafted = shown.page.locator(".tile[data-metric='acceptance_length']")
        assert drafted.count() == (name == "drafts")
        shares = shown.table("ranks").locator("tbody tr td:last-child").all_inner_texts()
        if shares:
            # By their mean: in two digits they add up to as many as there are.
            assert sum(float(share.rstrip(" ×")) for share in shares) == pytest.approx(len(shares), abs=0.02)


def test_a_hand_over_is_a_phase_of_its_own(browser: Any, report_of: Report) -> None:
    with opened(browser, report_of("pools")) as shown:
        tracks = shown.table("slowest").locator("tbody .track")
        assert ", hand-over " in tracks.first.get_attribute("aria-label")
        widths = tracks.first.locator("i").evaluate_all("parts => parts.map(part => parseFloat(part.style.width))")
        assert len(widths) == 4
        assert sum(widths) <= 100.001


def test_every_metric_is_listed(browser: Any, report_of: Report) -> None:
    with opened(browser, report_of("one replica")) as shown:
        listed = shown.copied(shown.table("metrics"), "JSON")
    summary = world("one replica").summary
    assert {row["metric"]: row["value"] for row in json.loads(listed)} == summary


@pytest.mark.parametrize("name", ["three replicas, measured in part", "twelve replicas", "one replica"])
def test_the_spec_that_is_copied_runs_again(browser: Any, report_of: Report, name: str) -> None:
    with opened(browser, report_of(name)) as shown:
        shown.page.get_by_role("button", name="Copy YAML").click()
        copied = shown.page.evaluate("window.copied")
        shown.page.get_by_role("button", name="with defaults").click()
        shown.page.get_by_role("button", name="Copy YAML").click()
        full = shown.page.evaluate("window.copied")
    spec = world(name).provenance["spec"]
    assert make_spec(yaml.safe_load(copied)).model_dump(mode="json", exclude_none=True) == spec
    assert yaml.safe_load(full) == spec


def test_charts_are_copied_as_they_are_drawn(browser: Any, report_of: Report) -> None:
    result = world("one replica")
    with opened(browser, report_of("one replica")) as shown:
        copied = list(csv.DictReader(io.StringIO(shown.copied(shown.figure("requests"), "CSV"))))
        curve = json.loads(shown.copied(shown.figure("cdf-ttft_ms"), "JSON"))
    times = [float(row["time_s"]) for row in copied]
    width = times[1] - times[0]
    # The last bin may be shorter or longer than the others.
    arrived = sum(float(row["arrived"]) for row in copied[:-1]) * width
    assert -1e-6 <= len(result.requests) - arrived <= 2 * width * 12 * 3
    at = {row["share"]: row["TTFT"] for row in curve}
    assert at[0.5] == pytest.approx(result.summary["ttft_ms.p50"], rel=1e-5)
    assert at[1] == pytest.approx(result.summary["ttft_ms.max"], rel=1e-5)


def path(figure: Any) -> str:
    return str(figure.locator("svg g[clip-path] path").last.get_attribute("d"))


def test_a_replica_is_looked_at_alone(browser: Any, report_of: Report) -> None:
    result = world("twelve replicas")
    with opened(browser, report_of("twelve replicas")) as shown:
        before = {chart: path(shown.figure(chart)) for chart in CHARTS if chart not in ("reuse-spread",)}
        shown.page.select_option("#group", label="Replica 3")
        for chart in ("cdf-ttft_ms", "bands-ttft_ms", "requests", "reuse"):
            assert path(shown.figure(chart)) != before[chart], chart
        counted = shown.table("latency").locator("tbody tr").first.locator("td").nth(1).inner_text()
        assert int(counted) == sum(row["replica"] == 3 for row in result.requests.to_pylist())
        replicas = shown.table("slowest").locator("tbody tr td:last-child").all_inner_texts()
        assert set(replicas) == {"3"}
        shown.page.select_option("#group", label="All requests")
        assert {chart: path(shown.figure(chart)) for chart in before} == before


def test_classes_are_set_apart(browser: Any, report_of: Report) -> None:
    rows = world("classes").requests.to_pylist()
    with opened(browser, report_of("classes")) as shown:
        shown.table("classes").get_by_role("button", name="agents").click()
        assert shown.page.locator("#group option:checked").inner_text() == "Class agents"
        assert "6 of the trace's requests failed" in shown.table("outcome").inner_text()
        counted = shown.table("latency").locator("tbody tr").first.locator("td").nth(1).inner_text()
    assert int(counted) == sum(row["class"] == "agents" for row in rows)


def test_one_of_many_replicas_is_chosen_on_the_map(browser: Any, report_of: Report) -> None:
    with opened(browser, report_of("twelve replicas")) as shown:
        box = shown.figure("heat-running").locator("svg")
        size = box.bounding_box()
        # The map has twelve rows above its axis; this is the sixth.
        box.click(position={"x": size["width"] / 2, "y": 6 + (size["height"] - 38) * 5.5 / 12})
        assert shown.figure("replicas-running").locator(".legend").inner_text().endswith("replica 5")
        shown.table("replicas").get_by_role("button", name="11", exact=True).click()
        assert shown.figure("replicas-waiting").locator(".legend").inner_text().endswith("replica 11")


def test_series_are_hidden_and_axes_turned(browser: Any, report_of: Report) -> None:
    with opened(browser, report_of("one replica")) as shown:
        figure = shown.figure("requests")
        lines = figure.locator("svg g[clip-path] path")
        count = lines.count()
        figure.get_by_role("button", name="completed").click()
        assert lines.count() == count - 1
        figure.get_by_role("button", name="completed").click()
        assert lines.count() == count
        for tool in ("log", "tail"):
            before = path(shown.figure("cdf-e2e_ms"))
            shown.figure("cdf-e2e_ms").get_by_role("button", name=tool).click()
            assert path(shown.figure("cdf-e2e_ms")) != before


def test_charts_over_time_are_zoomed_together(browser: Any, report_of: Report) -> None:
    linked = ("bands-ttft_ms", "requests", "replicas-running", "reuse")
    with opened(browser, report_of("one replica")) as shown:
        before = {chart: path(shown.figure(chart)) for chart in (*linked, "cdf-ttft_ms")}
        shown.drag(shown.figure("requests"), (0.3, 0.5), (0.6, 0.5))
        after = {chart: path(shown.figure(chart)) for chart in before}
        assert {chart for chart in before if after[chart] != before[chart]} == set(linked)
        shown.page.get_by_role("button", name="Reset zoom").click()
        assert {chart: path(shown.figure(chart)) for chart in before} == before


def test_charts_are_read_with_pointer_and_keys(browser: Any, report_of: Report) -> None:
    result = world("one replica")
    with opened(browser, report_of("one replica")) as shown:
        figure = shown.figure("cdf-ttft_ms")
        figure.locator("svg").focus()
        shown.page.keyboard.press("End")
        tip = figure.locator(".tip")
        expect(tip).to_have_text(re.compile("^max"))
        expect(tip).to_contain_text(f"{result.summary['ttft_ms.max']:,.1f}"[:4])
        shown.page.keyboard.press("Home")
        expect(tip).to_have_text(re.compile("^min"))
        requests = shown.figure("requests")
        requests.locator("svg").hover()
        expect(requests.locator(".tip")).to_contain_text("arrived")


def test_slowest_requests_are_sorted_and_opened(browser: Any, report_of: Report) -> None:
    result = world("preemptions")
    rows = result.requests.to_pylist()
    with opened(browser, report_of("preemptions")) as shown:
        table = shown.table("slowest")
        first = table.locator("tbody tr").first
        latency = {n: row["last_token_ps"] - row["arrival_ps"] for n, row in enumerate(rows)}
        slowest = max(latency, key=lambda n: latency[n])
        assert first.locator("td").first.inner_text() == f"row {slowest}"
        table.get_by_role("button", name="by TTFT").click()
        waited = {n: row["first_token_ps"] - row["arrival_ps"] for n, row in enumerate(rows)}
        assert first.locator("td").first.inner_text() == f"row {max(waited, key=lambda n: waited[n])}"
        table.get_by_role("button", name="output", exact=True).click()
        shown_tokens = [
            int(one.replace(",", "")) for one in table.locator("tbody tr td:nth-child(9)").all_inner_texts()
        ]
        assert shown_tokens == sorted(shown_tokens, reverse=True)
        third = table.locator("tbody tr").nth(2)
        third.get_by_role("button").click()
        assert table.locator(".request h3").inner_text() == third.locator("td").first.inner_text()
        request = rows[int(table.locator(".request h3").inner_text().removeprefix("row "))]
        assert f"{request['input_tokens']:,}" in table.locator(".request dl").inner_text()
        assert table.locator(".request .track i.decode").count() == 1


def test_names_are_text(browser: Any, report_of: Report) -> None:
    with opened(browser, report_of("names")) as shown:
        assert shown.page.locator("img").count() == 0
        text = shown.table("slowest").locator("tbody").inner_text()
        assert "</script><img src=x onerror=alert(1)>&amp;" in text


def test_what_went_wrong_stands_at_the_top(browser: Any, report_of: Report) -> None:
    for name, words in (
        ("all rejected", ["Nothing completed"]),
        ("stalled", ["Stalled"]),
        ("three replicas, measured in part", ["SLO missed", "E2E p50"]),
    ):
        with opened(browser, report_of(name)) as shown:
            head = shown.page.locator("header").inner_text()
            assert all(word in head for word in words), head
    with opened(browser, report_of("all rejected")) as shown:
        assert "300 × " not in shown.table("outcome").inner_text()
        assert "prompt and output limit exceed the context" in shown.table("outcome").inner_text()


def test_colours_follow_the_reader(browser: Any, report_of: Report) -> None:
    follows_the_reader(browser, report_of("one replica"), hidden=".bar")
