"""The comparison with recordings must be able to fail, and must name what it cannot compare."""

from __future__ import annotations

import copy
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from servetwin.cli.conformance import app
from servetwin.conformance import VLLM, ScenarioResult, check_folder
from servetwin.conformance.scenario import Scenario, load_scenario
from servetwin.conformance.vllm.config import read_config
from servetwin.errors import InputError
from servetwin.reference.vllm import EngineConfig

reference = VLLM.replayers["reference"]

SCENARIO: dict[str, Any] = {
    "name": "small",
    "note": "two requests that share a prefix, and starve",
    "config": {"num_gpu_blocks": 8, "block_size": 4, "enable_prefix_caching": True},
    "step_time": {"a": 5, "b": 0.05, "c": 0.1, "d": 0.001},
    "hash_block_tokens": 4,
    "block_ids": True,
    "out_times": True,
    "requests": [
        {"id": "a", "t": 0, "in": 10, "out": 12, "hash_ids": [1, 2, 3]},
        {"id": "b", "t": 1.5, "in": 9, "out": 12, "hash_ids": [1, 2, 4], "prio": 1},
    ],
}
ALL_OPTIONS: dict[str, Any] = {
    "max_num_batched_tokens": 2048,
    "max_num_seqs": 64,
    "block_size": 16,
    "num_gpu_blocks": 4097,
    "enable_prefix_caching": True,
    "enable_chunked_prefill": True,
    "long_prefill_token_threshold": 0,
    "long_prefill_token_threshold_adaptive": False,
    "policy": "fcfs",
    "watermark": 0.0,
    "scheduler_reserve_full_isl": True,
    "max_model_len": 131072,
    "max_num_active_seqs": None,
    "num_spec_tokens": 0,
    "spec_method": "ngram",
    "spec_accept": None,
    "async_scheduling": False,
}


