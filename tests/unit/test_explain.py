"""Explanations: parts that add up, states that are what binds, changes that do what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from servetwin.cli import app
from servetwin.describe import resolve
from servetwin.explain import explain
from servetwin.explain.binding import bindings
from servetwin.explain.changes import Change, changes
from servetwin.explain.effects import compared, figure
from servetwin.explain.parts import splits
from servetwin.explain.passes import decode_pass
from servetwin.replication import replicate
from servetwin.result.invariants import check_invariants
from servetwin.simulation import simulate
from servetwin.spec import Spec, make_spec
from servetwin.workload import open_workload

PASS_MS = 10.0


def spec_of(engine: dict[str, Any], workload: dict[str, Any], **more: Any) -> Spec:
    return make_spec(
        {
            "model": "llama-3.1-8b",
            "gpu": "h100",
            "engine": {"name": "vllm", "max_model_len": 4096, "async_scheduling": False, **engine},
            "timing": {"kind": "linear", "base_ms": PASS_MS},
            "workload": {"kind": "poisson", "requests": 200, "rate_per_s": 20, "input_tokens": 100,
                         "output_tokens": {"p50": 20, "p99": 60, "max": 100}, **workload},
            **more,
        }
    )  # fmt: skip


STARVED = spec_of({"num_gpu_blocks": 40}, {"output_tokens": 200})
"""Its cache holds a few requests' prompts, and fewer outputs."""

POOLED = spec_of(
    {},
    {"requests": 100},
    pools={"prefill": {"replicas": 1}, "decode": {"replicas": 2}},
    cluster={"nodes": 3, "gpus_per_node": 1, "nic_gbps": 10},
)


@pytest.mark.parametrize("spec", [spec_of({}, {}), STARVED, POOLED], ids=["plain", "starved", "pools"])
def test_parts_add_up_to_the_latency(spec: Spec) -> None:
    result = simulate(spec)
    check_invariants(result)
    found = splits(result)
    assert [split.percentile for split in found] == [None, 50, 90, 95, 99] * 2
    for split in found:
        assert sum(split.parts_ms.values()) == pytest.approx(split.total_ms)
        assert min(split.parts_ms.values()) >= 0
        if split.percentile is None:
            assert split.total_ms == pytest.approx(result.summary[f"{split.metric}.mean"])
    names = set().union(*(split.parts_ms for split in found))
    assert ("preempted" in names) == (spec is STARVED)
    assert ("transfer" in names) == (spec is POOLED)


def test_a_window_counts_as_in_the_metrics() -> None:
    result = simulate(spec_of({}, {}, metrics={"warmup": 2, "window": 5}))
    assert splits(result)[0].total_ms == pytest.approx(result.summary["ttft_ms.mean"])


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm"])
def test_what_a_preemption_takes_is_what_is_more_than_its_passes(engine: str) -> None:
    """Each pass takes as long as any other: without preemptions, n tokens take n − 1 of them."""
    tight: dict[str, dict[str, Any]] = {
        "vllm": {"num_gpu_blocks": 40},
        "sglang": {"max_total_tokens": 640, "schedule_conservativeness": 0.1, "disable_overlap_schedule": True},
        "trtllm": {
            "kv_cache_config": {"max_tokens": 640},
            "scheduler_config": {"capacity_scheduler_policy": "MAX_UTILIZATION"},
            "max_batch_size": 32,
        },
    }
    options = {**tight[engine], **({"context_length": 640} if engine == "sglang" else {})}
    data = {
        "engine": {"name": engine, **options},
        "model": "llama-3.1-8b",
        "gpu": "h100",
        "timing": {"kind": "linear", "base_ms": PASS_MS},
        "workload": {"kind": "poisson", "requests": 60, "rate_per_s": 20, "input_tokens": 100, "output_tokens": 120},
    }
    rows = simulate(make_spec(data)).requests.to_pylist()
    once = [row for row in rows if row["preemptions"] == 1 and row["preempted_ps"] > 0]
    assert once
    for row in once:
        others = row["output_tokens"] - 2
        lost_ms = (row["last_token_ps"] - row["first_token_ps"]) / 1e9 - others * PASS_MS
        # Passes that compute prompts alone hold SGLang's decodes up as well.
        assert row["preempted_ps"] / 1e9 <= lost_ms + 1e-6
        assert engine == "sglang" or row["preempted_ps"] / 1e9 == pytest.approx(lost_ms)
    assert all(row["preempted_ps"] == 0 for row in rows if row["preemptions"] == 0)


