"""Replicas and traces small enough to follow by hand, as the core takes them."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import pytest

from servetwin import _core

MS = 10**9
"""Picoseconds."""

LEAPS = pytest.mark.parametrize("leap", [True, False], ids=["leap", "step"])

VLLM: dict[str, Any] = {
    "name": "vllm",
    "version": "0.32",
    "max_num_seqs": 8,
    "max_num_batched_tokens": 64,
    "max_model_len": 1024,
    "block_size": 16,
    "num_gpu_blocks": 101,
    "enable_prefix_caching": False,
    "enable_chunked_prefill": True,
    "long_prefill_token_threshold": 0,
    "long_prefill_token_threshold_adaptive": False,
    "scheduling_policy": "fcfs",
    "watermark_blocks": 0,
    "scheduler_reserve_full_isl": True,
    "async_scheduling": False,
    "num_speculative_tokens": 0,
}
SGLANG: dict[str, Any] = {
    "name": "sglang",
    "version": "0.5.23",
    "page_size": 1,
    "max_total_tokens": 4096,
    "max_running_requests": 8,
    "context_length": 1024,
    "chunked_prefill_size": None,
    "max_prefill_tokens": 1024,
    "enable_mixed_chunk": False,
    "schedule_policy": "fcfs",
    "schedule_conservativeness": 0.3,
    "disable_radix_cache": True,
    "enable_priority_scheduling": False,
    "disable_priority_preemption": False,
    "schedule_low_priority_values_first": False,
    "priority_scheduling_preemption_threshold": 10,
    "disable_overlap_schedule": False,
    "ignore_eos": False,
}
TRTLLM: dict[str, Any] = {
    "name": "trtllm",
    "version": "1.2",
    "max_batch_size": 8,
    "max_num_tokens": 64,
    "max_seq_len": 1024,
    "enable_chunked_prefill": False,
    "tokens_per_block": 16,
    "num_blocks": 100,
    "enable_block_reuse": False,
    "capacity_scheduler_policy": "GUARANTEED_NO_EVICT",
    "context_chunking_policy": "FIRST_COME_FIRST_SERVED",
    "batch_wait_timeout_iters": 0,
    "batch_wait_tokens": 0,
}
TEN_MS: dict[str, Any] = {
    "kind": "linear",
    "base_ms": 10,
    "request_ms": 0,
    "prompt_token_us": 0,
    "stream_ms": 0,
}
"""A spec's timing: every pass takes 10 ms, whatever is in it, and the front end nothing."""

HANDOVER: dict[str, Any] = {
    "order": "source_first",
    "bootstrap_ps": 0,
    "control_ps": 0,
    "setup_ps": 0,
    "timeout_ps": 1000 * MS,
    "bytes_per_token": 10**6,
    "links": [0],
}
"""Over the first link, in no time but what that takes: a megabyte a token."""

NO_TIME = dict.fromkeys(("base_ps", "prefill_token_ps", "work_fps", "decode_row_ps", "context_ps", "sequence_ps"), 0)


def affine(base_ps: int, **terms: int) -> dict[str, Any]:
    """A pass takes `base_ps`, and the terms that are named."""
    return {"kind": "affine", "host": NO_TIME | {"base_ps": base_ps} | terms, "terms": []}


def trace(
    arrival_ps: Sequence[int],
    input_tokens: Sequence[int],
    output_tokens: Sequence[int],
    *,
    max_output_tokens: Sequence[int] | None = None,
    priority: Sequence[int] | None = None,
    after: Sequence[int] | None = None,
    blocks: Sequence[Iterable[int]] | None = None,
    block_tokens: int = 16,
    **more: Any,
) -> _core.Trace:
    """Prompts that share nothing, unless it is said what their blocks hold."""
    count = len(arrival_ps)
    if blocks is None:
        starts = accumulate((-(-prompt // block_tokens) for prompt in input_tokens), initial=0)
        blocks = [range(start, end) for start, end in pairwise(starts)]
    contents = [list(held) for held in blocks]
    names: dict[int, int] = {}
    return _core.Trace.from_columns(
        arrival_ps=list(arrival_ps),
        input_tokens=list(input_tokens),
        output_tokens=list(output_tokens),
        max_output_tokens=list(max_output_tokens or output_tokens),
        priority=list(priority or [0] * count),
        after=list(after or [-1] * count),
        block_tokens=block_tokens,
        block_ids=[names.setdefault(block, len(names)) for held in contents for block in held],
        block_offsets=list(accumulate(map(len, contents), initial=0)),
        **more,
    )


def simulate(
    pools: Iterable[Mapping[str, Any]],
    requests: _core.Trace,
    *,
    router: object | None = None,
    progress: Any = None,
    **changes: Any,
) -> _core.Run:
    """Pools of one replica behind round robin, unless they say otherwise."""
    run = {
        "pools": [{"role": "aggregated", "replicas": 1, "router": {"kind": "round_robin"}, **pool} for pool in pools],
        "seed": 0,
        "leap": True,
        "stall_passes": 100,
        "users": None,
        "check_admission": True,
        "max_passes": None,
        "series_interval_ps": 1000 * MS,
    }
    return _core.simulate(requests, json.dumps(run | changes), router=router, progress=progress)


class Ran:
    """A run's columns as lists of numbers."""

    def __init__(self, run: _core.Run) -> None:
        self._run = run

    def __getattr__(self, name: str) -> list[int]:
        return numbers(self._run, name)

    def series(self, name: str) -> list[int]:
        return series(self._run, name)


def numbers(run: _core.Run, name: str) -> list[int]:
    code = "B" if name in ("status", "reason") else "q" if name.endswith("_ps") else "I"
    return array(code, run.column(name)).tolist()


def series(run: _core.Run, name: str) -> list[int]:
    return array("q" if name.endswith("_ps") else "I", run.series(name)).tolist()


def summary(run: _core.Run) -> dict[str, float]:
    found: dict[str, float] = json.loads(run.summary("{}"))
    return found


def times(run: _core.Run, column: str) -> list[float]:
    """In milliseconds."""
    return [ps / MS for ps in numbers(run, f"{column}_ps")]


def gaps(run: _core.Run) -> list[float]:
    """Between tokens, in milliseconds, in order of size."""
    found = [
        (start + step * index) / MS
        for start, step, count, weight in run.itl()
        for index in range(count)
        for _ in range(weight)
    ]
    return sorted(found)
