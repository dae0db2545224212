"""The native core leaves the records of the reference, bit for bit, on one replica."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from servetwin.conformance.scenario import Scenario
from servetwin.conformance.vllm.replay import native, reference
from servetwin.errors import ServetwinError
from servetwin.reference.vllm import EngineConfig, RunRecord

from .choosers import SeededChooser, tabulated
from .vllm_scenarios import (
    grouped_scenario,
    offloading_scenario,
    random_scenario,
    scenario_ahead,
    scenarios,
    scenarios_ahead,
    staged_scenario,
)


def check(scenario: Scenario[EngineConfig]) -> None:
    try:
        expected = reference(scenario)
    except ServetwinError as error:
        if "vLLM fails here" not in str(error):
            raise
        return
    if scenario.config.groups is None:
        assert native(replace(scenario, block_ids=True)) == expected, "stepping, with block numbers"
    assert native(replace(scenario, block_ids=False)) == without_blocks(expected), "leaping"


def without_blocks(run: RunRecord) -> RunRecord:
    return replace(run, passes=[replace(one, blocks={}) for one in run.passes])


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_seeded_scenarios(first: int) -> None:
    for seed in range(first, first + 50):
        check(random_scenario(seed))


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_seeded_scenarios_with_host_memory(first: int) -> None:
    for seed in range(first, first + 50):
        check(offloading_scenario(seed))
        check(offloading_scenario(seed, ahead=True))


@pytest.mark.parametrize("seed", [1016])
def test_scenarios_with_host_memory_that_once_differed(seed: int) -> None:
    check(offloading_scenario(seed))


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_seeded_scenarios_of_drafts_ahead(first: int) -> None:
    for seed in range(first, first + 50):
        check(scenario_ahead(seed))


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_seeded_scenarios_in_pipeline_stages(first: int) -> None:
    for seed in range(first, first + 25):
        check(staged_scenario(seed))


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_seeded_scenarios_with_other_groups(first: int) -> None:
    for seed in range(first, first + 50):
        check(grouped_scenario(seed))


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_seeded_scenarios_timed_by_tables(first: int) -> None:
    for seed in range(first, first + 20):
        scenario = random_scenario(seed)
        drafts = scenario.config.acceptance is not None
        check(replace(scenario, step_time=tabulated(SeededChooser(seed), drafts=drafts)))


@pytest.mark.parametrize("seed", [6, 47, 231, 908, 1366, 2707, 3068, 24324])
def test_scenarios_that_once_differed(seed: int) -> None:
    check(random_scenario(seed))


@settings(max_examples=200)
@given(scenarios())
def test_drawn_scenarios(scenario: Scenario[EngineConfig]) -> None:
    check(scenario)


@settings(max_examples=100)
@given(scenarios_ahead())
def test_drawn_scenarios_of_drafts_ahead(scenario: Scenario[EngineConfig]) -> None:
    check(scenario)


def test_a_difference_is_seen() -> None:
    """The canary: another rule set must not pass for this one."""

    def differs(scenario: Scenario[EngineConfig]) -> bool:
        if scenario.config.version != "0.32":
            return False
        old = replace(scenario.config, version="0.19", watermark_blocks=0, long_prefill_token_threshold_adaptive=False)
        return native(replace(scenario, config=old)) != reference(scenario)

    assert any(map(differs, map(random_scenario, range(60))))


@pytest.mark.parametrize("what", ["window", "come_first"])
def test_a_difference_in_groups_is_seen(what: str) -> None:
    def differs(scenario: Scenario[EngineConfig]) -> bool:
        groups = scenario.config.groups
        assert groups is not None
        others = {"window": groups.window + 9, "come_first": not groups.come_first}
        changed = replace(scenario.config, groups=replace(groups, **{what: others[what]}))
        try:
            return native(replace(scenario, config=changed)) != without_blocks(reference(scenario))
        except ServetwinError:
            return False

    assert any(map(differs, map(grouped_scenario, range(200))))
