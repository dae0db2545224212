"""The comparison with SGLang's recordings must be able to fail, and must name what it cannot compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from servetwin.cli.conformance import app
from servetwin.conformance import SGLANG, ScenarioResult, check_folder
from servetwin.conformance.scenario import load_scenario
from servetwin.conformance.sglang.config import read_config
from servetwin.reference.sglang.new_token_ratio import NewTokenRatio

reference = SGLANG.replayers["reference"]

SCENARIO: dict[str, Any] = {
    "name": "small",
    "note": "chunks, a preemption, retractions, a hit",
    "config": {
        "max_total_tokens": 60,
        "max_running_requests": 3,
        "chunked_prefill_size": 16,
        "schedule_conservativeness": 0.1,
        "ignore_eos": False,
        "enable_priority_scheduling": True,
        "priority_scheduling_preemption_threshold": 2,
    },
    "step_time": {"a": 5, "b": 0.05, "c": 0.1, "d": 0.001},
    "hash_block_tokens": 4,
    "requests": [
        {"id": "a", "t": 0, "in": 10, "out": 30, "hash_ids": [1, 2, 3], "prio": 0},
        {"id": "b", "t": 1.5, "in": 9, "out": 30, "hash_ids": [1, 2, 4], "prio": 1},
        {"id": "c", "t": 20, "in": 20, "out": 2, "hash_ids": [5, 6, 7, 8, 9], "prio": 1},
        {"id": "d", "t": 30, "in": 5, "out": 4, "hash_ids": [5, 1], "prio": 9},
    ],
}
ALL_OPTIONS: dict[str, Any] = {
    "page_size": 1,
    "max_prefill_tokens": 16384,
    "schedule_policy": "fcfs",
    "fast_match_prefix": False,
    "tree_core": "RustUnifiedTreeCore",
}


def record(folder: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """Writes a scenario and what the reference makes of it, in the recorder's format."""
    path = folder / "small.scenario.json"
    path.write_text(json.dumps(raw))
    scenario = load_scenario(path, "small", lambda options: read_config(options, "0.5.23"))
    rendered = SGLANG.render(scenario, reference(scenario))
    ratio = NewTokenRatio(scenario.config.schedule_conservativeness)
    oracle = {
        "name": "small",
        "engine": "sglang 0.5.23 UnifiedRadixCache",
        "config": {
            **ALL_OPTIONS,
            **raw["config"],
            "max_total_num_tokens": scenario.config.max_total_tokens,
            "max_running_requests_effective": scenario.config.max_running_requests,
            "new_token_ratio": {
                "current": ratio.initial,
                "decay": ratio.step,
                "init": ratio.initial,
                "min": ratio.floor,
            },
        },
        "step_time": raw["step_time"],
        "totals": {**rendered.totals, "wall_s": 0.1},
        "requests": rendered.requests,
        "steps": rendered.steps,
    }
    write(folder, oracle)
    return oracle


def write(folder: Path, oracle: dict[str, Any]) -> None:
    (folder / "small.oracle.json").write_text(json.dumps(oracle))


def check(folder: Path) -> ScenarioResult:
    (result,) = check_folder(folder, SGLANG, reference)
    return result


def test_a_faithful_recording_agrees(tmp_path: Path) -> None:
    oracle = record(tmp_path, SCENARIO)
    assert oracle["totals"]["retractions"] > 0
    assert oracle["totals"]["cached"] > 0
    assert oracle["totals"]["finished"] == 4
    last = oracle["steps"][-1]
    assert last["avail_end"] + last["evict_end"] == 60 != last["avail"] + last["evict"]
    result = check(tmp_path)
    assert result.agrees
    assert result.steps == len(oracle["steps"])


STEP_NUMBERS = ("t", "dt", "wait", "run", "avail", "evict", "ratio", "avail_end", "evict_end")
REQUEST_NUMBERS = ("arrival", "first_sched", "ttft", "finish", "n_in", "n_out", "cached", "retract")


@pytest.mark.parametrize(
    ("part", "field"),
    [*(("steps", field) for field in STEP_NUMBERS), *(("requests", field) for field in REQUEST_NUMBERS)],
)
def test_every_number_counts(tmp_path: Path, part: str, field: str) -> None:
    oracle = record(tmp_path, SCENARIO)
    oracle[part][2][field] += 0.00001
    write(tmp_path, oracle)
    result = check(tmp_path)
    assert result.differences == 1
    assert result.first is not None
    assert result.first.field == field


@pytest.mark.parametrize("field", ["kind", "s", "fin", "pre", "retr", "chunk"])
def test_every_list_counts(tmp_path: Path, field: str) -> None:
    oracle = record(tmp_path, SCENARIO)
    index = next(i for i, step in enumerate(oracle["steps"]) if step.get(field))
    del oracle["steps"][index][field]
    write(tmp_path, oracle)
    result = check(tmp_path)
    assert result.differences == 1
    assert f"step {index}: {field}" in str(result.first)


