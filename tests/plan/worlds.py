"""Small studies: a model on GPUs whose runs take milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from servetwin.plan.folder import Folder, create
from servetwin.spec import Spec, make_spec

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

WIDE: dict[str, list[Any]] = {
    "replicas": [1, 2, 4],
    "engine.max_num_seqs": [4, 8, 16, 32, 64],
    "engine.max_num_batched_tokens": [512, 2048],
    "router": ["round_robin", "least_requests"],
}


def spec(objective: str, vary: dict[str, list[Any]] | None = None, **search: Any) -> Spec:
    given = {"objective": objective, "vary": VARY if vary is None else vary, **search}
    return make_spec({**BASE, "search": given})


def folder(path: Path, objective: str, vary: dict[str, list[Any]] | None = None, **search: Any) -> Folder:
    return create(path / "study", spec(objective, vary, **search), None)
