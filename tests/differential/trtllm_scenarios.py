"""Random scenarios for one TensorRT-LLM worker: all features, in pools small enough to starve."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import get_args

from hypothesis import strategies as st

from servetwin.conformance.native import acceptance, by_arrival, pass_log
from servetwin.conformance.scenario import Scenario, ScenarioRequest
from servetwin.conformance.vllm.replay import from_log
from servetwin.reference.trtllm import EngineConfig, run
from servetwin.reference.trtllm.config import Chunking, Policy
from servetwin.reference.vllm import RunRecord

from .choosers import Chooser, DrawingChooser, SeededChooser, continued, drawn, gap, step_time


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
            content = {"tokens": continued(choose, index, n_in, requests)}
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
        step_time=step_time(choose),
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
    drafts = choose.one_of((0, 0, 1, 3))
    policies = [policy for policy in get_args(Policy) if policy != "MAX_UTILIZATION" or not drafts]
    return EngineConfig(
        num_blocks=choose.integer(4, 60),
        max_seq_len=choose.one_of((64, 200, 131072)),
        max_batch_size=batch,
        max_num_tokens=max(batch * (1 + drafts), block, choose.one_of((16, 32, 64, 128, 300))),
        enable_chunked_prefill=chunked,
        tokens_per_block=block,
        enable_block_reuse=choose.one_of((True, True, False)),
        capacity_scheduler_policy=choose.one_of(policies),
        context_chunking_policy=choose.one_of(get_args(Chunking)),
        batch_wait_timeout_iters=choose.integer(1, 6) if waits else 0,
        batch_wait_tokens=choose.integer(1, 100) if waits else 0,
        max_draft_len=drafts,
        acceptance=drawn(choose, drafts) if drafts else None,
        num_extra_kv_tokens=choose.one_of((0, drafts - 1)) if drafts else 0,
        max_concurrency=choose.one_of((None, 1, 3)) if drafts else None,
    )


def lengths(choose: Chooser, config: EngineConfig) -> tuple[int, int, int]:
    """Prompt, real output and limit: what the engine does not turn away."""
    beyond = config.max_draft_len + config.num_extra_kv_tokens
    whole = max(min(config.num_blocks * config.tokens_per_block - beyond, 250, config.max_seq_len), 2)
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
    config = scenario.config
    engine = {"name": "trtllm", **asdict(config), "acceptance": acceptance(config.acceptance)}
    del engine["pp_size"]  # of the replica, not of its engine
    return from_log(pass_log(scenario, order, engine, config.pp_size), order)


def staged(scenario: Scenario[EngineConfig], stages: int) -> Scenario[EngineConfig]:
    """The same in stages, without what they are not modelled with."""
    config = replace(
        scenario.config,
        pp_size=stages,
        capacity_scheduler_policy="GUARANTEED_NO_EVICT",
        max_draft_len=0,
        acceptance=None,
        num_extra_kv_tokens=0,
        max_concurrency=None,
    )
    return replace(scenario, config=config)
