"""Answers shorter than what clients ask for: what each engine makes of the limit, and what that costs."""

from __future__ import annotations

from typing import Any

import pytest

import servetwin

BASE_MS = 10.0
ENGINES: dict[str, dict[str, Any]] = {
    "vllm": {"max_model_len": 4096, "num_gpu_blocks": 101, "block_size": 32},
    "sglang": {"context_length": 4096, "max_total_tokens": 3200, "disable_overlap_schedule": True},
    "trtllm": {"max_seq_len": 3200, "kv_cache_config": {"max_tokens": 3200}, "max_batch_size": 64},
}


def run(engine: str, limit: int | None, *, requests: int = 40, **options: Any) -> servetwin.Result:
    """Prompts of 64 tokens at once, answers of 32."""
    return servetwin.simulate(
        {
            "engine": {"name": engine} | ENGINES[engine] | options,
            "timing": {"kind": "linear", "base_ms": BASE_MS},
            "workload": {
                "kind": "closed",
                "users": requests,
                "requests": requests,
                "input_tokens": 64,
                "output_tokens": 32,
                "max_output_tokens": limit,
            },
        }
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_answers_stop_before_the_limit(engine: str) -> None:
    summary = run(engine, 320).summary
    assert summary["completed"] == 40
    assert summary["output_tokens"] == 40 * 32
    assert summary["output_limit_use"] == pytest.approx(0.1)


@pytest.mark.parametrize("engine", ENGINES)
def test_without_a_limit_nothing_is_wasted(engine: str) -> None:
    summary = run(engine, None).summary
    assert "output_limit_use" not in summary
    assert engine == "trtllm" or "unused_reserve" not in summary


def test_vllm_reserves_nothing_but_turns_away_what_could_exceed_the_context() -> None:
    short, long = run("vllm", 32).summary, run("vllm", 4000).summary
    assert short["e2e_ms.max"] == long["e2e_ms.max"]
    assert "unused_reserve" not in long
    refused = run("vllm", 4096)
    assert refused.summary["rejected"] == 40


def test_sglang_admits_fewer_the_more_is_asked_for() -> None:
    """40 requests ask for 320 tokens each, of a pool of 3,200: it counts on 0.7 of them, the ratio it starts with."""
    short, long = run("sglang", 32), run("sglang", 1000)
    assert short.summary["queue_ms.max"] < long.summary["queue_ms.max"]
    assert max(long.series["running"].to_pylist()) <= max(short.series["running"].to_pylist())


def test_trtllm_reserves_by_the_limit() -> None:
    """A request of 64 tokens takes 2 blocks, 3 at its end (95 tokens), and 12 at a limit of 320: 8 fit 100 blocks."""
    result = run("trtllm", 320)
    scheduled = sorted(result.requests["scheduled_ps"].to_pylist())
    assert scheduled[:8] == [0] * 8
    assert scheduled[8] > 0
    # Five waves of eight; each reserves 9 blocks a request that nobody uses.
    assert result.summary["unused_reserve"] == pytest.approx(8 * 9 / 100)
    utilized = run("trtllm", 320, scheduler_config={"capacity_scheduler_policy": "MAX_UTILIZATION"})
    assert "unused_reserve" not in utilized.summary
    assert utilized.summary["duration_s"] < result.summary["duration_s"]


def test_one_request_by_hand() -> None:
    result = run("trtllm", 1000, requests=1)
    # ceil(1064 / 32) = 34 blocks at the limit, ceil(95 / 32) = 3 at its end, of 100, all the time.
    assert result.summary["unused_reserve"] == pytest.approx(0.31)
    assert result.summary["duration_s"] == pytest.approx(32 * BASE_MS / 1000)
