"""The random scenarios must reach what they are for, and the reference must hold up on them."""

from __future__ import annotations

from servetwin.conformance import VLLM
from servetwin.conformance.scenario import Scenario
from servetwin.errors import ServetwinError
from servetwin.reference.vllm import EngineConfig, RunRecord

from .vllm_scenarios import random_scenario

SEEDS = range(300)


def runs() -> list[tuple[Scenario[EngineConfig], RunRecord]]:
    done = []
    for seed in SEEDS:
        scenario = random_scenario(seed)
        try:
            done.append((scenario, VLLM.replayers["reference"](scenario)))
        except ServetwinError as error:
            if "vLLM fails here" not in str(error):
                raise
    return done


def test_invariants_and_coverage() -> None:
    reached: dict[str, int] = {}
    for scenario, run in runs():
        check_invariants(scenario, run)
        for feature, present in features(scenario, run).items():
            reached[feature] = reached.get(feature, 0) + present
    missed = {feature: count for feature, count in reached.items() if count < 3}
    assert not missed


def features(scenario: Scenario[EngineConfig], run: RunRecord) -> dict[str, bool]:
    config = scenario.config
    return {
        "version 0.19": config.version == "0.19",
        "async preemption": config.async_scheduling and any(p.preempted for p in run.passes),
        "speculative preemption": config.num_speculative_tokens > 0 and any(p.preempted for p in run.passes),
        "hit": any(r.cached for r in run.requests),
        "hit on resumption": any(any(r.cached_resume) for r in run.requests),
        "accepted drafts": any(any(p.accepted.values()) for p in run.passes),
        "two victims in a pass": any(len(p.preempted) > 1 for p in run.passes),
        "a pass without rows": any(not p.scheduled for p in run.passes),
        "no output": any(r.finish_ps is not None and r.n_out == 0 for r in run.requests),
        "context limit": any(
            r.finish_ps is not None and r.n_in + r.n_out == config.max_model_len for r in run.requests
        ),
        "stuck": run.stuck is not None,
    }


def check_invariants(scenario: Scenario[EngineConfig], run: RunRecord) -> None:
    usable = scenario.config.num_gpu_blocks - 1
    time = 0
    for one in run.passes:
        assert one.t_ps >= time, scenario.name
        time = one.t_ps + one.dt_ps
        assert (one.dt_ps > 0) == bool(one.scheduled), scenario.name
        assert 0 <= one.free <= usable, scenario.name
        tokens = sum(row[1] for row in one.scheduled)
        assert tokens <= scenario.config.max_num_batched_tokens, scenario.name
    ended = [index for one in run.passes for index in one.finished]
    assert len(ended) == len(set(ended)), scenario.name
    if len(ended) == len(scenario.requests):
        assert run.passes[-1].free_end == usable, scenario.name
        for request, record in zip(scenario.requests, run.requests, strict=True):
            assert record.n_out == sum(count for _, count in record.output_times)
            assert record.n_out <= min(request.n_out, request.max_output_tokens), scenario.name
