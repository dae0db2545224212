"""Pipeline stages on worlds small enough to follow by hand; times are in milliseconds.

In each of two stages a pass takes 10, 1 a prompt token and 2 a row that decodes, unless a test says otherwise.
"""

from __future__ import annotations

from typing import Any

import pytest

from servetwin import _core
from servetwin.catalog import GPUS, MODELS
from servetwin.catalog.stages import stage_layers, stages
from servetwin.describe import resolve
from servetwin.errors import SpecError
from servetwin.spec import make_spec
from servetwin.spec.deployment import Parallel

from .. import small
from ..small import LEAPS, MS, VLLM, gaps, times


def affine(base: int, prompt_token: int) -> dict[str, Any]:
    return small.affine(base * MS, prefill_token_ps=prompt_token * MS, decode_row_ps=2 * MS)


TIMES = affine(10, 1)
ASYNC = VLLM | {"async_scheduling": True}
ENGINES = pytest.mark.parametrize("engine", [VLLM, ASYNC], ids=["sync", "async"])


def simulate(
    *rows: tuple[int, int, int],
    leap: bool,
    engine: dict[str, Any],
    kinds: tuple[dict[str, Any], ...] = (TIMES,),
    stages: tuple[int, ...] = (0, 0),
    ranks: int = 1,
    **options: Any,
) -> _core.Run:
    """Rows of arrival in ms, prompt, output."""
    data = {"ranks": ranks, "in_step": False, "balance": {"kind": "round_robin"}, "sync_passes": 0}
    pipeline = {"kinds": kinds, "stages": stages}
    pool = {"engine": engine | options, "step_time": kinds[0], "pipeline": pipeline, "data": data}
    arrivals_ms, prompts, outputs = zip(*rows, strict=True)
    requests = small.trace([at * MS for at in arrivals_ms], prompts, outputs)
    return small.simulate([pool], requests, leap=leap)


@LEAPS
def test_one_request_is_in_one_stage_at_a_time(leap: bool) -> None:
    run = simulate((0, 5, 3), leap=leap, engine=VLLM)
    # A prompt of 15 in each stage, decodes of 12. In between vLLM looks for another batch, and sleeps for 1.
    assert times(run, "first_token") == [30]
    assert times(run, "last_token") == [30 + 1 + 24 + 1 + 24]
    assert small.summary(run)["bubble_share"] == 0.5, "sleep is no bubble: nothing is under way"


@LEAPS
def test_async_a_pass_waits_in_front_of_the_first_stage(leap: bool) -> None:
    run = simulate((0, 5, 3), leap=leap, engine=ASYNC)
    # Decided 29 before the token that it needs: the sleep costs nothing.
    assert times(run, "last_token") == [30 + 24 + 24]


@LEAPS
@ENGINES
def test_parts_of_a_prompt_follow_each_other(leap: bool, engine: dict[str, Any]) -> None:
    run = simulate((0, 40, 1), leap=leap, engine=engine, max_num_batched_tokens=20)
    # 0 to 30 and 30 to 60 in the first stage, 30 to 60 and 60 to 90 in the second.
    assert times(run, "first_token") == [90]


@LEAPS
@ENGINES
def test_two_micro_batches_keep_both_stages_busy(leap: bool, engine: dict[str, Any]) -> None:
    run = simulate((0, 5, 4), (0, 20, 3), leap=leap, engine=engine, max_num_batched_tokens=20)
    # Pass 0: the first prompt and 15 tokens of the second, 0-30 and 30-60. Pass 1: its last 5, 30-45 and 60-75.
    # Then each decodes in every other pass: 60-72 and 75-87, 75-87 and 87-99, 87-99 and 99-111, ...
    assert times(run, "first_token") == [60, 75]
    assert times(run, "last_token") == [60 + 27 + 24 + 24, 75 + 24 + 24]
    assert gaps(run) == [24, 24, 24, 24, 27]
    # Both stages are there from 0 to 135. Each computes 30, 15 and five decodes of 12.
    assert small.summary(run)["bubble_share"] == (2 * 135 - 2 * 105) / (2 * 135)


@LEAPS
@ENGINES
def test_the_slowest_stage_bounds_the_rate(leap: bool, engine: dict[str, Any]) -> None:
    slow = affine(20, 0)
    rows = ((0, 5, 4), (0, 20, 3))
    run = simulate(*rows, leap=leap, engine=engine, kinds=(TIMES, slow), stages=(0, 1), max_num_batched_tokens=20)
    # The second stage is never idle from 30 on: 30-50, 50-70, then 22 each.
    assert times(run, "first_token") == [50, 70]
    assert times(run, "last_token") == [180, 158]
    assert gaps(run) == [42, 44, 44, 44, 44]
    # The first computes 30, 15 and five times 12, of 180.
    assert small.summary(run)["bubble_share"] == (30 + 180 - 105) / (2 * 180)


@LEAPS
def test_stages_may_compute_for_longer_than_a_simulation_lasts(leap: bool) -> None:
    """A day a pass, for 57 days: 114 days of both stages are more picoseconds than 63 bits hold."""
    day = affine(86_400_000, 0)
    pool = {
        "engine": VLLM | {"max_num_batched_tokens": 20},
        "step_time": day,
        "pipeline": {"kinds": [day], "stages": [0, 0]},
    }
    requests = small.trace([0, 0], [5, 20], [28, 27])
    run = small.simulate([pool], requests, leap=leap, series_interval_ps=86_400_000 * MS)
    assert 0 < small.summary(run)["bubble_share"] < 0.05


