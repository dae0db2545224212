"""`servetwin trace generate`, look-alikes in Python and in a spec, transforms in a spec."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from servetwin import _core, make_spec, simulate
from servetwin.errors import InputError, SpecError
from servetwin.workload import like, match, open_workload, read_trace

from ..command import servetwin

SPEC = """
timing: polynomial
engine: {max_model_len: 8192, num_gpu_blocks: 2000}
workload:
  kind: poisson
  rate_per_s: 5
  requests: 3000
  input_tokens: {p50: 300, p99: 2000, max: 3000}
  output_tokens: {p50: 30, p99: 200, max: 300}
  prefix: {groups: 2, tokens: 128, share: 0.5}
  sessions: {turns: {values: [1, 2, 4]}, new_tokens: 40, think_time_s: {p50: 2, p99: 10}}
seed: 3
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    file = tmp_path / "spec.yaml"
    file.write_text(SPEC)
    return file


@pytest.fixture
def trace(spec: Path, tmp_path: Path) -> Path:
    file = tmp_path / "trace.parquet"
    assert generate(spec, "-o", file).returncode == 0
    return file


def generate(*arguments: object) -> CompletedProcess[str]:
    return servetwin("trace", "generate", *arguments)


def test_a_generated_file_is_the_workload_of_the_spec(spec: Path, trace: Path) -> None:
    from servetwin.spec import load_spec

    read, generated = read_trace(trace), open_workload(load_spec(spec))
    for name in ("arrival_ps", "after", "input_tokens", "output_tokens", "block_offsets", "block_ids"):
        assert read.column(name) == generated.column(name), name