@pytest.mark.parametrize(
    ("engine", "workload", "binds"),
    [
        ({"max_num_seqs": 2}, {}, "batch slots"),
        ({"num_gpu_blocks": 40}, {}, "kv cache"),
        ({"max_num_batched_tokens": 128}, {"input_tokens": 2000}, "tokens of a pass"),
        ({}, {"rate_per_s": 1}, "nothing waits"),
    ],
)
def test_what_binds_is_told(engine: dict[str, Any], workload: dict[str, Any], binds: str) -> None:
    spec = spec_of(engine, workload)
    deployment = resolve(spec)
    (one,) = bindings(simulate(spec, deployment=deployment), deployment)
    assert sum(one.shares.values()) == pytest.approx(1)
    shares = {state: share for state, share in one.shares.items() if state != "idle"}
    assert max(shares, key=lambda state: shares[state]) == binds


def test_layers_with_windows_fill_the_cache_as_well() -> None:
    """gpt-oss on vLLM: a request of 300 to 500 tokens holds up to 32 blocks of all and as many of windows."""
    engine = {"enable_prefix_caching": False, "num_gpu_blocks": 150, "max_model_len": 600}
    burst = {"requests": 60, "rate_per_s": 1e6, "input_tokens": 300, "output_tokens": 200}
    table = simulate(spec_of(engine, burst, model="gpt-oss-20b")).series.to_pydict()
    held = {what for waiting, what in zip(table["waiting"], table["holdup"], strict=True) if waiting}
    assert held == {"kv cache"}


def test_a_decode_pass_is_split_by_what_makes_it_longer() -> None:
    timing = {"kind": "linear", "base_ms": 5, "decode_row_ms": 0.5, "context_token_ms": 0.002}
    (pool,) = resolve(make_spec({"model": "llama-3.1-8b", "gpu": "h100", "timing": timing})).pools
    made = decode_pass(pool, 10, 1000)
    assert made is not None
    assert (made.fixed_ms, made.rows_ms, made.context_ms) == pytest.approx((5.502, 9 * 0.502, 10 * 999 * 0.002))
    assert decode_pass(pool, 0.2, 1000) is None


def test_a_decode_pass_of_a_pipeline_goes_through_all_stages() -> None:
    """Of one kind here, each with its micro-batch of five; of several where layers are priced."""
    timing = {"kind": "linear", "base_ms": 5, "decode_row_ms": 0.5, "context_token_ms": 0.002}
    spec = {"model": "llama-3.1-8b", "gpu": "h100", "parallel": {"pipeline": 2}}
    (pool,) = resolve(make_spec(spec | {"timing": timing})).pools
    made = decode_pass(pool, 10, 1000)
    assert made is not None
    assert (made.rows, made.context) == (5, 5000)
    assert (made.fixed_ms, made.rows_ms, made.context_ms) == pytest.approx(
        (2 * 5.502, 2 * 4 * 0.502, 2 * 5 * 999 * 0.002)
    )
    lone = {"requests": 1, "rate_per_s": 1, "input_tokens": 100, "output_tokens": 50}
    result = simulate(make_spec(spec | {"workload": {"kind": "poisson", **lone}}))
    (pool,) = resolve(make_spec(spec)).pools
    alone = decode_pass(pool, 1, 125)
    assert alone is not None
    assert alone.total_ms == pytest.approx(result.summary["itl_ms.p50"], rel=0.01)


