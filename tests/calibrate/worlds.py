"""A deployment whose terms are known, measured with noise."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from servetwin.calibrate.measured import Measurement, Request
from servetwin.calibrate.runs import Simulator, loads
from servetwin.spec import Spec, make_spec

SPEC: dict[str, Any] = {
    "model": "llama-3.1-8b",
    "gpu": "h100",
    "engine": {"name": "vllm", "max_num_seqs": 64, "max_num_batched_tokens": 2048, "max_model_len": 8192},
    "timing": {"kind": "analytic"},
}


def spec(**changes: Any) -> Spec:
    return make_spec({**SPEC, **changes})


def sent(count: int, *, seed: int = 1, rate_per_s: float = 6.0) -> list[Request]:
    """Requests as they were sent: long and short prompts, calm and crowded times. Not answered yet."""
    dice = random.Random(seed)
    now, requests = 0.0, []
    for number in range(count):
        now += dice.expovariate(rate_per_s * (4 if number // 20 % 2 else 0.25))
        new, out = int(dice.lognormvariate(6.3, 1.0)) + 16, int(dice.lognormvariate(4.6, 0.8)) + 2
        requests.append(Request(f"row {number + 1}", round(now * 1e12), min(new, 6000), min(out, 800), 1, 1))
    return requests


def measured(simulator: Simulator, terms: Mapping[str, float], *, noise: float = 0.01, seed: int = 1) -> Measurement:
    """What a deployment with these terms would have shown, each time off by `noise` or so."""
    dice = random.Random(seed)
    asked = Measurement("made.jsonl", "made", "0" * 64, requests=sent(240, seed=seed))
    (load,) = loads(simulator.spec, [asked])
    run = simulator.simulated(replace(load, traces=load.traces[:1]), terms)
    answered = []
    for one, ttft, latency in zip(asked.requests, run.ttft_ps, run.latency_ps, strict=True):
        first, rest = (round(ps * dice.lognormvariate(0, noise)) for ps in (ttft, latency - ttft))
        answered.append(Request(one.at, one.sent_ps, one.input_tokens, one.output_tokens, first, first + rest))
    return Measurement("made.jsonl", "made", "0" * 64, requests=answered)
