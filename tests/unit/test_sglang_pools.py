"""Corners of SGLang's prefill and decode pools: nobody waits for what has come, and leaping skips no decision.

Every pass takes 10 ms, and transfers next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from servetwin import Result, check_invariants, simulate
from servetwin.errors import SpecError
from servetwin.spec import make_spec

from ..small import LEAPS, MS, TEN_MS, trace

ENGINE = {
    "name": "sglang",
    "max_running_requests": 2,
    "max_total_tokens": 1000,
    "context_length": 1000,
    "disable_overlap_schedule": True,
}


def run(
    arrivals_ms: Sequence[float],
    prompts: Sequence[int],
    outputs: Sequence[int],
    *,
    leap: bool,
    limits: Sequence[int] | None = None,
    priority: Sequence[int] | None = None,
    after: Sequence[int] | None = None,
    blocks: Sequence[Sequence[int]] | None = None,
    engine: dict[str, Any] | None = None,
    prefill: dict[str, Any] | None = None,
    decode: dict[str, Any] | None = None,
    decode_pool: dict[str, Any] | None = None,
    timeout_s: float = 100.0,
    **more: Any,
) -> Result:
    spec = {
        "engine": ENGINE | (engine or {}),
        "pools": {
            "prefill": prefill or {},
            "decode": {"engine": {"num_reserved_decode_tokens": 0} | (decode or {}), **(decode_pool or {})},
        },
        "handover": {"link": "wire", "control_ms": 0, "setup_ms": 0, "timeout_s": timeout_s, "kv_bytes_per_token": 1},
        "cluster": {"nodes": 4, "links": {"wire": {"gbytes_per_s": 100}}},
        "timing": TEN_MS,
        "workload": {"trace": "given"},
        **more,
    }
    requests = trace(
        [int(arrival * MS) for arrival in arrivals_ms],
        prompts,
        outputs,
        max_output_tokens=limits,
        priority=priority,
        after=after,
        blocks=blocks,
        block_tokens=1024 if blocks is None else 10,
    )
    result = simulate(make_spec(spec), requests, leap=leap)
    check_invariants(result)
    return result


def column(result: Result, name: str) -> list[Any]:
    return result.requests[name].to_pylist()


@LEAPS
def test_memory_is_kept_for_the_longest_of_several_alike(leap: bool) -> None:
    """Two are alike. When the first has ended, the second still may need 60 of 75 tokens: 20 do not fit beside it."""
    result = run([0, 0, 100], [10, 10, 20], [2, 40, 1], limits=[50, 50, 1], leap=leap, decode={"max_total_tokens": 75})
    assert column(result, "first_token_ps")[2] >= column(result, "end_ps")[1]


def test_who_ends_with_its_first_token_leaves_its_place() -> None:
    """The third has all its output when it joins; the fourth joins one pass later, in the midst of a long decode."""
    arrivals, prompts, outputs = [0, 0, 0, 0], [10, 10, 10, 10], [5, 60, 1, 10]
    decode = {"disaggregation_decode_extra_slots": 4}
    leapt, stepped = (run(arrivals, prompts, outputs, leap=leap, decode=decode) for leap in (True, False))
    assert leapt.timings["leaps"] > 0
    assert leapt.requests.equals(stepped.requests)
    assert column(leapt, "end_ps")[3] < column(leapt, "end_ps")[1]


def test_who_was_retracted_gets_the_memory_of_a_single_token() -> None:
    """The third is retracted. The fourth then has a place, and all its output: its 20 tokens are free again."""
    arrivals, prompts, outputs = [0, 10, 20, 20], [5, 30, 10, 20], [30, 40, 40, 1]
    decode = {"max_total_tokens": 100, "max_running_requests": 3, "disaggregation_decode_extra_slots": 4}
    leapt, stepped = (run(arrivals, prompts, outputs, leap=leap, decode=decode) for leap in (True, False))
    assert leapt.timings["leaps"] > 0
    assert column(leapt, "preemptions")[2] > 0
    assert leapt.requests.equals(stepped.requests)


def test_a_request_of_higher_priority_is_first_between_two_polls() -> None:
    """A long prompt waits for memory. A short one that goes before it is looked at in the next poll."""
    arrivals, prompts, outputs = [0, 20, 65], [50, 90, 10], [60, 5, 5]
    engine = {"enable_priority_scheduling": True, "disable_priority_preemption": True}
    decode = {"max_total_tokens": 140, "disaggregation_decode_polling_interval": 5}
    leapt, stepped = (
        run(arrivals, prompts, outputs, leap=leap, priority=[0, 0, 1], engine=engine, decode=decode)
        for leap in (True, False)
    )
    assert leapt.timings["leaps"] > 0
    assert leapt.requests.equals(stepped.requests)
    assert column(leapt, "end_ps")[2] < column(leapt, "end_ps")[0]


@LEAPS
def test_a_request_kept_back_is_sent_when_another_has_waited_for_too_long(leap: bool) -> None:
    """One decodes; one waits for its place in vain, and its prompt is the router's whole load; one is kept back."""
    result = run(
        [0, 100, 200],
        [10, 900, 10],
        [90, 1, 1],
        leap=leap,
        timeout_s=0.3,
        engine={"max_running_requests": 1, "chunked_prefill_size": 100},
        prefill={"router": {"kind": "kv_aware", "queue_threshold": 1}},
        decode={"disaggregation_decode_extra_slots": 0},
    )
    assert column(result, "reason")[1] == "its hand-over took too long"
    assert column(result, "routed_ps")[2] == 400 * MS
    assert "its router kept it back to the end" not in result.rejections


