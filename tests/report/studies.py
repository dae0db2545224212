"""Studies whose pages are looked at: small, and each different in what there is to show."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from servetwin.plan.finished import Finished
from servetwin.plan.folder import create
from servetwin.plan.make import plan
from servetwin.spec import make_spec

BASE: dict[str, Any] = {
    "model": "llama-3.1-8b",
    "gpu": "h100",
    "engine": {"name": "vllm", "max_model_len": 8192},
    "timing": {"kind": "linear", "base_ms": 5, "prefill_token_ms": 0.05, "decode_row_ms": 0.1},
    "workload": {
        "kind": "poisson",
        "requests": 4000,
        "rate_per_s": 20,
        "input_tokens": {"p50": 300, "p99": 2000, "max": 4000},
        "output_tokens": {"p50": 30, "p99": 100, "max": 200},
    },
    "slo": {"ttft_ms": {"p95": 400}, "tpot_ms": {"p95": 20}},
    "seed": 3,
}
VARY: dict[str, list[Any]] = {
    "replicas": [1, 2, 3, 4],
    "engine.max_num_seqs": [4, 16, 64],
    "engine.max_num_batched_tokens": [512, 2048],
}
CLOSED = {
    "kind": "closed",
    "users": 8,
    "requests": 400,
    "input_tokens": 300,
    "output_tokens": 30,
}
STUDIES: dict[str, dict[str, Any]] = {
    "frontier": {"search": {"objective": "frontier", "vary": VARY}},
    "cheapest": {"search": {"objective": "cheapest", "max_gpus": 3, "vary": VARY}},
    "goodput": {"search": {"objective": "goodput_per_gpu", "vary": VARY, "screening": False}},
    "nothing meets": {"search": {"objective": "cheapest", "vary": VARY}, "slo": {"ttft_ms": {"p95": 1}}},
    "users, no level": {
        "search": {"objective": "frontier", "vary": {"replicas": [1, 2], "engine.max_num_seqs": [4, 64]}},
        "workload": CLOSED,
        "slo": None,
    },
    "one trial": {"search": {"objective": "frontier", "vary": {"replicas": [2]}}},
    "odd values": {
        "search": {
            "objective": "frontier",
            "vary": {
                "engine": [
                    {"name": "vllm", "max_model_len": 8192},
                    {"name": "sglang", "context_length": 8192},
                    {"name": "vllm", "max_num_seqs": 0, "max_model_len": 8192},
                ],
                "router": ["round_robin", {"kind": "python", "object": "</script><b>&amp;"}],
                "timing.base_ms": [1e-07, 5, 5.25],
            },
        },
    },
}


@functools.cache
def study(name: str, folder: Path) -> Finished:
    given = {key: value for key, value in (BASE | STUDIES[name]).items() if value is not None}
    made = create(folder / name, make_spec(given), None)
    return Finished(made, plan(made, workers=2))