def test_what_decides_is_nearest_to_its_limit() -> None:
    slo = {"ttft_ms": {"p95": 100, "p50": 10}, "tpot_ms": 50}
    summary = {"ttft_ms.p95": 90.0, "ttft_ms.p50": 5.0, "tpot_ms.p95": 48.0, "e2e_ms.p95": 9.0}
    assert figure(spec_of({}, {}, slo=slo), summary) == "tpot_ms.p95"
    assert figure(spec_of({}, {}), summary) == "e2e_ms.p95"


def test_a_change_of_nothing_changes_nothing() -> None:
    """Pairs of replications meet the same requests and the same errors."""
    spec = spec_of({}, {})
    trace = open_workload(spec)
    base = replicate(spec, trace, replications=20, confidence=0.9)
    (same,) = compared(base, trace, [Change("seed", 0, 0, spec)], "ttft_ms.p95", replications=20, confidence=0.9)
    assert same.figure is not None
    for effect in (same.figure, *same.effects.values()):
        assert (effect.value, effect.low, effect.high) == (0, 0, 0)


def test_what_binds_is_what_helps() -> None:
    spec = spec_of({"max_num_seqs": 4}, {"rate_per_s": 12}, slo={"ttft_ms": {"p95": 500}})
    explanation = explain(spec)
    assert explanation.decides == "ttft_ms.p95"
    helped = {one.change.path: one for one in explanation.helps}
    assert {"engine.max_num_seqs", "replicas"} <= helped.keys()
    assert all(one.figure is not None and one.figure.value < 0 for one in explanation.helps)
    assert all(one.figure is None or one.figure.value > 0 for one in explanation.hurts)
    assert "engine.max_num_batched_tokens" not in {*helped, *(one.change.path for one in explanation.hurts)}
    changed = helped["engine.max_num_seqs"]
    again = simulate(changed.change.spec).summary["ttft_ms.p95"]
    assert changed.figure is not None
    assert changed.figure.value == pytest.approx(again / explanation.result.summary["ttft_ms.p95"] - 1)


def test_neighbours_on_a_studys_axes_are_tried() -> None:
    spec = spec_of({"max_num_seqs": 16}, {})
    todo = changes(spec, {"engine.max_num_seqs": [4, 16, 48], "engine.block_size": [16, 32]})
    found = {(change.path, change.after) for change in todo}
    assert {("engine.max_num_seqs", 4), ("engine.max_num_seqs", 48), ("engine.max_num_seqs", 32)} <= found
    assert len(found) == len(todo)


def test_the_command_explains_a_spec(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(spec_of({"max_num_seqs": 4}, {}).source.data), encoding="utf-8")
    ran = CliRunner().invoke(app, ["explain", str(file)])
    assert ran.exit_code == 0, ran.output
    assert "waits: batch slots" in ran.output
    ran = CliRunner().invoke(app, ["explain", str(file), "--json"])
    told = json.loads(ran.output)
    assert told["decides"] == "e2e_ms.p95"
    assert told["helps"][0]["figure"]["value"] < 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["spec.yaml", "3"], "a spec has no trials"),
        (["nowhere.yaml"], "cannot be read"),
        (
            ["spec.yaml", "--replications", "3"],
            "found 3; expected at least 19; 20 is usual",
        ),
        (["spec.yaml", "--set", "workload.input_tokens=5000"], "nothing to explain"),
    ],
)
def test_what_cannot_be_explained_is_refused(arguments: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec_of({}, {"requests": 30}).source.data), encoding="utf-8")
    ran = CliRunner().invoke(app, ["explain", str(tmp_path / arguments[0]), *arguments[1:]])
    assert ran.exit_code == 2
    assert told in ran.output
