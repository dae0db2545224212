"""Random scenarios for one vLLM worker: all features, in pools small enough to starve.

Drawn by hypothesis (`scenarios`), or repeatable by a seed (`random_scenario`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from servetwin.conformance.scenario import Scenario, ScenarioRequest
from servetwin.reference.vllm import Cycle, Drawn, EngineConfig, HostConfig, OtherGroups

from .choosers import Chooser, DrawingChooser, SeededChooser, continued, drawn, gap, step_time

SHARED_OUTPUT_SHARE = 3
"""One scenario in so many spells its tokens, so that prompts can repeat earlier outputs."""


def random_scenario(seed: int) -> Scenario[EngineConfig]:
    return build(SeededChooser(seed), f"seed {seed}")


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario[EngineConfig]:
    return build(DrawingChooser(draw), "drawn")


@st.composite
def scenarios_ahead(draw: st.DrawFn) -> Scenario[EngineConfig]:
    return build(DrawingChooser(draw), "drawn", ahead=True)


def scenario_ahead(seed: int) -> Scenario[EngineConfig]:
    """With drafts under async scheduling."""
    return build(SeededChooser(seed), f"seed {seed}", ahead=True)


def build(choose: Chooser, name: str, *, ahead: bool = False) -> Scenario[EngineConfig]:
    """One scenario. Requests are in order of arrival, so an index is a row everywhere."""
    config = engine_config(choose, ahead=ahead)
    hash_block_tokens = choose.one_of((1, 5, 8, 16, 33, 64))
    spelled = choose.integer(1, SHARED_OUTPUT_SHARE) == 1
    requests: list[ScenarioRequest] = []
    arrival = 0
    for index in range(choose.integer(1, 24)):
        arrival += gap(choose)
        requests.append(
            spelled_request(choose, index, arrival, config, requests)
            if spelled
            else request(choose, index, arrival, config, hash_block_tokens)
        )
    return Scenario(
        name=name,
        config=config,
        step_time=step_time(choose),
        requests=tuple(requests),
        hash_block_tokens=hash_block_tokens,
        block_ids=True,
        max_passes=3000,
    )


def offloading_scenario(seed: int, *, ahead: bool = False) -> Scenario[EngineConfig]:
    """With host memory that is anything from a block to plenty, at the end of a slow or a fast link."""
    choose = SeededChooser(seed)
    scenario = build(choose, f"seed {seed}", ahead=ahead)
    config = replace(
        scenario.config,
        version="0.32",
        enable_prefix_caching=True,
        offload=HostConfig(
            blocks=choose.one_of((1, 3, 12, 40, 400)),
            block_bytes=10 * scenario.config.block_size,
            store_bytes_per_s=choose.one_of((1_000, 20_000, 10**7)),
            store_latency_ps=choose.one_of((0, 10**6, 3 * 10**9)),
            load_bytes_per_s=choose.one_of((1_000, 20_000, 10**7)),
            load_latency_ps=choose.one_of((0, 10**6, 3 * 10**9)),
            drops_last_block=scenario.config.eagle_block_drop and choose.one_of((False, True)),
        ),
    )
    return replace(scenario, config=config)


def staged_scenario(seed: int) -> Scenario[EngineConfig]:
    """In two to four pipeline stages."""
    choose = SeededChooser(seed)
    scenario = build(choose, f"seed {seed}")
    config = replace(
        scenario.config,
        version="0.32",
        num_speculative_tokens=0,
        num_lookahead_tokens=0,
        eagle_block_drop=False,
        num_speculative_tokens_per_batch_size=(),
        acceptance=None,
        pipeline_parallel_size=choose.integer(2, 4),
    )
    return replace(scenario, config=config)


def grouped_scenario(seed: int) -> Scenario[EngineConfig]:
    """With layers that look back a window, or keep a state, in one to three groups beside full attention."""
    choose = SeededChooser(seed)
    scenario = build(choose, f"seed {seed}", ahead=seed % 4 == 0)
    has_state = choose.one_of((False, False, True))
    groups = OtherGroups(
        count=choose.integer(1, 3),
        window=0 if has_state else choose.one_of((1, 2, 5, 8, 17, 40, 130)),
        has_state=has_state,
        come_first=choose.one_of((True, False)),
    )
    config = scenario.config
    plain = (has_state and scenario.config.enable_prefix_caching) or choose.one_of((True, False))
    config = replace(
        config,
        version="0.32",
        enable_chunked_prefill=config.enable_chunked_prefill or has_state,
        num_gpu_blocks=config.num_gpu_blocks * (1 + groups.count) + choose.integer(0, 12),
        num_speculative_tokens=0 if plain else config.num_speculative_tokens,
        acceptance=None if plain else config.acceptance,
        num_lookahead_tokens=0,
        eagle_block_drop=False,
        num_speculative_tokens_per_batch_size=() if plain else config.num_speculative_tokens_per_batch_size,
        groups=groups,
    )
    return replace(scenario, config=config, block_ids=False)


def engine_config(choose: Chooser, *, ahead: bool) -> EngineConfig:
    block_size = choose.one_of((1, 2, 4, 8, 16))
    num_gpu_blocks = choose.integer(4, 60)
    version = choose.one_of(("0.32", "0.32", "0.19"))
    asynchronous = ahead or choose.one_of((False, True))
    drafts = choose.one_of((1, 3, 4)) if ahead else 0 if asynchronous else choose.one_of((0, 0, 1, 3, 4))
    head = drafts > 0 and choose.one_of((False, True))
    threshold = choose.one_of((0, 0, 8, 20, 50))
    recent = version == "0.32"
    return EngineConfig(
        version=version,
        max_num_seqs=choose.integer(1, 12),
        max_num_batched_tokens=choose.one_of((16, 32, 64, 128, 300)),
        max_model_len=choose.one_of((64, 200, 131072)),
        block_size=block_size,
        num_gpu_blocks=num_gpu_blocks,
        enable_prefix_caching=choose.one_of((True, True, False)),
        enable_chunked_prefill=choose.one_of((True, True, True, False)),
        long_prefill_token_threshold=threshold,
        long_prefill_token_threshold_adaptive=recent and choose.one_of((False, True)),
        scheduling_policy=choose.one_of(("fcfs", "priority")),
        watermark_blocks=num_gpu_blocks // 10 * choose.integer(0, 2) if recent else 0,
        scheduler_reserve_full_isl=choose.one_of((True, False)),
        async_scheduling=asynchronous,
        num_speculative_tokens=drafts,
        acceptance=acceptance(choose, drafts) if drafts else None,
        num_lookahead_tokens=drafts if head else 0,
        eagle_block_drop=head,
        num_speculative_tokens_per_batch_size=drafts_by_batch(choose, drafts) if drafts else (),
    )


def acceptance(choose: Chooser, drafts: int) -> Cycle | Drawn:
    if choose.integer(1, 4) == 1:
        return Cycle(tuple(choose.integer(0, drafts) for _ in range(choose.integer(1, 5))))
    return drawn(choose, drafts)


def drafts_by_batch(choose: Chooser, drafts: int) -> tuple[tuple[int, int], ...]:
    if choose.integer(1, 3) > 1:
        return ()
    starts = sorted({choose.integer(2, 8) for _ in range(choose.integer(1, 2))})
    return tuple((start, choose.integer(0, drafts)) for start in starts)


def request(choose: Chooser, index: int, arrival: int, config: EngineConfig, hash_block_tokens: int) -> ScenarioRequest:
    n_in, n_out, limit = lengths(choose, config)
    hash_ids = tuple(choose.integer(0, 1 if block else 3) for block in range(-(-n_in // hash_block_tokens)))
    return ScenarioRequest(
        id=str(index),
        n_in=n_in,
        n_out=n_out,
        max_output_tokens=limit,
        arrival=arrival,
        priority=choose.integer(0, 2),
        hash_ids=hash_ids,
    )


def spelled_request(
    choose: Chooser,
    index: int,
    arrival: int,
    config: EngineConfig,
    earlier: Sequence[ScenarioRequest],
) -> ScenarioRequest:
    """Continues an earlier conversation, its answer included, or starts one."""
    n_in, n_out, limit = lengths(choose, config)
    tokens = continued(choose, index, n_in, earlier)
    return ScenarioRequest(
        id=str(index),
        n_in=n_in,
        n_out=n_out,
        max_output_tokens=limit,
        arrival=arrival,
        priority=choose.integer(0, 2),
        tokens=tokens,
    )


def lengths(choose: Chooser, config: EngineConfig) -> tuple[int, int, int]:
    """Prompt, real output and limit: the pool holds them whole, the context at least the prompt."""
    whole = min((config.num_gpu_blocks - 1) * config.block_size, 250)
    if not config.enable_chunked_prefill:
        whole = min(whole, config.max_num_batched_tokens)
    n_in = choose.integer(1, max(1, min(whole, config.max_model_len) - 1))
    n_out = choose.integer(0, max(0, whole - n_in))
    unused = choose.one_of((0, 0, 0, 1, 30))
    return n_in, n_out, n_out + unused
