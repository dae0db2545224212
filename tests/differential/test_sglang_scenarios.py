"""The random scenarios must reach what they are for, and the reference must hold up on them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from servetwin.conformance.scenario import Scenario
from servetwin.conformance.sglang.replay import reference
from servetwin.errors import ServetwinError
from servetwin.reference.sglang import EngineConfig, RunRecord

from .sglang_scenarios import aborted, random_scenario

SEEDS = range(620)


def test_invariants_and_coverage() -> None:
    reached: Counter[str] = Counter()
    for seed in SEEDS:
        scenario = random_scenario(seed)
        try:
            run = reference(scenario)
        except ServetwinError as error:
            if "SGLang fails here" not in str(error):
                raise
            continue
        check_invariants(scenario, run)
        reached.update(features(scenario, run))
    missed = {feature for feature in FEATURES if reached[feature] < 3}
    assert not missed, reached


FEATURES = (
    "retraction",
    "preemption",
    "two preempted in a pass",
    "chunk",
    "chunk in a mixed pass",
    "mixed",
    "hit",
    "hit under lpm",
    "eviction",
    "without a radix cache",
    "abort",
    "context limit",
    "stuck",
    "overlap",
    "retraction under overlap",
    "preemption under overlap",
    "stop under overlap",
)


def features(scenario: Scenario[EngineConfig], run: RunRecord) -> list[str]:
    config, passes = scenario.config, run.passes
    overlaps = not config.disable_overlap_schedule
    hit = any(r.cached for r in run.requests)
    reached = {
        "retraction": any(p.retracted for p in passes),
        "preemption": any(p.preempted for p in passes),
        "two preempted in a pass": any(len(p.preempted) > 1 for p in passes),
        "chunk": any(p.chunked is not None for p in passes),
        "chunk in a mixed pass": any(p.chunked is not None and p.kind == "M" for p in passes),
        "mixed": any(p.kind == "M" for p in passes),
        "hit": hit,
        "hit under lpm": hit and config.schedule_policy == "lpm",
        "eviction": any(one.evictable_end > two.evictable for one, two in pairwise(passes) if two.kind == "D"),
        "without a radix cache": config.disable_radix_cache,
        "abort": bool(aborted(scenario, scenario.requests)),
        "context limit": any(r.n_in + r.n_out >= config.max_request_tokens - 1 for r in run.requests if r.n_out > 1),
        "stuck": run.stuck is not None,
        "overlap": overlaps,
        "retraction under overlap": overlaps and any(p.retracted for p in passes),
        "preemption under overlap": overlaps and any(p.preempted for p in passes),
        "stop under overlap": overlaps and any(one.n_out < one.max_output_tokens for one in scenario.requests),
    }
    return [feature for feature, present in reached.items() if present]


def check_invariants(scenario: Scenario[EngineConfig], run: RunRecord) -> None:
    config, name = scenario.config, scenario.name
    time = 0
    for one in run.passes:
        assert one.scheduled_at_ps <= one.t_ps >= time, name
        time = one.t_ps + one.dt_ps
        assert (one.dt_ps > 0) == bool(one.scheduled), name
        assert 0 <= one.available <= one.available + one.evictable <= config.max_total_tokens, name
        assert len({row[0] for row in one.scheduled}) == len(one.scheduled), name
        assert len(one.scheduled) <= config.max_running_requests, name
    ended = [index for one in run.passes for index in one.finished]
    assert len(ended) == len(set(ended)), name
    if len(ended) == len(scenario.requests):
        last = run.passes[-1]
        copied = config.max_total_tokens - last.available_end - last.evictable_end
        assert copied == 0 or (config.hicache is not None and copied > 0), name
        for asked, record in zip(scenario.requests, run.requests, strict=True):
            assert record.n_out <= max(1, min(asked.n_out, asked.max_output_tokens)), name