def test_a_look_alike_is_written_and_compared(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "more.parquet"
    run = generate("--like", trace, "--requests", 9000, "--seed", 4, "-o", out)
    assert run.returncode == 0, run.stderr
    for shown in ("ideal prefix hit", "gaps: CV", "turns a session: p90", "think time, s: p50", "9,000", "fitted:"):
        assert shown in run.stdout
    assert len(read_trace(out)) == 9000
    known = json.loads(generate("--like", trace, "--requests", 9000, "--seed", 4, "--json").stdout)
    assert known["generated"]["requests"] == 9000
    assert known["fit"]["source_requests"] == known["original"]["requests"] == 3000
    assert abs(known["generated"]["rate_per_s"] / known["original"]["rate_per_s"] - 1) < 0.1


def test_figures_of_a_match(trace: Path) -> None:
    original = read_trace(trace)
    figures = {figure.name: figure for figure in match(original, like(original, requests=30_000))}
    for name in ("sessions/s", "gaps: CV", "input tokens: p90", "output tokens: mean", "turns a session: mean"):
        difference = figures[name].difference
        assert difference is not None, name
        assert abs(difference) < 0.08, name
    assert abs(figures["ideal prefix hit"].difference or 0) < 0.03
    assert 0 < (figures["rate over time, mean deviation"].generated or 0) < 0.2
    doubled = like(original, requests=6000, duration_s=original.profile()["last_s"])
    assert 1.7 < doubled.notes["fit"]["rate_factor"] < 2.3
    figures = {figure.name: figure for figure in match(original, doubled)}
    assert abs(figures["sessions/s"].difference or 0) < 0.12, "compared with the rate that was asked for"


def test_a_spec_may_ask_for_look_alikes(trace: Path) -> None:
    options: dict[str, Any] = {
        "timing": "polynomial",
        "engine": {"max_model_len": 8192, "num_gpu_blocks": 2000},
        "workload": {"kind": "like", "trace": str(trace), "requests": 200, "transforms": [{"limit": 150}]},
    }
    result = simulate(make_spec(options))
    assert result.completed == 150
    assert result.provenance["workload"]["fit"]["source_requests"] == 3000
    stepped = simulate(make_spec(options), leap=False)
    assert stepped.requests.equals(result.requests)
    closed = make_spec({**options, "workload": {**options["workload"], "users": 3}})
    assert simulate(closed).completed == 150


def test_a_mix_leaps_as_it_steps() -> None:
    spec = make_spec(
        {
            "timing": "polynomial",
            "engine": {"max_model_len": 8192, "num_gpu_blocks": 700, "max_num_seqs": 8},
            "replicas": 2,
            "workload": {
                "kind": "on_off",
                "on_rate_per_s": 30,
                "on_s": 1,
                "off_s": 3,
                "requests": 300,
                "classes": {
                    "chat": {
                        "share": 0.7,
                        "input_tokens": {"p50": 200, "p99": 900},
                        "output_tokens": {"p50": 60, "p99": 200},
                        "prefix": {"groups": 2, "tokens": 128},
                        "sessions": {"turns": {"p50": 3, "p99": 9}, "new_tokens": 30, "think_time_s": 0.5},
                    },
                    "summaries": {"share": 0.3, "input_tokens": 2000, "output_tokens": 50},
                },
                "transforms": [{"thin": 0.9}, {"speedup": 1.1}],
            },
        }
    )
    leapt, stepped = simulate(spec), simulate(spec, leap=False)
    assert leapt.requests.equals(stepped.requests)
    assert leapt.timings["leaps"] > 0
    assert leapt.summary["prefix_reuse"] > 0.3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "one of a spec and --like TRACE is needed"),
        (("SPEC", "--like", "TRACE"), "one of a spec and --like TRACE is needed"),
        (("SPEC", "--requests", "5"), "--requests: never read beside a spec"),
        (("SPEC", "--set", "workload={trace: x}"), "workload.kind: a trace is not generated"),
        (("SPEC", "-o", "x.txt"), "x.txt: no known format"),
        (("--like", "TRACE"), "--like: how many is not said"),
        (("--like", "TRACE", "--requests", "5", "--set", "a=1"), "--set: never read beside --like"),
        (("--like", "TRACE", "--duration", "0"), "--duration: not above 0"),
        (("--like", "TRACE", "--duration", "nan"), "--duration: not above 0"),
        (("--like", "TRACE", "--requests", "1000000000"), "--requests: "),
        (("--like", "none.jsonl", "--requests", "5"), "none.jsonl: "),
    ],
)
def test_senseless_requests_for_requests(arguments: tuple[str, ...], said: str, spec: Path, trace: Path) -> None:
    stands_for = {"SPEC": spec, "TRACE": trace}
    run = generate(*(stands_for.get(argument, argument) for argument in arguments))
    assert run.returncode == 2
    assert said in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("workload", "field"),
    [
        ({"requests": 5}, "workload.trace"),
        ({"trace": "TRACE"}, "workload.requests"),
        ({"trace": "TRACE", "duration_s": 1e-13}, "workload.duration_s"),
        ({"trace": "TRACE", "requests": 5, "limit": 3}, "workload.limit"),
        (
            {"trace": "TRACE", "requests": 5, "transforms": [{"window": {"start_s": 9e5}}]},
            "workload.transforms.0.window",
        ),
        ({"trace": "TRACE", "requests": 5, "transforms": [{"limit": 1}, {"thn": 1}]}, "workload.transforms.1.thn"),
        ({"trace": "TRACE", "requests": 5, "transforms": [{}]}, "workload.transforms.0"),
        ({"trace": "TRACE", "requests": 5, "transforms": {"limit": 1}}, "workload.transforms"),
        ({"trace": "TRACE", "requests": 5, "transforms": [{"limit": 0}]}, "workload.transforms.0.limit"),
        (
            {"trace": "TRACE", "requests": 5, "users": 2, "transforms": [{"speedup": 2}]},
            "workload.transforms.0.speedup",
        ),
    ],
)
def test_senseless_look_alikes_and_steps(workload: dict[str, Any], field: str, trace: Path) -> None:
    workload = {name: str(trace) if value == "TRACE" else value for name, value in workload.items()}
    with pytest.raises(SpecError) as caught:
        open_workload(make_spec({"workload": {"kind": "like", **workload}}))
    assert caught.value.field == field, str(caught.value)


def test_a_trace_to_merge_is_looked_for_beside_the_spec(spec: Path, trace: Path) -> None:
    from servetwin.spec import load_spec

    loaded = load_spec(spec)
    spec.write_text(SPEC.replace("  sessions:", "  transforms: [{merge: trace.parquet}]\n  sessions:"))
    merged = open_workload(load_spec(spec))
    assert len(merged) == 2 * len(open_workload(loaded))
    spec.write_text(SPEC.replace("  sessions:", "  transforms: [{merge: gone.parquet}]\n  sessions:"))
    with pytest.raises(InputError, match=r"gone\.parquet"):
        open_workload(load_spec(spec))


def test_what_was_done_is_in_the_provenance(spec: Path) -> None:
    from servetwin.spec import load_spec

    trace = open_workload(load_spec(spec, ["workload.transforms=[{thin: 0.5}, {replicate: 2}]"]))
    assert [step["kind"] for step in trace.notes["transforms"]] == ["thin", "replicate"]
    assert isinstance(trace, _core.Trace)
