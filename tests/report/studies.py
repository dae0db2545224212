"""Studies whose pages are looked at: small, and each different in what there is to show."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from servetwin.plan.finished import Finished
from servetwin.plan.folder import create
from servetwin.plan.make import plan
from servetwin.spec import make_spec

from ..plan.worlds import BASE, VARY

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
