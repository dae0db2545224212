"""SGLang's HiCache and hand-overs in runs small enough to be worked out by hand."""

from __future__ import annotations

from typing import Any

from servetwin import _core

from ..small import MS, SGLANG, affine, numbers, simulate
from ..small import trace as trace_of

ENGINE = SGLANG | {
    "max_total_tokens": 1000,
    "context_length": 4096,
    "chunked_prefill_size": 100,
    "max_prefill_tokens": 16384,
    "schedule_conservativeness": 1.0,
    "disable_radix_cache": False,
    "disable_overlap_schedule": True,
}
DECODE = ENGINE | {
    "disable_radix_cache": True,
    "disaggregation": {"num_reserved_decode_tokens": 100, "decode_extra_slots": 8, "polling_interval": 1},
}


def step_time(base_ms: int, token_us: int = 0) -> dict[str, Any]:
    return affine(base_ms * MS, prefill_token_ps=token_us * 10**6)


def trace(arrivals_ms: list[float], prompts: list[int], outputs: list[int], blocks: list[list[int]]) -> _core.Trace:
    """Blocks of ten tokens."""
    return trace_of([round(at * MS) for at in arrivals_ms], prompts, outputs, blocks=blocks, block_tokens=10)


def milliseconds(run: _core.Run, name: str) -> list[float]:
    return [at / MS for at in numbers(run, name)]


def handed_over(requests: _core.Trace, decode: dict[str, Any] = DECODE) -> _core.Run:
    """10 kB a token over 1 GB/s and 0.5 ms, messages of 1 ms. A prefill: 10 ms and 0.1 ms a token; a decode: 5 ms."""
    handover = {"order": "destination_first", "bootstrap_ps": 0, "control_ps": MS, "setup_ps": 0, "timeout_ps": 10**15}
    return simulate(
        [
            {"role": "prefill", "engine": ENGINE, "step_time": step_time(10, 100)},
            {"role": "decode", "engine": decode, "step_time": step_time(5)},
        ],
        requests,
        links=[{"bytes_per_s": 10**9, "latency_ps": MS // 2}],
        handover={**handover, "bytes_per_token": 10_000, "links": [0]},
    )


def test_a_prompt_is_reserved_then_computed_then_sent() -> None:
    run = handed_over(trace([0], [100], [3], [list(range(10))]))
    # A message, a pass of 20 ms, 0.5 + 1 ms on the link, a message: the client's first token. Then two decodes.
    assert milliseconds(run, "scheduled_ps") == [1.0]
    assert milliseconds(run, "first_token_ps") == [23.5]
    assert milliseconds(run, "end_ps") == [33.5]


def test_what_a_pass_has_computed_is_sent_while_the_next_one_runs() -> None:
    run = handed_over(trace([0], [200], [1], [list(range(20))]))
    # Passes until 21 and 41 ms; the first 100 tokens are there at 22.5 ms, the others at 42.5.
    assert milliseconds(run, "first_token_ps") == [43.5]
    assert milliseconds(run, "end_ps") == [43.5], "the only token came along"


def test_what_is_cached_is_sent_at_once() -> None:
    run = handed_over(trace([0, 100], [100, 101], [1, 1], [list(range(10)), [*range(10), 99]]))
    # A message until 101 ms, then a pass of 10.1 ms. The 100 cached tokens are there long before; the last one
    # takes 0.51 ms.
    assert milliseconds(run, "first_token_ps")[1] == 111.1 + 0.51 + 1


def test_memory_for_some_decodes_is_kept_for_each_request() -> None:
    """A pool of 300: 100 for the first prompt, 100 for its decodes; the second wants as much, and waits for its end."""
    decode = DECODE | {"max_total_tokens": 300}
    run = handed_over(trace([0, 0], [100, 100], [3, 3], [list(range(10)), list(range(20, 30))]), decode)
    assert milliseconds(run, "end_ps")[0] == 33.5
    assert milliseconds(run, "scheduled_ps")[1] == 34.5
    enough = handed_over(
        trace([0, 0], [100, 100], [3, 3], [list(range(10)), list(range(20, 30))]), DECODE | {"max_total_tokens": 400}
    )
    assert milliseconds(enough, "scheduled_ps") == [1.0, 21.0], "in the next pass: each is a chunk"


def test_a_prompt_that_a_decode_replica_could_never_reserve_is_rejected() -> None:
    run = handed_over(trace([0], [250], [3], [list(range(25))]), DECODE | {"max_total_tokens": 300})
    assert numbers(run, "status") == [1]


def cached(requests: _core.Trace, write_policy: str, **engine: Any) -> _core.Run:
    """A megabyte a token, 1 ms and a gigabyte a second; ten layers. A pass takes 10 ms and 0.1 ms a token."""
    speed = {"bytes_per_s": 10**9, "latency_ps": MS}
    hicache = {
        "write_policy": write_policy,
        "tokens": 200,
        "layers": 10,
        "token_bytes": 10**6,
        "load": speed,
        "store": speed,
    }
    engine = ENGINE | {"max_total_tokens": 60, "hicache": hicache} | engine
    return simulate([{"engine": engine, "step_time": step_time(10, 100)}], requests)


OTHERS = trace([0, 1000, 2000], [40, 40, 40], [1, 1, 1], [[1, 2, 3, 4], [5, 6, 7, 8], [1, 2, 3, 4]])
"""The second prompt pushes the first off the device; the third is the first again."""


def test_write_through_loads_back_what_was_evicted() -> None:
    run = cached(OTHERS, "write_through")
    assert numbers(run, "cached_tokens") == [0, 0, 39]
    # The first 39 tokens are loaded in 40 ms, while the last is computed in 10.1: one layer of it comes after.
    assert milliseconds(run, "end_ps") == [14.0, 1014.0, 2000 + 40 + 1.01]


def test_write_back_makes_the_pass_wait_that_needs_the_room() -> None:
    run = cached(OTHERS, "write_back")
    # 41 ms for the 40 tokens, before the second pass; and for the third, before it loads.
    assert milliseconds(run, "end_ps") == [14.0, 1000 + 41 + 14, 2000 + 41 + 40 + 1.01]


def test_write_through_selective_copies_what_comes_twice() -> None:
    assert numbers(cached(OTHERS, "write_through_selective"), "cached_tokens") == [0, 0, 0]
    twice = trace([0, 500, 1000, 2000], [40] * 4, [1] * 4, [[1, 2, 3, 4], [1, 2, 3, 4], [5, 6, 7, 8], [1, 2, 3, 4]])
    assert numbers(cached(twice, "write_through_selective"), "cached_tokens") == [0, 39, 0, 39]


def test_a_pool_that_is_smaller_than_a_prompt_keeps_nothing() -> None:
    hicache = {"write_policy": "write_through", "tokens": 39, "layers": 1, "token_bytes": 1}
    speed = {"bytes_per_s": 10**9, "latency_ps": 0}
    run = cached(OTHERS, "write_through", hicache={**hicache, "load": speed, "store": speed})
    assert numbers(run, "cached_tokens") == [0, 0, 0]


def test_memory_that_is_being_copied_is_not_there_for_others() -> None:
    """The copy of the first prompt takes 41 ms from 14 ms on; until then the second finds no room."""
    run = cached(trace([0, 20], [40, 40], [1, 1], [[1, 2, 3, 4], [5, 6, 7, 8]]), "write_through")
    assert milliseconds(run, "scheduled_ps") == [0, 55.0]