@pytest.mark.parametrize("field", ["steps", "end", "retractions", "cached", "n_in", "n_out", "finished"])
def test_every_total_counts(tmp_path: Path, field: str) -> None:
    oracle = record(tmp_path, SCENARIO)
    oracle["totals"][field] += 1
    write(tmp_path, oracle)
    assert check(tmp_path).differences == 1


def test_a_stuck_worker_is_recorded(tmp_path: Path) -> None:
    stuck = {**SCENARIO, "config": {"max_total_tokens": 100, "disable_radix_cache": True}}
    stuck["requests"] = [{"id": "a", "t": 3, "in": 10, "out": 500}]
    oracle = record(tmp_path, stuck)
    assert oracle["steps"] == [{"t": 3.0, "stuck": True, "live": ["a"]}]
    assert check(tmp_path).agrees
    oracle["steps"][0]["live"] = []
    write(tmp_path, oracle)
    assert check(tmp_path).differences == 1


def test_an_arrival_at_the_end_of_a_pass_may_miss_the_next(tmp_path: Path) -> None:
    """The recorder's clock is a sum of binary floats, and may be a hair before the arrival."""
    end = 5 + 0.05 * 10 + 0.001 * 10
    tied = {**SCENARIO, "config": {}, "requests": [dict(one) for one in SCENARIO["requests"][:2]]}
    tied["requests"][1]["t"] = end + 0.000000001
    oracle = record(tmp_path, tied)
    tied["requests"][1]["t"] = oracle["requests"][1]["arrival"] = end
    (tmp_path / "small.scenario.json").write_text(json.dumps(tied))
    write(tmp_path, oracle)
    assert check(tmp_path).agrees


def changed(raw: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy with the value at a dotted path replaced, or added."""
    copied: dict[str, Any] = json.loads(json.dumps(raw))
    *parents, last = path.split(".")
    at: Any = copied
    for key in parents:
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[int(last) if isinstance(at, list) else last] = value
    return copied


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("config.prefill_max_requests", 4, "config.prefill_max_requests"),
        ("config.radix_eviction_policy", "lfu", "config.radix_eviction_policy"),
        ("config.schedule_policy", "hrrn", "schedule_policy"),
        ("config.schedule_policy", "lpm", "schedule_policy"),
        ("config.chunked_prefill_size", None, "config.chunked_prefill_size"),
        ("config.page_size", 0, "config.page_size"),
        ("config.page_size", 32, "chunked_prefill_size"),
        ("config.ignore_eos", "yes", "config.ignore_eos"),
        ("config.schedule_conservativeness", -1, "config.schedule_conservativeness"),
        ("block_ids", True, "block_ids"),
        ("requests.1", {"id": "b", "step": 3, "in": 1, "out": 1}, "requests[1].step"),
        ("requests.1.prio", 1.5, "requests[1].prio"),
    ],
)
def test_what_is_not_modelled_is_refused_by_name(tmp_path: Path, path: str, value: object, told: str) -> None:
    record(tmp_path, SCENARIO)
    (tmp_path / "small.scenario.json").write_text(json.dumps(changed(SCENARIO, path, value)))
    result = check(tmp_path)
    assert not result.agrees
    assert told in str(result.problem)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("engine", "sglang 0.5.3 UnifiedRadixCache", "0.5.3"),
        ("engine", "vllm 0.32.0 Scheduler", "vllm"),
        ("config.max_total_num_tokens", 61, "config.max_total_num_tokens"),
        ("config.max_running_requests_effective", 2, "config.max_running_requests_effective"),
        ("config.fast_match_prefix", True, "config.fast_match_prefix"),
        ("config.tree_core", "UnifiedTreeCore", "config.tree_core"),
        ("config.new_token_ratio.min", 0.1, "config.new_token_ratio"),
        ("config.page_size", 4, "under other options"),
        ("steps.0.free", 8, "steps[0].free"),
        ("requests.0.preempt", 8, "requests[0].preempt"),
        ("totals.preemptions", 8, "totals.preemptions"),
    ],
)
def test_bad_recordings_are_named(tmp_path: Path, path: str, value: object, told: str) -> None:
    write(tmp_path, changed(record(tmp_path, SCENARIO), path, value))
    result = check(tmp_path)
    assert not result.agrees
    assert told in str(result.problem)


def test_the_command(tmp_path: Path) -> None:
    oracle = record(tmp_path, SCENARIO)
    result = CliRunner().invoke(app, ["sglang", str(tmp_path), "--engine", "reference"])
    assert result.exit_code == 0, result.output
    assert "1 scenarios, 0 failed" in result.output
    oracle["steps"][5]["ratio"] = 0.5
    write(tmp_path, oracle)
    result = CliRunner().invoke(app, ["sglang", str(tmp_path), "--engine", "reference"])
    assert result.exit_code == 1
    assert "First difference: small: step 5: ratio" in result.output
