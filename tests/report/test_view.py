"""What a page shows is what the result holds."""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin import Result
from servetwin.report.page.document import embedded, report_page
from servetwin.report.page.groups import BANDS, MOST_REPLICAS
from servetwin.report.page.quantiles import CURVE, Groups
from servetwin.report.page.time import MOST_BINS, Bins, round_up
from servetwin.report.page.view import view

from .worlds import CHAT, WORLDS, run, world

LATENCIES = ("ttft_ms", "tpot_ms", "e2e_ms", "queue_ms")


@pytest.fixture(params=WORLDS)
def result(request: pytest.FixtureRequest) -> Result:
    return world(request.param)


def by_definition(values: list[float], share: float) -> float:
    """docs/metrics.md: at position (n - 1) · share of the sorted values, between the closest ranks."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * share
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(-1e9, 1e9)), max_size=60),
    st.lists(st.floats(0, 1), min_size=1, max_size=5),
)
def test_percentiles_of_groups_are_those_of_their_members(
    samples: list[tuple[int, float]], shares: list[float]
) -> None:
    codes = pa.array([code for code, _ in samples], pa.int32())
    found = Groups(pa.array([value for _, value in samples], pa.float64()), codes, 6).quantiles(shares)
    for code in range(6):
        members = [value for one, value in samples if one == code]
        expected = [by_definition(members, share) for share in shares] if members else None
        assert found[code] == (None if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-3))


@given(st.just(0.0) | st.floats(1e-12, 1e7), st.integers(0, 10**6))
def test_bins_cover_a_run(length_s: float, requests: int) -> None:
    bins = Bins.over(length_s, requests)
    assert 1 <= bins.count <= MOST_BINS + 1
    assert sum(bins.seconds()) == pytest.approx(bins.length_s)
    assert all(0.4 * bins.width_s <= width <= 1.6 * bins.width_s for width in bins.seconds()) or bins.count == 1
    times = [0.0, bins.length_s / 3, bins.length_s, None]
    assert all(code is None or 0 <= code < bins.count for code in bins.of(pa.array(times, pa.float64())).to_pylist())


@pytest.mark.parametrize(
    ("width_s", "round_s"),
    [
        (0.011, 0.02),
        (1.0, 1.0),
        (3.1, 5.0),
        (9.0, 10.0),
        (11.0, 20.0),
        (41.0, 60.0),
        (3000.0, 3600.0),
        (1e5, 172_800.0),
    ],
)
def test_bins_are_as_people_count_time(width_s: float, round_s: float) -> None:
    assert round_up(width_s) == pytest.approx(round_s)


def test_distributions_are_those_of_the_summary(result: Result) -> None:
    found = view(result)["groups"][0]
    for metric in LATENCIES:
        assert found["stats"][metric]["count"] == result.summary.get(f"{metric}.count", 0)
        if not found["stats"][metric]["count"]:
            assert found["curves"][metric] is None
            continue
        for name, share in {**BANDS, "min": 0.0, "max": 1.0}.items():
            curve = found["curves"][metric][min(range(len(CURVE)), key=lambda place: abs(CURVE[place] - share))]
            assert curve == pytest.approx(result.summary[f"{metric}.{name}"], rel=1e-5, abs=1e-9)
        assert found["stats"][metric]["mean"] == pytest.approx(result.summary[f"{metric}.mean"], rel=1e-5)


def test_traffic_adds_up_to_the_table(result: Result) -> None:
    rows = result.requests.to_pylist()
    completed = [row for row in rows if row["status"] == "completed"]
    found = view(result)
    traffic = found["groups"][0]["traffic"]
    assert sum(traffic["arrived"]) == sum(row["arrival_ps"] is not None for row in rows)
    assert sum(traffic["completed"]) == len(completed)
    for name in ("input_tokens", "output_tokens", "cached_tokens"):
        assert sum(traffic[name]) == sum(row[name] for row in completed)
    assert sum(traffic["failed"]) == sum(traffic["arrived"]) - len(completed)
    assert {len(values) for values in traffic.values()} == {found["bins"]["count"]}


@pytest.mark.parametrize("name", ["three replicas, measured in part", "twelve replicas", "classes"])
def test_groups_add_up_to_all(name: str) -> None:
    found = view(world(name))["groups"]
    for kind in {group["kind"] for group in found} - {"all", "class"}:
        parts = [group["traffic"] for group in found if group["kind"] == kind]
        for measure, whole in found[0]["traffic"].items():
            assert [sum(values) for values in zip(*(part[measure] for part in parts), strict=True)] == whole


def test_bands_are_percentiles_of_what_arrived_in_the_bin() -> None:
    result = world("one replica")
    found = view(result)
    width_ps = found["bins"]["width_s"] * 1e12
    rows = result.requests.to_pylist()
    zero = min(row["arrival_ps"] for row in rows)
    for number in range(found["bins"]["count"]):
        last = number == found["bins"]["count"] - 1
        inside = [
            (row["first_token_ps"] - row["arrival_ps"]) / 1e9
            for row in rows
            if number * width_ps <= row["arrival_ps"] - zero
            and (last or row["arrival_ps"] - zero < (number + 1) * width_ps)
        ]
        for band, share in BANDS.items():
            shown = found["groups"][0]["bands"]["ttft_ms"][band][number]
            assert shown == (pytest.approx(by_definition(inside, share), rel=1e-5) if inside else None)


def test_slowest_requests_are_the_slowest() -> None:
    result = world("preemptions")
    found = view(result)
    times = dict(enumerate(result.requests.to_pylist()))
    latency = {row: (entry["last_token_ps"] - entry["arrival_ps"]) / 1e9 for row, entry in times.items()}
    expected = sorted(latency, key=lambda row: -latency[row])[: len(found["groups"][0]["slowest"]["e2e_ms"])]
    assert found["groups"][0]["slowest"]["e2e_ms"] == expected
    for row in expected:
        shown = found["requests"][row]
        assert shown["e2e_ms"] == pytest.approx(latency[row])
        assert shown["preemptions"] == times[row]["preemptions"]


def test_series_are_means_of_the_points() -> None:
    result = world("twelve replicas")
    found = view(result)["replicas"]
    zero = min(result.requests["arrival_ps"].to_pylist())
    for row, replica in enumerate(found["replicas"]):
        cells: dict[int, list[int]] = {}
        for point in result.series.to_pylist():
            if point["replica"] == replica and point["time_ps"] >= zero:
                place = min(int((point["time_ps"] - zero) / 1e12 / found["width_s"]), found["count"] - 1)
                cells.setdefault(place, []).append(point["running"])
        expected = [sum(cells[n]) / len(cells[n]) if n in cells else None for n in range(found["count"])]
        assert [value if value is None else round(value, 1) for value in expected] == found["running"][row]


def test_totals_of_replicas_add_up() -> None:
    result = world("twelve replicas")
    totals = view(result)["replica_totals"]
    assert [entry["replica"] for entry in totals] == list(range(12))
    assert sum(entry["output_tokens"] for entry in totals) == result.summary["output_tokens"]
    assert sum(entry["completed"] for entry in totals) == result.completed


def test_totals_of_prefill_replicas_add_up() -> None:
    result = world("pools")
    found = view(result)
    prefills = found["prefill_totals"]
    assert [entry["replica"] for entry in prefills] == [0, 1]
    assert sum(entry["input_tokens"] for entry in prefills) == result.summary["input_tokens"]
    assert sum(entry["handed_over"] for entry in prefills) == result.completed
    rows = [row for row in result.requests.to_pylist() if row["prefill_replica"] == 1]
    waited = [(row["transfer_end_ps"] - row["prefilled_ps"]) / 1e9 for row in rows]
    assert prefills[1]["handover_ms.p95"] == pytest.approx(by_definition(waited, 0.95), rel=1e-3)
    assert [entry["replica"] for entry in found["replica_totals"]] == [2]
    assert view(world("twelve replicas"))["prefill_totals"] == []


def test_hand_overs_are_those_of_the_summary() -> None:
    result = world("pools")
    found = view(result)["topology"]
    before, transfer, whole = found["handovers"]
    for entry, metric in ((transfer, "transfer_ms"), (whole, "handover_ms")):
        assert entry["count"] == result.summary[f"{metric}.count"]
        for statistic in ("mean", "p50", "p90", "p95", "p99"):
            assert entry[statistic] == pytest.approx(result.summary[f"{metric}.{statistic}"], rel=1e-4)
    assert before["mean"] + transfer["mean"] == pytest.approx(whole["mean"], rel=1e-4)
    assert sum(way["handovers"] for way in found["ways"]) == result.summary["handovers"]
    assert sum(way["tokens"] for way in found["ways"]) == result.summary["handover_tokens"]
    rows = [row for row in result.requests.to_pylist() if row["prefill_replica"] == 1 and row["replica"] == 2]
    taken = [(row["transfer_end_ps"] - row["transfer_start_ps"]) / 1e9 for row in rows]
    way = next(way for way in found["ways"] if (way["prefill"], way["decode"]) == (1, 2))
    assert way["p95"] == pytest.approx(by_definition(taken, 0.95), rel=1e-3)


def test_sources_of_prompts_are_those_of_the_summary() -> None:
    result = world("host memory")
    places = {entry["place"]: entry for entry in view(result)["topology"]["sources"]}
    tokens = {place: entry["tokens"] for place, entry in places.items()}
    inputs = result.summary["input_tokens"]
    assert tokens["host"] > 0
    assert sum(tokens.values()) == inputs
    assert tokens["host"] / inputs == pytest.approx(result.summary["prefix_reuse.host"])
    assert (tokens["host"] + tokens["gpu"]) / inputs == pytest.approx(result.summary["prefix_reuse"])
    offload = result.provenance["engine"]["offload"]
    assert places["host"]["bytes"] == pytest.approx(tokens["host"] * offload["block_bytes"] / 16)
    assert view(world("pools"))["topology"]["sources"] == []


def test_data_ranks_add_up_to_their_replica() -> None:
    result = world("data ranks")
    found = view(result)
    ranks = found["topology"]["ranks"]
    assert [(entry["replica"], entry["rank"]) for entry in ranks] == [(0, 0), (0, 1), (0, 2)]
    for name in ("requests", "input_tokens", "cached_tokens", "output_tokens"):
        assert sum(entry[name] for entry in ranks) == found["replica_totals"][0][name]
    assert view(world("pools"))["topology"]["ranks"] == []


def test_of_many_replicas_a_page_holds_the_slowest() -> None:
    result = run(replicas=200, workload={**CHAT, "requests": 800, "rate_per_s": 4000})
    found = view(result)
    shown = [group for group in found["groups"] if group["kind"] == "replica"]
    assert len(shown) == MOST_REPLICAS
    assert len(found["replica_totals"]) == 200
    tails = {entry["replica"]: entry["ttft_ms.p95"] for entry in found["replica_totals"]}
    least = min(tails[int(group["label"].split()[1])] for group in shown)
    assert sum(value > least for value in tails.values()) < MOST_REPLICAS


def test_a_page_of_many_requests_on_many_replicas_is_small() -> None:
    workload = {**CHAT, "requests": 100_000, "rate_per_s": 20_000, "output_tokens": 40}
    page = report_page(run(replicas=1024, workload=workload, router="least_requests"))
    assert len(page.encode()) < 4_000_000


def test_a_page_is_the_same_for_the_same_result(result: Result) -> None:
    assert report_page(result) == report_page(result)


def test_a_page_loads_nothing(result: Result) -> None:
    page = report_page(result)
    outside = page.partition('id="data">')[0] + page.partition('id="data">')[2].partition("</script>")[2]
    for mark in ("src=", "href=", r"url\((?!#)", "@import", r"fetch\(", "XMLHttpRequest", "WebSocket", r"import\("):
        assert not re.search(mark, outside), mark
    # The one address in it names the language of SVG, and is never opened.
    assert outside.count("http") - outside.count("http-equiv") == 1


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_data_ends_no_element(data: Any) -> None:
    text = embedded(data)
    assert json.loads(text) == data
    assert "<" not in text
    assert "\u2028" not in text
