"""Feeds changed files to the readers, and changed specs to the spec: both may refuse, in their own words only."""

from __future__ import annotations

import copy
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import yaml

from servetwin.errors import InputError
from servetwin.spec.load import make_spec
from servetwin.workload.read import read_source
from servetwin.workload.source import Source
from servetwin.workload.table import Options

from .mutate import VALUES, mutated
from .samples import SAMPLES

USUAL: dict[str, dict[str, Any]] = {
    "burstgpt with sessions": {"turns": "delta"},
    "sharegpt lengths": {"need_times": False},
    "table without units": {"time_unit": "ms"},
}
"""What a file of this kind needs to be read at all."""

SPECS = [
    """
model: llama-3.1-8b
gpu: h100
replicas: 4
parallel: {tensor: 2}
engine: {max_num_seqs: 256, max_model_len: 16384, block_size: 16, speculative: {num_speculative_tokens: 3,
  acceptance: {conditional: [0.8, 0.5, 0.3]}}}
router: {kind: python, object: "m:R", interval_ms: 5, delay_ms: 5}
timing: {kind: linear, base_ms: 3, decode_row_ms: 0.5}
workload: {trace: t.jsonl, format: table, turns: delta, time_unit: ms, users: 4, limit: 9}
slo: {ttft_ms: {p95: 5000}, tpot_ms: 50}
metrics: {warmup: 10, window: 100}
seed: 7
""",
    """
model: llama-3.1-8b
gpu: h200
router: least_requests
workload: {kind: poisson, requests: 50, rate_per_s: 40, input_tokens: {p50: 1200, p99: 8000, max: 12000},
  output_tokens: 20, prefix: {groups: 20, tokens: 1024, share: 0.8, zipf: 1.0}}
slo: {ttft_ms: 1000, attainment: 0.9}
""",
]


def option(draw: random.Random) -> Options:
    """Mostly none: whatever has no effect is refused before anything else is looked at."""

    def rarely(*choices: Any, otherwise: Any = None) -> Any:
        return draw.choice(choices) if draw.random() < 0.1 else otherwise

    return Options(
        block_tokens=rarely(4, 512),
        limit=rarely(1, 2),
        speedup=rarely(2.5, 0.001, otherwise=1.0),
        max_output_tokens=rarely(50),
        turns=rarely("cumulative", "delta", "separate"),
        time_unit=rarely("ms", "s"),
        need_times=draw.random() < 0.8,
    )


def fuzz_reader(name: str, seed: int, inputs: int) -> Counter[str]:
    """So many changed files of a format; counts what became of them. Raises what is no InputError, with the file."""
    outcomes: Counter[str] = Counter()
    for number in range(inputs):
        draw = random.Random(f"{name} {seed} {number}")
        data = mutated(draw, name.split()[0] if name == "parquet" else name, SAMPLES[name])
        form = name.split()[0] if draw.random() < 0.3 else "auto"
        options = replace(option(draw), **USUAL.get(name, {}))
        try:
            trace = read_source(Source("fuzz", data), form, options)
            assert len(trace) > 0
            outcomes["read"] += 1
        except InputError as error:
            outcomes["refused" if error.message else "refused in silence"] += 1
        except BaseException as error:
            error.add_note(f"{name}, seed {seed}, input {number}, format {form}, {options}: {data[:400]!r}")
            raise
    return outcomes


def fuzz_spec(seed: int, inputs: int) -> Counter[str]:
    """So many changed specs."""
    outcomes: Counter[str] = Counter()
    bases = [yaml.safe_load(text) for text in SPECS]
    for number in range(inputs):
        draw = random.Random(f"spec {seed} {number}")
        data = copy.deepcopy(draw.choice(bases))
        for _ in range(draw.randint(1, 3)):
            _change(draw, data)
        try:
            make_spec(data)
            outcomes["read"] += 1
        except InputError as error:
            outcomes["refused" if error.message else "refused in silence"] += 1
        except BaseException as error:
            error.add_note(f"spec, seed {seed}, input {number}: {data!r}")
            raise
    return outcomes


def _change(draw: random.Random, data: dict[str, Any]) -> None:
    at: Any = data
    while True:
        name = draw.choice(list(at))
        if isinstance(at[name], dict) and at[name] and draw.random() < 0.7:
            at = at[name]
            continue
        break
    what = draw.randrange(6)
    if what == 0 and len(at) > 1:
        del at[name]
    elif what == 1:
        at[draw.choice(["x", f"{name}s", "kind", "name", "p50", "users"])] = copy.deepcopy(draw.choice(VALUES))
    elif what == 2 and isinstance(at[name], (int, float)):
        at[name] = at[name] * draw.choice([-1, 0, 1000, 1e12])
    else:
        at[name] = copy.deepcopy(draw.choice(VALUES))


def for_seconds(limit_s: float, inputs: int) -> Iterator[tuple[str, Counter[str]]]:
    """All in turn, in batches, until so many inputs have run or the time is over."""
    started, ran, seed = time.monotonic(), 0, 0
    batch = 500
    while ran < inputs and time.monotonic() - started < limit_s:
        for name in (*SAMPLES, "spec"):
            outcomes = fuzz_spec(seed, batch) if name == "spec" else fuzz_reader(name, seed, batch)
            ran += batch
            yield name, outcomes
            if ran >= inputs or time.monotonic() - started >= limit_s:
                break
        seed += 1
