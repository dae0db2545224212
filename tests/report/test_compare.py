"""Differences are those of the results."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from rich.console import Console

from servetwin import InputError, Result
from servetwin.report.compare.comparison import MOST_RESULTS, Comparison, names
from servetwin.report.compare.metrics import METRICS, Metric, Row
from servetwin.report.compare.page import comparison_page
from servetwin.report.compare.terminal import render

from .worlds import CHAT, WORLDS, run, world


def comparison(*results: Result) -> Comparison:
    return Comparison([chr(ord("a") + number) for number in range(len(results))], list(results))


def text(shown: Comparison, width: int = 140) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(render(shown))
    return capture.get()


def test_the_fields_that_differ_come_first() -> None:
    shown = comparison(world("one replica"), run(replicas=2, router="random"))
    fields = {difference.field: difference.values for difference in shown.differences}
    expected = {
        "slo.ttft_ms": [500.0, None],
        "slo.tpot_ms": [30.0, None],
        "slo.attainment": [0.9, None],
        "replicas": [1, 2],
        "router.kind": ["round_robin", "random"],
    }
    assert fields.items() >= expected.items()
    assert {field.partition(".")[0] for field in fields} == {"slo", "replicas", "router"}
    assert text(shown).index("router.kind") < text(shown).index("TTFT p95 (ms)")


def test_a_result_equals_itself() -> None:
    result = world("three replicas, measured in part")
    shown = comparison(result, result)
    assert shown.differences == []
    assert "The specs are the same." in text(shown)
    assert {row.difference(1) for row in shown.rows} <= {0, None}
    assert {row.verdict(1) for row in shown.rows} == {None}
    for pairs in shown.paired[0]:
        assert (pairs.faster, pairs.slower, pairs.mean) == (0, 0, 0)


def test_metrics_are_those_of_the_summaries() -> None:
    results = [world("one replica"), run(replicas=2)]
    for row in comparison(*results).rows:
        assert row.values == [result.summary.get(row.metric.key) for result in results]
        first, other = row.values
        if first is not None and other is not None:
            assert row.difference(1) == pytest.approx(other - first)


def test_names_of_metrics_are_known_to_some_result() -> None:
    seen = {key for name in WORLDS for key in world(name).summary}
    priced = run(cluster={"gpus_per_node": 8, "gpu_price_per_hour": 2.0})
    engine = {"name": "trtllm", "max_seq_len": 4096, "kv_cache_config": {"max_tokens": 19_200}}
    limited = run(engine=engine, workload={**CHAT, "max_output_tokens": 900})
    tiers = {name: {"blocks": 400, "write_gbytes_per_s": 5, "read_gbytes_per_s": 5} for name in ("disk", "shared")}
    tiered = run(
        engine={"max_model_len": 4096, "num_gpu_blocks": 260},
        tiers={"host": {"blocks": 300}, **tiers, "kv_bytes_per_token": 100_000},
        gpu="h100",
        workload={**CHAT, "sessions": {"turns": 2, "think_time_s": 1, "new_tokens": 100}},
    )
    drafts = {"method": "eagle3", "num_speculative_tokens": 3, "acceptance": 0.7}
    drafted = run(engine={"max_model_len": 4096, "num_gpu_blocks": 1200, "speculative": drafts})
    ranked = run(model="qwen3-30b-a3b", gpu="h200", parallel={"data": 2})
    staged = run(model="llama-3.1-8b", gpu="h100", parallel={"pipeline": 2}, timing="analytic")
    others = set().union(*(one.summary for one in (priced, limited, tiered, drafted, ranked, staged)))
    assert {metric.key for metric in METRICS} <= seen | others


@pytest.mark.parametrize(
    ("better", "values", "verdict"),
    [
        ("lower", [10.0, 5.0], "better"),
        ("lower", [10.0, 20.0], "worse"),
        ("higher", [10.0, 20.0], "better"),
        ("higher", [10.0, 5.0], "worse"),
        ("lower", [0.0, 5.0], "worse"),
        ("lower", [10.0, 10.0], None),
        ("lower", [10.0, 10.001], None),
        (None, [10.0, 20.0], None),
        ("lower", [None, 20.0], None),
    ],
)
def test_verdicts(better: str, values: list[float | None], verdict: str | None) -> None:
    assert Row(Metric("x", "X", better), values, [None, None]).verdict(1) == verdict  # type: ignore[arg-type]


def test_pairs_are_differences_request_by_request() -> None:
    first, other = run(engine={"max_model_len": 1024, "num_gpu_blocks": 600}), run(replicas=2)
    (pairs,) = comparison(first, other).paired
    rows = list(zip(first.requests.to_pylist(), other.requests.to_pylist(), strict=True))
    both = [(a, b) for a, b in rows if a["status"] == b["status"] == "completed"]
    changes = [
        ((b["first_token_ps"] - b["arrival_ps"]) - (a["first_token_ps"] - a["arrival_ps"])) / 1e9 for a, b in both
    ]
    assert 0 < len(both) < len(rows)
    assert (pairs[0].metric, pairs[0].count) == ("ttft_ms", len(both))
    assert pairs[0].mean == pytest.approx(sum(changes) / len(changes))
    assert pairs[0].faster == pytest.approx(sum(change < 0 for change in changes) / len(changes))
    assert pairs[0].percentiles["p50"] == pytest.approx(sorted(changes)[(len(changes) - 1) // 2], abs=200)


def test_different_traces_are_warned_of_and_not_paired() -> None:
    shown = comparison(world("one replica"), run(workload={**CHAT, "requests": 50}))
    assert shown.paired == []
    assert "different traces" in text(shown)
    assert "b has 50" in " ".join(text(shown).split())


@pytest.mark.parametrize(("name", "warning"), [("all rejected", "nothing completed in b"), ("stalled", "b stalled")])
def test_what_went_wrong_is_warned_of(name: str, warning: str) -> None:
    assert warning in text(comparison(world("one replica"), world(name)))


def test_json_holds_all_of_it() -> None:
    shown = comparison(world("one replica"), run(replicas=2), run(replicas=3))
    found = json.loads(json.dumps(shown.as_json(), allow_nan=False))
    assert found["results"] == ["a", "b", "c"]
    assert [len(pairs) for pairs in found["paired"]] == [3, 3]
    ttft = next(row for row in found["metrics"] if row["metric"] == "ttft_ms.p95")
    assert ttft["values"][0] == world("one replica").summary["ttft_ms.p95"]
    assert ttft["differences"] == [value - ttft["values"][0] for value in ttft["values"][1:]]


@pytest.mark.parametrize("name", WORLDS)
def test_any_result_can_be_compared(name: str) -> None:
    shown = comparison(world(name), world("one replica"), world(name))
    assert text(shown)
    assert comparison_page(shown) == comparison_page(shown)


def test_markup_in_names_is_text() -> None:
    shown = dataclasses.replace(comparison(world("one replica"), run(seed=4)), names=["[red]x", "\x1b[31my"])
    assert "[red]x" in text(shown)
    assert "\\x1b[31my" in text(shown)


def test_results_of_the_same_name_are_told_apart() -> None:
    assert names([Path("a/out"), Path("b/out"), Path("c")]) == ["a/out", "b/out", "c"]


def test_too_few_and_too_many_are_refused(tmp_path: Path) -> None:
    for count in (1, MOST_RESULTS + 1):
        with pytest.raises(InputError, match="expected"):
            Comparison.load([tmp_path] * count)
