"""Generated workloads, against a second implementation in plain Python."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest

from servetwin import _core
from servetwin.errors import SpecError
from servetwin.spec import make_spec
from servetwin.workload import open_workload

CONFIG: dict[str, Any] = {
    "requests": 500,
    "seed": 7,
    "block_tokens": 16,
    "arrivals": {"kind": "poisson", "rate_per_s": 100.0},
    "input_tokens": {"kind": "lognormal", "p50": 400, "p99": 4000, "max": 1000},
    "output_tokens": {"kind": "lognormal", "p50": 100, "p99": 500},
}
ARRIVALS, INPUT_TOKENS, OUTPUT_TOKENS = 1, 2, 3
MASK = 2**64 - 1
NORMAL_P99 = 2.326347874040841


def generate(**changes: Any) -> _core.Trace:
    return _core.Trace.generate(json.dumps(CONFIG | changes))


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
        ({"arrivals": {"kind": "poisson", "rate_per_s": 1e-6}}, "arrivals.rate_per_s"),
    ],
)
def test_senseless_descriptions(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(_core.InputError) as caught:
        generate(**changes)
    assert caught.value.args[2] == field


def test_what_cannot_be_generated_is_blamed_on_the_spec() -> None:
    lengths = {"input_tokens": 100, "output_tokens": 10}
    spec = make_spec(
        {"workload": {"kind": "poisson", "requests": 5, "rate_per_s": 1, **lengths}}, ["workload.rate_per_s=1e-9"]
    )
    with pytest.raises(SpecError) as caught:
        open_workload(spec)
    assert (caught.value.file, caught.value.field) == ("--set workload.rate_per_s=1e-9", "workload.rate_per_s")
