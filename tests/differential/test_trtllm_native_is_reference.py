"""The native TensorRT-LLM leaves the records of the reference, bit for bit, on one replica."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from servetwin.conformance.scenario import Scenario
from servetwin.reference.trtllm import EngineConfig

from .choosers import SeededChooser, tabulated
from .trtllm_scenarios import native, random_scenario, reference, scenarios, staged


def check(scenario: Scenario[EngineConfig]) -> None:
    assert native(scenario) == reference(scenario)


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_seeded_scenarios(first: int) -> None:
    for seed in range(first, first + 50):
        check(random_scenario(seed))


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_seeded_scenarios_timed_by_tables(first: int) -> None:
    for seed in range(first, first + 20):
        scenario = random_scenario(seed)
        drafts = scenario.config.acceptance is not None
        check(replace(scenario, step_time=tabulated(SeededChooser(seed), drafts=drafts)))


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_seeded_scenarios_in_stages(first: int) -> None:
    for seed in range(first, first + 50):
        check(staged(random_scenario(seed), 2 + seed % 3))


@settings(max_examples=200)
@given(scenarios())
def test_drawn_scenarios(scenario: Scenario[EngineConfig]) -> None:
    check(scenario)


@pytest.mark.parametrize("seed", [5694])
def test_scenarios_that_once_differed(seed: int) -> None:
    """A context that was skipped must not keep one behind it from going on."""
    check(random_scenario(seed))
    assert reference(random_scenario(seed)).stuck is None


def test_a_difference_is_seen() -> None:
    """The canary: another policy must not pass for this one."""

    def differs(scenario: Scenario[EngineConfig]) -> bool:
        if scenario.config.capacity_scheduler_policy != "GUARANTEED_NO_EVICT" or scenario.config.max_draft_len:
            return False
        other = replace(scenario.config, capacity_scheduler_policy="MAX_UTILIZATION")
        return native(replace(scenario, config=other)) != reference(scenario)

    assert any(map(differs, map(random_scenario, range(60))))
