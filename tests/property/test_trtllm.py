"""TensorRT-LLM: leaping changes nothing, and requests end however pools and limits fall."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from .worlds import STAGED, World, drawn, pipelines, records, worlds


@st.composite
def engines(draw: st.DrawFn) -> dict[str, Any]:
    block = draw(st.sampled_from([1, 4, 8, 16, 64]))
    batch = draw(st.integers(1, 12))
    waits = draw(st.integers(0, 3)) == 0
    drafts = draw(st.sampled_from([0, 0, 1, 3]))
    policies = ["GUARANTEED_NO_EVICT", "STATIC_BATCH", *([] if drafts else ["MAX_UTILIZATION"])]
    return {
        "name": "trtllm",
        "version": "1.2",
        "max_batch_size": batch,
        "max_num_tokens": max(batch * (1 + drafts), block, draw(st.sampled_from([16, 24, 40, 64, 300]))),
        "max_seq_len": draw(st.sampled_from([96, 160, 4096])),
        "enable_chunked_prefill": draw(st.booleans()),
        "tokens_per_block": block,
        "num_blocks": draw(st.integers(2, 60)) * max(1, 16 // block),
        "enable_block_reuse": draw(st.integers(0, 3)) > 0,
        "capacity_scheduler_policy": draw(st.sampled_from(policies)),
        "context_chunking_policy": draw(st.sampled_from(["FIRST_COME_FIRST_SERVED", "EQUAL_PROGRESS"])),
        "batch_wait_timeout_iters": draw(st.integers(1, 6)) if waits else 0,
        "batch_wait_tokens": draw(st.integers(1, 100)) if waits else 0,
        "max_draft_len": drafts,
        "acceptance": draw(drawn(drafts)) if drafts else None,
        "num_extra_kv_tokens": draw(st.sampled_from([0, drafts - 1])) if drafts else 0,
        "max_concurrency": draw(st.sampled_from([None, 1, 3])) if drafts else None,
    }


@st.composite
def trtllm_worlds(draw: st.DrawFn) -> World:
    world, engine = draw(worlds()), draw(engines())
    step_time = dict(world.run["step_time"])
    if engine["max_draft_len"]:
        step_time.pop("longest", None)  # which is priced of rows without drafts
    return replace(world, run=world.run | {"engine": engine, "step_time": step_time, "check_admission": True})


@settings(max_examples=300)
@given(trtllm_worlds())
def test_leaping_changes_nothing(world: World) -> None:
    leapt, stepped = world.simulate(leap=True), world.simulate(leap=False)
    assert stepped.leaps == 0
    assert records(leapt) == records(stepped)


@st.composite
def staged_worlds(draw: st.DrawFn) -> World:
    world = draw(trtllm_worlds())
    run = world.run | {"engine": world.run["engine"] | STAGED["trtllm"]}
    return replace(world, run=run | {"pipeline": draw(pipelines(run["step_time"]))})


@settings(max_examples=200)
@given(staged_worlds())
def test_leaping_changes_nothing_in_stages(world: World) -> None:
    leapt, stepped = world.simulate(leap=True), world.simulate(leap=False)
    assert stepped.leaps == 0
    assert records(leapt) == records(stepped)
    assert leapt.status == "completed"


@settings(max_examples=200)
@given(trtllm_worlds())
def test_what_is_let_in_ends(world: World) -> None:
    """Nobody stalls: what could never run is turned away on arrival, and the first in order always gets on."""
    run = world.simulate()
    assert run.status == "completed"
    if world.run["engine"]["capacity_scheduler_policy"] != "MAX_UTILIZATION":
        assert not any(run.column("preemptions"))
