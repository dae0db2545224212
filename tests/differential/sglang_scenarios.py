"""Random scenarios for one SGLang worker: all options, in pools small enough to starve.

Drawn by hypothesis (`scenarios`), or repeatable by a seed (`random_scenario`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from servetwin.conformance.scenario import Scenario, ScenarioRequest
from servetwin.reference.sglang import Channel, EngineConfig, HiCacheConfig

from .choosers import Chooser, DrawingChooser, SeededChooser, continued, drawn, gap, step_time


def random_scenario(seed: int) -> Scenario[EngineConfig]:
    return build(SeededChooser(seed), f"seed {seed}")


def staged_scenario(seed: int) -> Scenario[EngineConfig]:
    """In two to four pipeline stages."""
    choose = SeededChooser(seed)
    scenario = build(choose, f"seed {seed}")
    stages = choose.integer(2, 4)
    config = replace(
        scenario.config,
        disable_overlap_schedule=True,
        speculative_num_draft_tokens=0,
        acceptance=None,
        decode_reserve_tokens=0,
        hicache=None,
        schedule_conservativeness=choose.one_of((0.0, 0.05, 0.3, 1.0)),
        ignore_eos=choose.one_of((False, False, False, True)),
        max_running_requests=min(choose.one_of((4, 10, 32)), scenario.config.max_total_tokens // 2),
        pp_size=stages,
        pp_max_micro_batch_size=choose.one_of((None, None, 1, 3)),
    )
    return replace(scenario, config=config)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario[EngineConfig]:
    return build(DrawingChooser(draw), "drawn")


def build(choose: Chooser, name: str) -> Scenario[EngineConfig]:
    """One scenario. Requests are in order of arrival, so an index is a row everywhere."""
    config = engine_config(choose)
    hash_block_tokens = choose.one_of((1, 5, 8, 16, 33, 64))
    longest = choose.one_of((4, 40, 150))
    answers = choose.one_of((3, 40, 150))
    spelled = choose.integer(1, 3) == 1
    requests: list[ScenarioRequest] = []
    arrival = 0
    for index in range(choose.one_of((3, 12, 24, 60))):
        arrival += gap(choose)
        n_in, n_out, limit = lengths(choose, config, longest, answers)
        blocks = range(-(-n_in // hash_block_tokens))
        requests.append(
            ScenarioRequest(
                id=str(index),
                n_in=n_in,
                n_out=n_out,
                max_output_tokens=limit,
                arrival=arrival,
                priority=choose.integer(-2, 9),
                hash_ids=None if spelled else tuple(choose.integer(0, 1 if block else 3) for block in blocks),
                tokens=continued(choose, index, n_in, requests) if spelled else None,
            )
        )
    return Scenario(
        name=name,
        config=config,
        step_time=step_time(choose),
        requests=tuple(requests),
        hash_block_tokens=hash_block_tokens,
        max_passes=2000,
    )


def engine_config(choose: Chooser) -> EngineConfig:
    page_size = choose.one_of((1, 1, 2, 4, 16))
    max_total_tokens = page_size * choose.integer(8, max(30, 400 // page_size))
    chunk = choose.one_of((None, 16, 48, 128, 512))
    prioritised = choose.one_of((False, True))
    uncached = choose.one_of((False, False, False, True))
    drafts = choose.one_of((0, 0, 1, 3, 7))
    steps = choose.integer(1, drafts) if drafts else 0
    overlaps = choose.one_of((True, False))
    return EngineConfig(
        page_size=page_size,
        max_total_tokens=max_total_tokens,
        max_running_requests=min(choose.one_of((2, 5, 16)), max_total_tokens // 2),
        context_length=choose.one_of((100, 131072)),
        chunked_prefill_size=chunk,
        max_prefill_tokens=choose.one_of((30, 200, 16384)),
        enable_mixed_chunk=chunk is not None and not drafts and choose.one_of((False, False, True)),
        schedule_policy="fcfs" if prioritised else choose.one_of(("fcfs", "lpm")),
        schedule_conservativeness=choose.one_of((0.0, 0.05, 0.1, 0.3, 1.0, 2.0)),
        disable_radix_cache=uncached,
        enable_priority_scheduling=prioritised,
        disable_priority_preemption=prioritised and choose.integer(1, 4) == 1,
        schedule_low_priority_values_first=prioritised and choose.one_of((False, True)),
        priority_scheduling_preemption_threshold=choose.integer(0, 5),
        disable_overlap_schedule=not overlaps,
        ignore_eos=choose.one_of((False, False, True)),
        speculative_num_draft_tokens=drafts + 1 if drafts else 0,
        acceptance=drawn(choose, steps) if drafts else None,
        decode_reserve_tokens=(drafts + 1) * (2 if overlaps else choose.one_of((1, 2))) if drafts else 0,
        hicache=None if uncached or choose.one_of((True, False)) else hicache(choose, page_size),
    )


def hicache(choose: Chooser, page_size: int) -> HiCacheConfig:
    """Copies that take nothing beside a pass, or outlast several; pools from a page up."""
    speeds = [
        Channel(choose.one_of((10**5, 10**7, 10**12)), latency_ps=choose.one_of((0, 10**8, 3 * 10**10))) for _ in "ab"
    ]
    return HiCacheConfig(
        write_policy=choose.one_of(("write_through", "write_through_selective", "write_back")),
        tokens=page_size * choose.integer(1, max(2, 600 // page_size)),
        layers=choose.one_of((1, 3)),
        token_bytes=1000,
        load=speeds[0],
        store=speeds[1],
    )


def lengths(choose: Chooser, config: EngineConfig, longest: int, answers: int) -> tuple[int, int, int]:
    """Prompt, real output and limit. Now and then more than there is room for."""
    most = min(config.max_total_tokens, config.context_length)
    if choose.integer(1, 30) == 1:
        return choose.integer(max(most - 10, 1), most + 2), choose.integer(0, 3), most
    n_in = choose.integer(1, max(1, min(longest, most // 2)))
    n_out = choose.integer(0, min(answers, most))
    return n_in, n_out, n_out + choose.one_of((0, 0, 0, 1, 30))


def aborted(scenario: Scenario[EngineConfig], requests: Sequence[ScenarioRequest]) -> list[int]:
    """Requests whose prompt the engine will not take."""
    return [i for i, one in enumerate(requests) if one.n_in >= scenario.config.max_prompt_tokens]
