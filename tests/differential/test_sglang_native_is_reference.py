"""The native SGLang leaves the records of the reference, bit for bit, on one replica."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from servetwin.conformance.scenario import Scenario
from servetwin.conformance.sglang.replay import native, reference
from servetwin.errors import ServetwinError
from servetwin.reference.sglang import EngineConfig, RunRecord

from .choosers import SeededChooser, tabulated
from .sglang_scenarios import random_scenario, scenarios, staged_scenario


def check(scenario: Scenario[EngineConfig]) -> None:
    expected = outcome(reference, scenario)
    assert outcome(native, scenario) == expected


def outcome(replayer: object, scenario: Scenario[EngineConfig]) -> RunRecord | str:
    """The records, or that the engine fails."""
    try:
        return replayer(scenario)  # type: ignore[operator,no-any-return]
    except ServetwinError as error:
        if "SGLang fails here" not in str(error):
            raise
        return "fails"


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_seeded_scenarios(first: int) -> None:
    for seed in range(first, first + 50):
        check(random_scenario(seed))


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_seeded_scenarios_in_pipeline_stages(first: int) -> None:
    for seed in range(first, first + 25):
        check(staged_scenario(seed))


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_seeded_scenarios_timed_by_tables(first: int) -> None:
    for seed in range(first, first + 20):
        scenario = random_scenario(seed)
        drafts = scenario.config.acceptance is not None
        check(replace(scenario, step_time=tabulated(SeededChooser(seed), drafts=drafts)))


@settings(max_examples=200)
@given(scenarios())
def test_drawn_scenarios(scenario: Scenario[EngineConfig]) -> None:
    check(scenario)


@pytest.mark.parametrize("seed", [2373, 2667, 3028], ids=["plain", "overlap", "hicache"])
def test_the_last_of_a_batch_is_aborted_if_it_finds_no_room(seed: int) -> None:
    scenario = random_scenario(seed)
    assert outcome(reference, scenario) != "fails"
    check(scenario)


def test_a_turn_that_only_preempts_stands_at_its_own_time() -> None:
    """Overlap: decided while a pass is under way, with nothing to launch behind it."""
    scenario = random_scenario(2300)
    empty = [one for one in native(scenario).passes if one.kind == "-"]
    assert [one.t_ps for one in empty] == [one.scheduled_at_ps for one in empty] != []
    check(scenario)


def test_a_difference_is_seen() -> None:
    """The canary: another conservativeness must not pass for this one."""

    def differs(scenario: Scenario[EngineConfig]) -> bool:
        other = replace(scenario.config, schedule_conservativeness=0.7)
        return outcome(native, replace(scenario, config=other)) != outcome(reference, scenario)

    assert any(map(differs, map(random_scenario, range(60))))
