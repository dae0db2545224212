"""Generated workloads, against a second implementation in plain Python."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest

from servetwin import _core
from servetwin.errors import SpecError
from servetwin.spec import Spec, make_spec
from servetwin.workload import open_workload

TRAFFIC: dict[str, Any] = {
    "input_tokens": {"kind": "lognormal", "p50": 400, "p99": 4000, "max": 1000},
    "output_tokens": {"kind": "lognormal", "p50": 100, "p99": 500},
}
CONFIG: dict[str, Any] = {
    "requests": 500,
    "seed": 7,
    "block_tokens": 16,
    "arrivals": {"kind": "open", "gaps": {"cv": 1.0}, "rate": {"kind": "constant", "per_s": 100.0}},
}
ARRIVALS, INPUT_TOKENS, OUTPUT_TOKENS = 1, 2, 3
MASK = 2**64 - 1
NORMAL_P99 = 2.326347874040841


def generate(**changes: Any) -> _core.Trace:
    traffic = TRAFFIC | {name: changes.pop(name) for name in list(changes) if name in (*TRAFFIC, "prefix")}
    return _core.Trace.generate(json.dumps(CONFIG | {"classes": [traffic]} | changes))


def column(trace: _core.Trace, name: str) -> list[int]:
    code = "q" if name == "arrival_ps" else "I"
    return [value for (value,) in struct.iter_unpack(f"<{code}", trace.column(name))]


def mix(z: int) -> int:
    z = (z + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def uniform(*keys: int) -> float:
    state = mix(CONFIG["seed"])
    for key in keys:
        state = mix(state ^ mix(key))
    return ((state >> 11) + 1) / 2**53


def normal(stream: int, request: int) -> float:
    attempt = 0
    while True:
        x, y = (2 * uniform(stream, request, 2 * attempt + which) - 1 for which in (0, 1))
        square = x * x + y * y
        if 0 < square < 1:
            return x * math.sqrt(-2 * math.log(square) / square)
        attempt += 1


def lengths(stream: int, p50: float, p99: float, most: int) -> list[int]:
    sigma = math.log(p99 / p50) / NORMAL_P99
    drawn = (round(p50 * math.exp(sigma * normal(stream, request))) for request in range(CONFIG["requests"]))
    return [min(max(length, 1), most) for length in drawn]


def test_it_is_what_the_description_says() -> None:
    trace = generate()
    assert column(trace, "input_tokens") == lengths(INPUT_TOKENS, 400, 4000, 1000)
    assert column(trace, "output_tokens") == lengths(OUTPUT_TOKENS, 100, 500, 10**9)
    assert column(trace, "max_output_tokens") == column(trace, "output_tokens")
    time_ps = 0.0
    for request, arrival_ps in enumerate(column(trace, "arrival_ps")):
        time_ps += -math.log(uniform(ARRIVALS, request)) * 1e12 / 100
        assert abs(arrival_ps - time_ps) <= request + 1  # each gap is rounded to a picosecond
    ids = column(trace, "block_ids")
    assert ids == list(range(len(ids))), "nothing is shared unless asked for"
    assert trace.notes["input_tokens_cut_to_min_or_max"] == column(trace, "input_tokens").count(1000)


def test_a_seed_names_a_workload() -> None:
    assert generate().sha256 == generate().sha256
    assert generate().sha256 != generate(seed=8).sha256


def test_everyone_shares_the_only_prefix() -> None:
    prefix = {"groups": 1, "tokens": 64, "share": 1.0, "choice": {"kind": "zipf", "exponent": 1.2}}
    trace = generate(prefix=prefix, input_tokens={"kind": "constant", "value": 80})
    ids = column(trace, "block_ids")
    assert all(ids[start : start + 4] == [0, 1, 2, 3] for start in range(0, len(ids), 5))
    assert len(set(ids)) == 4 + len(trace)
    assert trace.notes["with_shared_prefix"] == len(trace)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"requests": 0}, "requests"),
        ({"rate": 5}, "workload"),
        ({"output_tokens": {"kind": "lognormal", "p50": 5, "p99": 4}}, "output_tokens.p99"),
        ({"arrivals": CONFIG["arrivals"] | {"rate": {"kind": "constant", "per_s": 1e-6}}}, "arrivals.rate_per_s"),
    ],
)
def test_senseless_descriptions(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(_core.InputError) as caught:
        generate(**changes)
    assert caught.value.args[2] == field


def spec_of(workload: dict[str, Any], *overrides: str) -> Spec:
    return make_spec({"workload": {"requests": 300, "input_tokens": 100, "output_tokens": 10, **workload}}, overrides)


OPEN_LOOPS: dict[str, dict[str, Any]] = {
    "poisson": {"rate_per_s": 20},
    "constant": {"rate_per_s": 20},
    "gamma": {"rate_per_s": 20, "cv": 2},
    "on_off": {"on_rate_per_s": 40, "on_s": 5, "off_s": 5},
    "diurnal": {"low_rate_per_s": 10, "high_rate_per_s": 30, "day_s": 10, "high_at_s": 3},
    "steps": {"steps": [{"at_s": 0, "rate_per_s": 5}, {"at_s": 2, "rate_per_s": 50}]},
}


@pytest.mark.parametrize("kind", OPEN_LOOPS)
def test_every_kind_of_arrivals(kind: str) -> None:
    trace = open_workload(spec_of({"kind": kind, **OPEN_LOOPS[kind]}))
    times_s = [time_ps / 1e12 for time_ps in column(trace, "arrival_ps")]
    assert len(times_s) == 300
    assert 5 < times_s[-1] < 40
    longer = open_workload(spec_of({"kind": kind, **OPEN_LOOPS[kind], "requests": None, "duration_s": times_s[-1]}))
    assert column(longer, "arrival_ps") == column(trace, "arrival_ps")[: len(longer)]
    assert 290 < len(longer) < 300


CLASSES = {
    "chat": {
        "share": 0.7,
        "input_tokens": {"p50": 200, "p99": 900},
        "output_tokens": {"values": [50, 100], "weights": [3, 1]},
        "max_output_tokens": {"factor": 2},
        "sessions": {"turns": {"values": [1, 3]}, "new_tokens": 20, "think_time_s": {"p50": 1.5, "p99": 20, "max": 30}},
    },
    "summaries": {"share": 0.3, "input_tokens": 3000, "output_tokens": 100, "max_output_tokens": 500},
}


def test_a_mix_of_classes() -> None:
    spec = make_spec({"workload": {"kind": "closed", "users": 5, "requests": 2000, "classes": CLASSES}})
    trace = open_workload(spec)
    assert trace.class_names == ["chat", "summaries"]
    inputs, outputs, limits = (column(trace, f"{name}_tokens") for name in ("input", "output", "max_output"))
    after, times_ps = column(trace, "after"), column(trace, "arrival_ps")
    first = [name for row, name in enumerate(column(trace, "class")) if after[row] == 2**32 - 1]
    assert 0.65 < first.count(0) / len(first) < 0.75
    for row, name in enumerate(column(trace, "class")):
        later = after[row] != 2**32 - 1
        assert limits[row] == (2 * outputs[row] if name == 0 else 500)
        if later:
            assert (name, inputs[row]) == (0, inputs[row - 1] + outputs[row - 1] + 20)
        assert (0 < times_ps[row] <= 30 * 10**12) if later else times_ps[row] == 0
    assert trace.notes["sessions"] == len(first)


def test_lengths_of_a_trace(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    rows = [{"timestamp": row, "input_length": 10 + row % 3, "output_length": 5} for row in range(30)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lengths = {"input_tokens": {"trace": str(file)}, "output_tokens": {"trace": str(file)}}
    trace = open_workload(spec_of({"kind": "closed", "users": 1, **lengths}))
    assert set(column(trace, "input_tokens")) == {10, 11, 12}
    assert set(column(trace, "output_tokens")) == {5}


@pytest.mark.parametrize(
    ("workload", "field"),
    [
        ({"requests": None}, "workload.requests"),
        ({"input_tokens": None}, "workload.input_tokens"),
        ({"classes": CLASSES}, "workload.input_tokens"),
        ({"input_tokens": {"values": []}}, "workload.input_tokens"),
        ({"input_tokens": {"values": [0]}}, "workload.input_tokens.values"),
        ({"input_tokens": {"values": [1], "weights": [1, 2]}}, "workload.input_tokens"),
        ({"input_tokens": {"values": [1], "p50": 5, "p99": 6}}, "workload.input_tokens"),
        ({"input_tokens": {"values": [1], "max": 5}}, "workload.input_tokens"),
        ({"input_tokens": {}}, "workload.input_tokens"),
        ({"input_tokens": {"p50": 9, "p99": 5}}, "workload.input_tokens"),
        ({"max_output_tokens": {"factor": 0.5}}, "workload.max_output_tokens.factor"),
        ({"max_output_tokens": 0}, "workload.max_output_tokens"),
        ({"kind": "gamma", "cv": 0}, "workload.cv"),
        ({"kind": "gamma", "cv": -1}, "workload.cv"),
        ({"kind": "steps", "rate_per_s": None, "steps": []}, "workload.steps"),
        ({"kind": "steps", "steps": [{"at_s": 5, "rate_per_s": 1}]}, "workload.steps"),
        ({"sessions": {"turns": 2, "new_tokens": 3}}, "workload.sessions.think_time_s"),
        ({"sessions": {"turns": 2, "new_tokens": {"trace": "x"}, "think_time_s": 1}}, "workload.sessions"),
        ({"sessions": {"turns": 2, "new_tokens": 3, "think_time_s": -1}}, "workload.sessions.think_time_s"),
        ({"sessions": {"turns": 2, "new_tokens": 3, "think_time_s": {"p50": 5}}}, "workload.sessions.think_time_s"),
        ({"sessions": {"turns": 2, "new_tokens": 3, "think_time_s": 1, "turn": 2}}, "workload.sessions.turn"),
        ({"classes": {}, "input_tokens": None, "output_tokens": None}, "workload.classes"),
        (
            {"classes": {"a": {**CLASSES["summaries"]}}, "input_tokens": None, "output_tokens": None},
            "workload.classes",
        ),
        (
            {"classes": {"a": {**CLASSES["summaries"], "share": 2}}, "input_tokens": None, "output_tokens": None},
            "workload.classes.a.share",
        ),
        (
            {"classes": {"a": {**CLASSES["summaries"], "shar": 2}}, "input_tokens": None, "output_tokens": None},
            "workload.classes.a.shar",
        ),
    ],
)
def test_senseless_workloads_name_the_field(workload: dict[str, Any], field: str) -> None:
    base = {"kind": "poisson", "rate_per_s": 1} if workload.get("kind") != "steps" else {"kind": "steps"}
    workload = {name: value for name, value in {**base, **workload}.items() if name != "rate_per_s" or value}
    with pytest.raises(SpecError) as caught:
        open_workload(spec_of(workload))
    assert caught.value.field == field, caught.value


def test_what_cannot_be_generated_is_blamed_on_the_spec() -> None:
    spec = spec_of({"kind": "poisson", "rate_per_s": 1, "requests": 5}, "workload.rate_per_s=1e-9")
    with pytest.raises(SpecError) as caught:
        open_workload(spec)
    assert (caught.value.file, caught.value.field) == ("--set workload.rate_per_s=1e-9", "workload.rate_per_s")
