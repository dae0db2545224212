"""TensorRT-LLM: the native core leaves the records of the reference, and the policies keep what they promise."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin.conformance.native import by_arrival, pass_log
from servetwin.conformance.scenario import Scenario, ScenarioRequest
from servetwin.conformance.vllm.replay import from_log
from servetwin.reference.trtllm import EngineConfig, run
from servetwin.reference.trtllm.config import Chunking, Policy
from servetwin.reference.vllm import RunRecord

from .scenarios import Chooser, DrawingChooser, SeededChooser, gap, step_time

SEEDS = range(400)


def random_scenario(seed: int) -> Scenario[EngineConfig]:
    return build(SeededChooser(seed), f"seed {seed}")


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario[EngineConfig]:
    return build(DrawingChooser(draw), "drawn")


def build(choose: Chooser, name: str) -> Scenario[EngineConfig]:
    config = engine_config(choose)
    hash_block_tokens = choose.one_of((1, 5, 8, 16, 33, 64))
    spelled = choose.integer(1, 3) == 1
    requests: list[ScenarioRequest] = []
    arrival = 0
    for index in range(choose.integer(1, 24)):
        arrival += gap(choose)
        n_in, n_out, limit = lengths(choose, config)
        content: dict[str, tuple[int, ...]]
        if spelled:
            before = requests[choose.integer(0, index - 1)] if requests else None
            history = [] if before is None else [*(before.tokens or ()), *before.outputs(requests.index(before))]
            fresh = list(range(1000 * index, 1000 * index + n_in))
            kept = choose.one_of((0, n_in // 2, n_in))
            content = {"tokens": tuple((history[:kept] + fresh)[:n_in])}
        else:
            blocks = range(-(-n_in // hash_block_tokens))
            content = {"hash_ids": tuple(choose.integer(0, 1 if block else 3) for block in blocks)}
        requests.append(
            ScenarioRequest(
                id=str(index), n_in=n_in, n_out=n_out, max_output_tokens=limit, arrival=arrival, priority=0, **content
            )
        )
    return Scenario(
        name=name,
        config=config,
        step_time=step_time(choose, config),
        requests=tuple(requests),
        hash_block_tokens=hash_block_tokens,
        block_ids=False,
        max_passes=3000,
    )


def engine_config(choose: Chooser) -> EngineConfig:
    block = choose.one_of((1, 2, 4, 8, 16))
    chunked = choose.one_of((False, True))
    batch = choose.integer(1, 12)
    waits = choose.integer(1, 4) == 1
    return EngineConfig(
        num_blocks=choose.integer(4, 60),
        max_seq_len=choose.one_of((64, 200, 131072)),
        max_batch_size=batch,
        max_num_tokens=max(batch, block, choose.one_of((16, 32, 64, 128, 300))),
        enable_chunked_prefill=chunked,
        tokens_per_block=block,
        enable_block_reuse=choose.one_of((True, True, False)),
        capacity_scheduler_policy=choose.one_of(get_args(Policy)),
        context_chunking_policy=choose.one_of(get_args(Chunking)),
        batch_wait_timeout_iters=choose.integer(1, 6) if waits else 0,
        batch_wait_tokens=choose.integer(1, 100) if waits else 0,
    )


def lengths(choose: Chooser, config: EngineConfig) -> tuple[int, int, int]:
    """Prompt, real output and limit: what the engine does not turn away."""
    whole = min(config.num_blocks * config.tokens_per_block, 250, config.max_seq_len)
    if not config.enable_chunked_prefill:
        whole = min(whole, config.max_num_tokens)
    n_in = choose.integer(1, max(1, whole - 1))
    n_out = choose.integer(0, max(0, whole - n_in))
    limit = min(n_out + choose.one_of((0, 0, 0, 1, 30)), max(whole - n_in, 1))
    return n_in, min(n_out, limit), max(limit, 1)


def reference(scenario: Scenario[EngineConfig]) -> RunRecord:
    return run(scenario.reference_requests(), scenario.config, scenario.step_time, max_passes=scenario.max_passes)


def native(scenario: Scenario[EngineConfig]) -> RunRecord:
    order = by_arrival(scenario)
    return from_log(pass_log(scenario, order, {"name": "trtllm", **asdict(scenario.config)}), order)


def check(scenario: Scenario[EngineConfig]) -> None:
    assert native(scenario) == reference(scenario)


@pytest.mark.parametrize("first", range(0, len(SEEDS), 50))
def test_seeded_scenarios(first: int) -> None:
    for seed in range(first, first + 50):
        check(random_scenario(seed))


@settings(max_examples=200, deadline=None)
@given(scenarios())
def test_drawn_scenarios(scenario: Scenario[EngineConfig]) -> None:
    check(scenario)


def test_a_difference_is_seen() -> None:
    """The canary: another policy must not pass for this one."""
    differing = 0
    for seed in range(60):
        scenario = random_scenario(seed)
        if scenario.config.capacity_scheduler_policy == "GUARANTEED_NO_EVICT":
            other = replace(scenario.config, capacity_scheduler_policy="MAX_UTILIZATION")
            differing += native(replace(scenario, config=other)) != reference(scenario)
    assert differing > 0


def test_the_policies_keep_their_promises() -> None:
    """GUARANTEED_NO_EVICT never pauses; nobody over-commits; a static batch starts nobody while others generate."""
    reached: dict[str, int] = {}
    for seed in SEEDS:
        scenario = random_scenario(seed)
        done, config = reference(scenario), scenario.config
        policy = config.capacity_scheduler_policy
        paused = sum(len(one.preempted) for one in done.passes)
        assert policy == "MAX_UTILIZATION" or paused == 0
        assert done.stuck is None
        assert all(record.finish_ps is not None for record in done.requests)
        for one in done.passes:
            assert 0 <= one.free <= config.num_blocks
            assert sum(row[1] for row in one.scheduled) <= config.max_num_tokens
            assert len(one.scheduled) <= one.running <= config.max_batch_size
            generating = [row for row in one.scheduled if row[2] >= scenario.requests[row[0]].n_in]
            assert policy != "STATIC_BATCH" or not (generating and one.new)
        assert done.passes[-1].free_end == config.num_blocks
        waits = any(a.waiting and not b.new and a.running < config.max_batch_size for a, b in pairwise(done.passes))
        found = {
            policy: True,
            "pause": paused > 0,
            "hit": any(record.cached for record in done.requests),
            "hit on resumption": any(any(record.cached_resume) for record in done.requests),
            "chunks": any(row[1] + row[2] < scenario.requests[row[0]].n_in for p in done.passes for row in p.scheduled),
            "a row left out": any(len(one.scheduled) < one.running for one in done.passes),
            "a wait": config.batch_wait_timeout_iters > 0 and waits,
            "no output": any(record.n_out == 0 for record in done.requests),
        }
        for feature, present in found.items():
            reached[feature] = reached.get(feature, 0) + present
    assert not {feature: count for feature, count in reached.items() if count < 3}
