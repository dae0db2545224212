"""Drafting heads under vLLM's async scheduling, by figures worked out by hand. Every pass takes 10 ms."""

from __future__ import annotations

from typing import Any

import pytest

from servetwin import Result, check_invariants, simulate
from servetwin.spec import Spec, make_spec

from ..small import LEAPS, MS, TEN_MS, trace

EAGLE = {"method": "eagle", "num_speculative_tokens": 3}


def specified(acceptance: float, **engine: Any) -> Spec:
    options = {"name": "vllm", "max_num_seqs": 4, "max_model_len": 1000, "block_size": 4, "num_gpu_blocks": 1000}
    options |= {"speculative": EAGLE | {"acceptance": acceptance}} | engine
    return make_spec({"engine": options, "timing": TEN_MS, "workload": {"trace": "given"}})


def run(spec: Spec, prompts: list[int], outputs: list[int], arrivals_ms: list[int], *, leap: bool) -> Result:
    result = simulate(spec, trace([at * MS for at in arrivals_ms], prompts, outputs), leap=leap)
    check_invariants(result)
    return result


def column_ms(result: Result, name: str) -> list[int]:
    return [round(value / MS) for value in result.requests[name].to_pylist()]


@LEAPS
@pytest.mark.parametrize(("asynchronous", "second_ms"), [(True, 50), (False, 40)])
def test_a_burst_that_may_not_be_the_last_is_followed_by_a_pass_for_nothing(
    leap: bool, asynchronous: bool, second_ms: int
) -> None:
    """1 token, 5, 9 after 30 ms; the pass after that was decided at 20, when 5 were known. The next comes behind it."""
    result = run(specified(1, async_scheduling=asynchronous), [10, 10], [9, 1], [0, 25], leap=leap)
    assert column_ms(result, "end_ps") == [30, second_ms]
    assert result.summary["acceptance_length"] == 4


@LEAPS
def test_a_token_that_is_certain_to_be_the_last_is_waited_for(leap: bool) -> None:
    """After 20 ms 5 are known, and the pass under way gives at least the sixth."""
    result = run(specified(1), [10, 10], [6, 1], [0, 25], leap=leap)
    assert column_ms(result, "end_ps") == [30, 40]


@LEAPS
@pytest.mark.parametrize(("asynchronous", "preemptions"), [(True, 1), (False, 0)])
def test_blocks_are_taken_as_if_the_drafts_under_way_were_accepted(
    leap: bool, asynchronous: bool, preemptions: int
) -> None:
    """The third pass ends at 11 + 4 + 3 of the head = 18 tokens, 5 blocks; 6 if the second's drafts count."""
    engine = {"async_scheduling": asynchronous, "num_gpu_blocks": 11, "enable_prefix_caching": False}
    result = run(specified(0, **engine), [10, 10], [3, 3], [0, 0], leap=leap)
    assert sum(result.requests["preemptions"].to_pylist()) == preemptions
    assert result.summary["acceptance_length"] == 1
