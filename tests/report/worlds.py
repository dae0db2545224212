"""Small results of every kind that a report has to show."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import servetwin
from servetwin import Result

BASE: dict[str, Any] = {"timing": "polynomial", "engine": {"max_model_len": 4096, "num_gpu_blocks": 600}}
CHAT: dict[str, Any] = {
    "kind": "poisson",
    "requests": 300,
    "rate_per_s": 12,
    "input_tokens": {"p50": 600, "p99": 2500, "max": 3000},
    "output_tokens": {"p50": 60, "p99": 300, "max": 900},
    "prefix": {"groups": 4, "tokens": 256, "share": 0.8},
}


def run(**changes: Any) -> Result:
    return servetwin.simulate({**BASE, "workload": CHAT, "seed": 3, **changes})


def with_columns(result: Result, **columns: list[Any]) -> Result:
    """The result with more columns in its request table, as other runs may have them."""
    import pyarrow as pa

    table = result.requests
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return dataclasses.replace(result, _requests=lambda: table)


def classed() -> Result:
    names = ["chat", "agents", None]
    failed = [row % 50 == 0 for row in range(300)]
    return with_columns(run(replicas=2), recorded_failed=failed, **{"class": [names[row % 3] for row in range(300)]})


def named(name: str) -> Result:
    result = run(workload={**CHAT, "requests": 40})
    return with_columns(result, request_id=[f"{name}{row}" for row in range(40)])


def stalled() -> Result:
    """Two half-prefilled requests that preempt each other for ever; docs/semantics.md, Stalls."""
    engine = {
        "max_model_len": 2048,
        "max_num_batched_tokens": 64,
        "max_num_seqs": 8,
        "num_gpu_blocks": 21,
        "long_prefill_token_threshold": 32,
        "scheduling_policy": "priority",
        "scheduler_reserve_full_isl": False,
        "enable_prefix_caching": False,
        "async_scheduling": False,
    }
    workload = {"kind": "closed", "users": 2, "requests": 6, "input_tokens": 300, "output_tokens": 10}
    return run(engine=engine, workload=workload, stall_passes=50)


WORLDS = {
    "one replica": lambda: run(slo={"ttft_ms": 500, "tpot_ms": 30, "attainment": 0.9}),
    "three replicas, measured in part": lambda: run(
        replicas=3, metrics={"warmup": 5, "window": 10}, slo={"ttft_ms": {"p95": 300}, "e2e_ms": {"p50": 1}}
    ),
    "twelve replicas": lambda: run(replicas=12, workload={**CHAT, "rate_per_s": 120}, router="least_requests"),
    "preemptions": lambda: run(engine={"max_model_len": 4096, "num_gpu_blocks": 260}),
    "classes": classed,
    "names": lambda: named("</script><img src=x onerror=alert(1)>&amp;\u2028é"),
    "sglang": lambda: run(engine={"name": "sglang", "context_length": 4096, "max_total_tokens": 9600}),
    "pools": lambda: run(
        gpu="h100",
        pools={"prefill": {"replicas": 2}, "decode": {"parallel": {"tensor": 2}}},
        handover={"kv_bytes_per_token": 100_000},
    ),
    "host memory": lambda: run(
        engine={"max_model_len": 4096, "num_gpu_blocks": 300, "block_size": 16},
        model="llama-3.1-8b",
        tiers={"host": {"blocks": 400, "load_gbytes_per_s": 20, "store_gbytes_per_s": 20}},
    ),
    "data ranks": lambda: run(
        engine={"name": "sglang", "context_length": 4096, "max_total_tokens": 9600}, parallel={"data": 3}
    ),
    "drafts": lambda: run(
        engine={
            "max_model_len": 4096,
            "num_gpu_blocks": 600,
            "speculative": {"method": "ngram", "num_speculative_tokens": 3, "acceptance": 0.6},
        }
    ),
    "some rejected": lambda: run(engine={"max_model_len": 1024, "num_gpu_blocks": 600}),
    "all rejected": lambda: run(engine={"max_model_len": 64, "num_gpu_blocks": 600}),
    "stalled": stalled,
    "one request": lambda: run(workload={**CHAT, "requests": 1}),
    "no output": lambda: run(workload={**CHAT, "requests": 30, "output_tokens": 1}),
}


@functools.cache
def world(name: str) -> Result:
    return WORLDS[name]()
