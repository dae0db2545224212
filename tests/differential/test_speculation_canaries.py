"""The canaries of speculation: other rules in the core must not pass for those of the reference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from servetwin.conformance.sglang import replay as sglang
from servetwin.conformance.vllm import replay as vllm
from servetwin.errors import ServetwinError
from servetwin.reference.acceptance import Drawn

from . import sglang_scenarios, trtllm_scenarios, vllm_scenarios

CASES = [
    pytest.param(vllm_scenarios.random_scenario, vllm, {"num_lookahead_tokens": 0}, id="vllm-lookahead"),
    pytest.param(vllm_scenarios.random_scenario, vllm, {"eagle_block_drop": False}, id="vllm-block-drop"),
    pytest.param(
        vllm_scenarios.random_scenario, vllm, {"num_speculative_tokens_per_batch_size": ()}, id="vllm-drafts-by-batch"
    ),
    pytest.param(vllm_scenarios.scenario_ahead, vllm, {"async_scheduling": False}, id="vllm-ahead"),
    pytest.param(vllm_scenarios.scenario_ahead, vllm, {"num_lookahead_tokens": 0}, id="vllm-ahead-lookahead"),
    pytest.param(sglang_scenarios.random_scenario, sglang, {"decode_reserve_tokens": 64}, id="sglang-reserve"),
    pytest.param(
        trtllm_scenarios.random_scenario, trtllm_scenarios, {"max_concurrency": None}, id="trtllm-concurrency"
    ),
    pytest.param(
        trtllm_scenarios.random_scenario, trtllm_scenarios, {"num_extra_kv_tokens": 5}, id="trtllm-extra-slots"
    ),
]


def outcome(replayer: Any, scenario: Any) -> Any:
    try:
        return replayer(scenario)
    except ServetwinError as error:
        return str(error)


@pytest.mark.parametrize(("make", "engine", "changes"), CASES)
def test_a_difference_is_seen(make: Any, engine: Any, changes: dict[str, Any]) -> None:
    def differs(seed: int) -> bool:
        scenario = replace(make(seed), **({} if engine is sglang else {"block_ids": False}))
        other = replace(scenario, config=replace(scenario.config, **changes))
        if other == scenario or not isinstance(scenario.config.acceptance, Drawn):
            return False
        return bool(outcome(engine.native, other) != outcome(engine.native, scenario))

    assert any(map(differs, range(160, 300)))