def record(folder: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """Writes a scenario and what the reference makes of it, in the recorder's format."""
    path = folder / "small.scenario.json"
    path.write_text(json.dumps(raw))
    scenario = load(path)
    run = reference(scenario)
    rendered = VLLM.render(scenario, run)
    oracle = {
        "name": "small",
        "engine": "vllm 0.32.0 Scheduler",
        "config": {**ALL_OPTIONS, **raw["config"]},
        "step_time": raw["step_time"],
        "totals": {**rendered.totals, "wall_s": 0.1},
        "requests": rendered.requests,
        "steps": rendered.steps,
    }
    write(folder, oracle)
    return oracle


def load(path: Path) -> Scenario[EngineConfig]:
    return load_scenario(path, "small", lambda options: read_config(options, "0.32"))


def write(folder: Path, oracle: dict[str, Any]) -> None:
    (folder / "small.oracle.json").write_text(json.dumps(oracle))


def check(folder: Path) -> ScenarioResult:
    (result,) = check_folder(folder, VLLM, reference)
    return result


def test_a_faithful_recording_agrees(tmp_path: Path) -> None:
    oracle = record(tmp_path, SCENARIO)
    assert oracle["totals"]["preemptions"] > 0
    assert oracle["totals"]["cached"] > 0
    result = check(tmp_path)
    assert result.agrees
    assert result.steps == len(oracle["steps"])


def test_packed_files_and_listed_requests(tmp_path: Path) -> None:
    oracle = record(tmp_path, SCENARIO)
    packed = tmp_path / "small.oracle.json.gz"
    packed.touch()
    with pytest.raises(InputError, match="holds both"):
        check(tmp_path)
    (tmp_path / "small.oracle.json").unlink()
    packed.write_bytes(gzip.compress(json.dumps(oracle).encode()))
    lines = "\n".join(json.dumps(request) for request in SCENARIO["requests"])
    (tmp_path / "small.requests.jsonl").write_text(lines)
    listed = {**SCENARIO, "requests": "small.requests.jsonl"}
    (tmp_path / "small.scenario.json").write_text(json.dumps(listed))
    assert check(tmp_path).agrees
    packed.write_bytes(packed.read_bytes()[:-20])
    assert "cannot be read" in str(check(tmp_path).problem)


PERTURBATIONS = [
    ("steps", 3, "t", 0.00001),
    ("steps", 3, "dt", -0.00001),
    ("steps", 3, "free", 1),
    ("steps", 3, "free_end", 1),
    ("steps", 3, "run", 1),
    ("steps", 3, "wait", 1),
    ("requests", 1, "arrival", 0.00001),
    ("requests", 1, "first_sched", 0.00001),
    ("requests", 1, "ttft", 0.00001),
    ("requests", 1, "finish", 0.00001),
    ("requests", 1, "n_in", 1),
    ("requests", 1, "n_out", 1),
    ("requests", 1, "cached", 4),
    ("requests", 1, "preempt", 1),
    ("requests", 1, "steps", 1),
]


@pytest.mark.parametrize(("part", "index", "field", "shift"), PERTURBATIONS)
def test_every_number_counts(tmp_path: Path, part: str, index: int, field: str, shift: float) -> None:
    oracle = record(tmp_path, SCENARIO)
    oracle[part][index][field] += shift
    write(tmp_path, oracle)
    result = check(tmp_path)
    assert result.differences == 1
    assert result.first is not None
    assert result.first.field == field


@pytest.mark.parametrize("field", ["s", "new", "res", "pre", "fin", "blk"])
def test_every_list_counts(tmp_path: Path, field: str) -> None:
    oracle = record(tmp_path, SCENARIO)
    index = next(i for i, step in enumerate(oracle["steps"]) if step.get(field))
    del oracle["steps"][index][field]
    write(tmp_path, oracle)
    result = check(tmp_path)
    assert result.differences == 1
    assert result.first is not None
    assert result.first.step == index
    shown = str(result.first)
    assert f"step {index}: {field}" in shown
    assert "recorded absent" in shown
    assert len(result.first.context) >= 4, "the step and its neighbours, on both sides"


@pytest.mark.parametrize("field", ["cached_resume", "out_times"])
def test_a_requests_lists_count(tmp_path: Path, field: str) -> None:
    oracle = record(tmp_path, SCENARIO)
    index = next(i for i, one in enumerate(oracle["requests"]) if one[field])
    oracle["requests"][index][field].pop()
    write(tmp_path, oracle)
    assert check(tmp_path).differences == 1


def test_accepted_drafts_and_schedule_times_count(tmp_path: Path) -> None:
    speculative = copy.deepcopy(SCENARIO)
    speculative["config"] |= {"num_spec_tokens": 2, "spec_accept": [1, 0, 2]}
    oracle = record(tmp_path, speculative)
    index = next(i for i, step in enumerate(oracle["steps"]) if any(step["acc"].values()))
    oracle["steps"][index]["acc"] = {}
    write(tmp_path, oracle)
    assert check(tmp_path).differences == 1
    ahead = copy.deepcopy(SCENARIO)
    ahead["config"]["async_scheduling"] = True
    oracle = record(tmp_path, ahead)
    assert check(tmp_path).agrees
    oracle["steps"][4]["ts"] += 0.5
    write(tmp_path, oracle)
    assert check(tmp_path).differences == 1


def test_missing_steps_and_totals_count(tmp_path: Path) -> None:
    oracle = record(tmp_path, SCENARIO)
    write(tmp_path, {**oracle, "steps": oracle["steps"][:-2]})
    assert check(tmp_path).differences == 2
    write(tmp_path, {**oracle, "totals": {**oracle["totals"], "end": 1.0}})
    assert check(tmp_path).differences == 1


def test_a_stuck_worker_is_recorded(tmp_path: Path) -> None:
    starved = copy.deepcopy(SCENARIO)
    starved["config"]["num_gpu_blocks"] = 3
    oracle = record(tmp_path, starved)
    assert oracle["steps"] == [{"t": 0.0, "stuck": True, "waiting": ["a"]}]
    assert check(tmp_path).agrees
    oracle["steps"][0]["waiting"] = ["b"]
    write(tmp_path, oracle)
    assert check(tmp_path).differences == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_arrival_right_at_a_passs_end_may_fall_on_either_side(tmp_path: Path, asynchronous: bool) -> None:
    tied = copy.deepcopy(SCENARIO)
    tied["config"]["async_scheduling"] = asynchronous
    first_end = 5 + 0.05 * 10 + 0.001 * 10
    tied["requests"][1]["t"] = first_end
    record(tmp_path, tied)
    assert check(tmp_path).agrees
    scenario = load(tmp_path / "small.scenario.json")
    record(tmp_path, tied | {"requests": [tied["requests"][0], tied["requests"][1] | {"t": 5.510000001}]})
    oracle = json.loads((tmp_path / "small.oracle.json").read_text())
    oracle["requests"][1]["arrival"] = first_end
    write(tmp_path, oracle)
    (tmp_path / "small.scenario.json").write_text(json.dumps(tied))
    on_time, late = (reference(one).passes for one in (scenario, delayed(scenario)))
    assert [one.new for one in on_time] != [one.new for one in late]
    assert check(tmp_path).agrees


def delayed(scenario: Scenario[EngineConfig]) -> Scenario[EngineConfig]:
    first, second = scenario.requests
    assert second.arrival is not None
    return replace(scenario, requests=(first, replace(second, arrival=second.arrival + 1)))


def changed(raw: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy with the value at a dotted path replaced, or added."""
    copied = copy.deepcopy(raw)
    *parents, last = path.split(".")
    at: Any = copied
    for key in parents:
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[last] = value
    return copied


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("config.max_loras", 4, "config.max_loras"),
        ("config.max_num_active_seqs", 4, "config.max_num_active_seqs"),
        ("config.policy", "lifo", "scheduling_policy"),
        ("config.block_size", 0, "config.block_size"),
        ("config.block_size", True, "config.block_size"),
        ("config.watermark", "much", "config.watermark"),
        ("step_time.e", 1, "step_time.e"),
        ("seed", 1, "seed"),
        ("requests", [], "requests"),
        ("requests", "nowhere.jsonl", "nowhere.jsonl"),
        ("requests.1.id", "a", "requests[1].id"),
        ("requests.1.in", 0, "requests[1].in"),
        ("requests.1.in", 13, "requests[1].hash_ids"),
        ("requests.1.out", 1.5, "requests[1].out"),
        ("requests.1.t", -1, "requests[1].t"),
        ("requests.1.deadline", 3, "requests[1].deadline"),
        ("requests.1.tokens", [1, 2], "requests[1].in"),
    ],
)
def test_bad_scenarios_are_named(tmp_path: Path, path: str, value: object, told: str) -> None:
    record(tmp_path, SCENARIO)
    (tmp_path / "small.scenario.json").write_text(json.dumps(changed(SCENARIO, path, value)))
    result = check(tmp_path)
    assert not result.agrees
    assert told in str(result.problem)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("engine", "vllm 0.25.1 Scheduler", "0.25.1"),
        ("engine", "sglang 0.32.0", "sglang"),
        ("config.block_size", 8, "under other options"),
        ("step_time.a", 8, "under other options"),
        ("steps.0.kv", 8, "steps[0].kv"),
        ("requests.0.tpot", 8, "requests[0].tpot"),
        ("totals.blocks", 8, "totals.blocks"),
        ("summary", 8, "summary"),
        ("steps", None, "steps"),
    ],
)
def test_bad_recordings_are_named(tmp_path: Path, path: str, value: object, told: str) -> None:
    write(tmp_path, changed(record(tmp_path, SCENARIO), path, value))
    result = check(tmp_path)
    assert not result.agrees
    assert told in str(result.problem)


@pytest.mark.parametrize(
    "unsupported",
    [
        {"num_spec_tokens": 2, "spec_method": "eagle"},
        {"num_spec_tokens": 2, "async_scheduling": True},
    ],
)
def test_what_is_not_modelled_is_refused(tmp_path: Path, unsupported: dict[str, Any]) -> None:
    record(tmp_path, SCENARIO)
    raw = changed(SCENARIO, "config", SCENARIO["config"] | unsupported)
    (tmp_path / "small.scenario.json").write_text(json.dumps(raw))
    assert check(tmp_path).problem is not None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"name": NaN}', '{"name": 1e999}', "\ufeff{}"])
@pytest.mark.parametrize("file", ["small.scenario.json", "small.oracle.json"])
def test_damaged_files_are_named(tmp_path: Path, file: str, text: str) -> None:
    record(tmp_path, SCENARIO)
    (tmp_path / file).write_text(text)
    result = check(tmp_path)
    assert file in str(result.problem) or "name" in str(result.problem)


def test_half_a_recording_is_named(tmp_path: Path) -> None:
    record(tmp_path, SCENARIO)
    (tmp_path / "small.oracle.json").unlink()
    assert check(tmp_path).problem == "small.oracle.json is missing"


def test_a_step_time_finer_than_a_picosecond_is_held_exactly(tmp_path: Path) -> None:
    record(tmp_path, changed(SCENARIO, "step_time.d", 0.0000012345))
    scenario = load(tmp_path / "small.scenario.json")
    assert scenario.ticks_per_ms == 10**10
    assert check(tmp_path).agrees


def command(folder: Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["vllm", str(folder), "--engine", "reference"])
    return result.exit_code, result.output


def test_the_command(tmp_path: Path) -> None:
    assert command(tmp_path)[0] == 1, "nothing was compared"
    assert command(tmp_path / "nowhere")[0] == 1
    oracle = record(tmp_path, SCENARIO)
    code, output = command(tmp_path)
    assert code == 0
    assert "1 scenarios, 0 failed" in output
    oracle["steps"][3]["free"] += 1
    write(tmp_path, oracle)
    code, output = command(tmp_path)
    assert code == 1
    assert "First difference: small: step 3: free" in output
    write(tmp_path, {})
    code, output = command(tmp_path)
    assert code == 1
    assert "not compared" in output