@LEAPS
def test_a_rank_that_kept_company_sends_its_cached_prefix_before_the_rest(leap: bool) -> None:
    """The fourth comes to a rank that has its beginning cached, while the other rank computes a long prompt."""
    beginning = [0, 1, 2, 3]
    result = run(
        [0, 0, 100, 125],
        [45, 45, 100, 50],
        [2, 2, 2, 2],
        leap=leap,
        blocks=[[*beginning, 4], [*beginning, 5], list(range(10, 20)), [*beginning, 6]],
        engine={"disable_overlap_schedule": False, "max_running_requests": 8, "chunked_prefill_size": 40},
        prefill={"parallel": {"data": 2}, "engine": {"enable_dp_attention": True, "disable_overlap_schedule": False}},
    )
    assert column(result, "cached_tokens")[3] == 40
    assert column(result, "status") == ["completed"] * 4
    assert column(result, "rank") == [0] * 4, "of the decode replica, which has but one"


@LEAPS
def test_who_was_given_up_before_it_was_scheduled_never_was(leap: bool) -> None:
    """Its place is reserved, but prompts before it take longer than it may wait: they are computed, for nobody."""
    result = run([0, 0, 0], [400, 400, 100], [1, 1, 1], leap=leap, timeout_s=0.05, engine={"chunked_prefill_size": 50})
    assert column(result, "status") == ["rejected"] * 3
    assert column(result, "scheduled_ps")[1:] == [None, None]


@LEAPS
def test_who_runs_out_of_memory_has_its_tokens_and_no_later_turn(leap: bool) -> None:
    """Two prompts fill the memory, so that the first finds no room for its second token."""
    result = run(
        [0, 5, 10],
        [32, 33, 10],
        [25, 3, 1],
        leap=leap,
        after=[-1, -1, 0],
        engine={"page_size": 8},
        decode={"max_total_tokens": 72},
    )
    no_room, not_completed = "no room for its next token, even alone", "the request before it did not complete"
    assert column(result, "reason") == [no_room, "", not_completed]
    assert column(result, "output_tokens") == [1, 3, 0]
    assert column(result, "last_token_ps")[0] == column(result, "first_token_ps")[0]


@pytest.mark.parametrize(("name", "value"), [("page_size", 8), ("kv_cache_dtype", "fp8_e4m3")])
def test_replicas_that_would_not_meet_are_refused(name: str, value: object) -> None:
    with pytest.raises(SpecError, match=f"{name}: SGLang refuses to hand over between two of them"):
        run([0], [10], [2], leap=True, decode={name: value})


@LEAPS
@pytest.mark.parametrize("first", ["long", "short"])
def test_what_a_decision_brings_about_comes_after_all_decisions_of_its_time(first: str, leap: bool) -> None:
    """One ends in the decision in which its token joins; the next, sent for it, finds the other replica's pass begun.

    Which of the two replicas has the lower number must not matter: the other one decides at that time as well.
    """
    long, short = (0, 1) if first == "long" else (1, 0)
    # Round robin: where the short one is on the first replica, another takes a turn before the next.
    arrivals, after = ([0, 0, 0], [-1, -1, short]) if first == "long" else ([0, 0, 1, 0], [-1, -1, -1, short])
    outputs = [1] * len(arrivals)
    outputs[long] = 60
    decode = {"replicas": 2, "router": {"kind": "round_robin"}}
    result = run(arrivals, [10] * len(arrivals), outputs, leap=leap, after=after, decode_pool=decode)
    ends, replicas = column(result, "end_ps"), column(result, "replica")
    assert replicas[-1] == replicas[long] != replicas[short]
    assert column(result, "scheduled_ps")[-1] == ends[short] + 10 * MS


@LEAPS
def test_what_a_decision_brings_about_finds_the_next_pass_of_ranks_in_step_begun(leap: bool) -> None:
    """The first rank is in the midst of a long decode when a request of the second ends as its token joins."""
    ranks: dict[str, Any] = {"parallel": {"data": 2}, "model": "qwen3-30b-a3b", "gpu": "h100"}
    engine = {"enable_dp_attention": True, "max_running_requests": 4}
    result = run([0, 12, 0], [10, 10, 10], [60, 1, 1], leap=leap, after=[-1, -1, 1], engine=engine, **ranks)
    assert column(result, "rank") == [0, 1, 0]
    assert column(result, "scheduled_ps")[-1] == column(result, "end_ps")[1] + 10 * MS