@LEAPS
def test_who_comes_while_the_loop_waits_joins_the_same_micro_batch(leap: bool) -> None:
    run = simulate((0, 5, 3), (10, 20, 1), leap=leap, engine=VLLM)
    # The loop waits for the first token until 30, and sleeps for 1. Then both are in one pass, of 32.
    assert times(run, "scheduled") == [0, 31]
    assert times(run, "first_token")[1] == 31 + 64


@LEAPS
def test_more_stages_hold_more_micro_batches(leap: bool) -> None:
    rows = [(0, 10, 50)] * 4
    run = simulate(*rows, leap=leap, engine=ASYNC, stages=(0, 0, 0, 0), max_num_batched_tokens=10)
    # A prompt a pass, 20 in each stage, 80 to the first token. The decodes that follow wait for each other at 12.
    assert times(run, "first_token") == [80, 100, 120, 140]
    assert gaps(run)[:100] == [48] * 100
    assert run.passes == 4 * 50


@LEAPS
@ENGINES
def test_data_ranks_apart_have_stages_of_their_own(leap: bool, engine: dict[str, Any]) -> None:
    rows = [(0, 5, 4), (0, 20, 3)]
    run = simulate(*rows, leap=leap, engine=engine, ranks=2)
    alone = [simulate(row, leap=leap, engine=engine) for row in rows]
    assert small.numbers(run, "rank") == [0, 1]
    assert small.summary(run)["bubble_share"] == small.summary(alone[0])["bubble_share"] == 0.5
    for column in ("first_token", "last_token"):
        assert times(run, column) == [times(one, column)[0] for one in alone]


TRTLLM = small.TRTLLM | {"enable_chunked_prefill": True}


@LEAPS
def test_chunks_of_tensorrt_llm_wait_for_each_other(leap: bool) -> None:
    run = simulate((0, 40, 3), leap=leap, engine=TRTLLM, max_num_tokens=32)
    # 32 tokens take 42 in each stage, the other 8 take 18, decodes 12; each begins when the last is through.
    assert times(run, "first_token") == [84 + 36]
    assert times(run, "last_token") == [120 + 24 + 24]


@LEAPS
def test_each_stage_of_tensorrt_llm_has_a_batch(leap: bool) -> None:
    run = simulate(*[(0, 10, 20)] * 4, leap=leap, engine=TRTLLM, max_batch_size=1)
    # One in each stage: prompts take 20 in each, decodes 12. The third comes in when the first is through.
    assert times(run, "scheduled")[:2] == [0, 0]
    assert times(run, "first_token")[:2] == [40, 60]
    assert times(run, "scheduled")[2] == times(run, "last_token")[0]


@pytest.mark.parametrize(
    ("engine", "wanted"),
    [("vllm", [20, 20, 21, 21, 20]), ("sglang", [20, 20, 20, 21, 21]), ("trtllm", [21, 21, 20, 20, 20])],
)
def test_layers_that_are_left_over(engine: str, wanted: list[int]) -> None:
    spec = make_spec({"engine": {"name": engine}}).model_copy(update={"parallel": Parallel(pipeline=5)})
    assert stage_layers(spec, 102) == wanted


def staged(**cluster: Any) -> Any:
    return make_spec(
        {"model": "llama-3.1-70b", "gpu": "h100", "parallel": {"tensor": 4, "pipeline": 4}, "cluster": cluster}
    )


def test_stages_in_two_machines_send_over_a_nic() -> None:
    model, gpu = MODELS["llama-3.1-70b"], GPUS["h100"]
    found = stages(staged(nodes=2, nic_gbps=400), model, gpu)
    assert [stage.layers for stage in found] == [20] * 4
    nvlink = gpu.link.bytes_per_s
    assert [stage.sends_bytes_per_s for stage in found] == [nvlink, 50e9, nvlink, 0]
    with pytest.raises(SpecError, match="lie in several domains of 8"):
        stages(staged(nodes=2), model, gpu)


def test_stages_of_data_ranks_in_step_are_refused_by_name() -> None:
    parallel = {"data": 2, "pipeline": 2}
    assert resolve(make_spec({"model": "llama-3.1-70b", "gpu": "h200", "parallel": parallel})).first.stages == (0, 1)
    with pytest.raises(SpecError, match="stages of data ranks in step") as error:
        resolve(make_spec({"model": "qwen3-235b-a22b", "gpu": "h200", "parallel": parallel}))
    assert error.value.field == "parallel.pipeline"


@pytest.mark.parametrize("host", [{"tiers": {"host": {"blocks": 100}}}, {"engine": {"kv_offloading_size": 1}}])
def test_stages_and_offloading_are_refused_by_name(host: dict[str, Any]) -> None:
    spec = {"engine": {"name": "vllm"} | host.get("engine", {}), "parallel": {"pipeline": 2}}
    with pytest.raises(SpecError, match="pipeline stages together with offloading are not yet modelled"):
        make_spec({"model": "llama-3.1-8b", "gpu": "h100", **host, **spec})
