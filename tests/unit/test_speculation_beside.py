"""Drafts in pools, in the overlap loop and beside host memory, by figures worked out by hand.

Every pass takes 10 ms, and every draft is accepted.
"""

from __future__ import annotations

from typing import Any

import pytest

from servetwin import Result, check_invariants, simulate
from servetwin.describe import resolve, run_description
from servetwin.errors import SpecError
from servetwin.spec import Spec, make_spec

from ..small import LEAPS, MS, TEN_MS, trace

EAGLE = {
    "speculative_algorithm": "EAGLE",
    "speculative_num_steps": 3,
    "speculative_eagle_topk": 1,
    "speculative_num_draft_tokens": 4,
    "speculation": {"acceptance": 1},
}
SGLANG: dict[str, Any] = {
    "name": "sglang",
    "max_running_requests": 4,
    "max_total_tokens": 1000,
    "context_length": 1000,
    "disable_overlap_schedule": True,
    **EAGLE,
}
VLLM: dict[str, Any] = {
    "name": "vllm",
    "max_num_seqs": 4,
    "max_model_len": 1000,
    "block_size": 16,
    "num_gpu_blocks": 100,
    "async_scheduling": False,
    "speculative": {"method": "eagle", "num_speculative_tokens": 3, "acceptance": 1},
}
WIRE = {"link": "wire", "control_ms": 0, "setup_ms": 0, "kv_bytes_per_token": 1}
AGAIN: dict[str, Any] = {"arrivals_ms": [0, 1000, 2000], "blocks": [[0], [1], [0]]}
"""The third prompt is the first again."""


def specified(engine: dict[str, Any], **more: Any) -> Spec:
    pools = {"prefill": {}, "decode": {}}
    given = {
        "engine": engine,
        "pools": pools,
        "handover": WIRE,
        "cluster": {"nodes": 4, "links": {"wire": {"gbytes_per_s": 1000, "latency_us": 0}}},
        "timing": TEN_MS,
        "workload": {"trace": "given"},
    }
    return make_spec(given | more)


def alone(engine: dict[str, Any], **more: Any) -> Spec:
    """One replica."""
    return make_spec({"engine": engine, "timing": TEN_MS, "workload": {"trace": "given"}} | more)


def run(
    spec: Spec,
    prompts: list[int],
    outputs: list[int],
    *,
    leap: bool,
    arrivals_ms: list[int] | None = None,
    blocks: list[list[int]] | None = None,
) -> Result:
    arrival_ps = [at * MS for at in arrivals_ms or [0] * len(prompts)]
    result = simulate(spec, trace(arrival_ps, prompts, outputs, blocks=blocks, block_tokens=1024), leap=leap)
    check_invariants(result)
    return result


def column_ms(result: Result, name: str) -> list[int]:
    return [round(value / MS) for value in result.requests[name].to_pylist()]


@LEAPS
def test_sglang_decodes_in_bursts_after_the_token_that_came_along(leap: bool) -> None:
    """10 ms of prompt; the first token comes with the KV; then four a pass: 5 tokens, 9 tokens."""
    result = run(specified(SGLANG), [10], [9], leap=leap)
    assert column_ms(result, "first_token_ps") == [10]
    assert column_ms(result, "end_ps") == [30]
    assert result.summary["acceptance_length"] == 4


@LEAPS
@pytest.mark.parametrize(("pool", "preemptions"), [(44, 0), (43, 1)])
def test_sglangs_decode_replica_holds_pages_for_two_passes_of_drafts(leap: bool, pool: int, preemptions: int) -> None:
    """Eight tokens beyond those stored: 18 of each request in the first pass, 22 in the second."""
    decode = {"engine": {"max_total_tokens": pool, "num_reserved_decode_tokens": 0}}
    spec = specified(SGLANG, pools={"prefill": {}, "decode": decode})
    result = run(spec, [10, 10], [9, 9], leap=leap)
    assert sum(result.requests["preemptions"].to_pylist()) == preemptions
    assert set(result.requests["status"].to_pylist()) == {"completed"}


@LEAPS
def test_vllm_pads_the_token_it_computes_again(leap: bool) -> None:
    """10 ms of prompt; its last token again beside dummies, of which none is accepted; then four a pass."""
    result = run(specified(VLLM), [16], [9], leap=leap)
    assert column_ms(result, "first_token_ps") == [20]
    assert column_ms(result, "end_ps") == [40]


@LEAPS
def test_a_preempted_burst_goes_on_where_it_was(leap: bool) -> None:
    """Whoever was retracted has its tokens still, and gets the rest after it was let in again."""
    decode = {"engine": {"max_total_tokens": 43, "num_reserved_decode_tokens": 0}}
    spec = specified(SGLANG, pools={"prefill": {}, "decode": decode})
    result = run(spec, [10, 10], [9, 9], leap=leap)
    assert column_ms(result, "end_ps") == [30, 40]


@pytest.mark.parametrize(("engine", "field"), [(SGLANG, "speculative_algorithm"), (VLLM, "speculative.method")])
def test_a_head_is_one_of_both_pools(engine: dict[str, Any], field: str) -> None:
    without = {name: value for name, value in engine.items() if name not in (*EAGLE, "speculative")}
    own = {name: value for name, value in engine.items() if name in (*EAGLE, "speculative")}
    with pytest.raises(SpecError) as caught:
        specified(without, pools={"prefill": {}, "decode": {"engine": own}})
    assert caught.value.field == f"pools.decode.engine.{field}"
    with pytest.raises(SpecError) as caught:
        specified(without, pools={"prefill": {"engine": own}, "decode": {}})
    assert caught.value.field == f"pools.prefill.engine.{field}"


def test_n_grams_need_nothing_of_the_prefill_pool() -> None:
    ngram = {"speculative": {"method": "ngram", "num_speculative_tokens": 2, "acceptance": 1}}
    plain = VLLM | {"speculative": None}
    spec = specified(plain, pools={"prefill": {}, "decode": {"engine": ngram}})
    result = run(spec, [16], [7], leap=True)
    assert column_ms(result, "end_ps") == [40]


@pytest.mark.parametrize(("algorithm", "layers"), [("EAGLE", 33), ("NGRAM", 32)])
def test_a_heads_layer_is_handed_over_with_the_models(algorithm: str, layers: int) -> None:
    """Llama 3.1 8B: 32 layers of 2 · 8 · 128 numbers in 16 bits."""
    tree = EAGLE if algorithm == "EAGLE" else {"speculation": {"acceptance": 1}}
    plain = {name: value for name, value in SGLANG.items() if name not in EAGLE}
    spec = specified(
        plain | tree | {"speculative_algorithm": algorithm},
        model="llama-3.1-8b",
        gpu="h100",
        handover={"link": "wire"},
    )
    described = run_description(spec, resolve(spec), leap=True, own_router=False)
    assert described["handover"]["bytes_per_token"] == layers * 2 * 8 * 128 * 2


@LEAPS
@pytest.mark.parametrize(("output", "in_vain"), [(9, 1), (6, 0)])
def test_sglangs_overlap_loop_launches_a_pass_before_it_knows_of_a_burst(leap: bool, output: int, in_vain: int) -> None:
    """A prompt, 5 tokens, 9. The pass after that is launched when 5 are known: for nothing, unless one more is all."""
    result = run(alone(SGLANG | {"disable_overlap_schedule": False}), [10], [output], leap=leap)
    assert column_ms(result, "end_ps") == [30]
    assert result.timings["passes"] == 3 + in_vain
    assert result.summary["draft_acceptance_rate"] == 1


@LEAPS
def test_a_decode_replicas_overlap_loop_does_not_ask_who_ends(leap: bool) -> None:
    """The same with one token more to come: as everybody, it has another pass."""
    result = run(specified(SGLANG | {"disable_overlap_schedule": False}), [10], [6], leap=leap)
    assert column_ms(result, "end_ps") == [30]
    assert result.timings["passes"] == 1 + 3


@LEAPS
@pytest.mark.parametrize(("overlaps", "preemptions"), [(True, 0), (False, 1)])
def test_pages_are_taken_for_what_is_known(leap: bool, overlaps: bool, preemptions: int) -> None:
    """Eight tokens beyond the 10 that are known to be stored before the second pass, or beyond 14: 36 or 44 in all."""
    engine = SGLANG | {"disable_overlap_schedule": not overlaps, "max_total_tokens": 43, "disable_radix_cache": True}
    result = run(alone(engine), [10, 10], [6, 6], leap=leap)
    assert sum(result.requests["preemptions"].to_pylist()) == preemptions


@LEAPS
@pytest.mark.parametrize(("method", "loaded"), [("eagle", 32), ("mtp", 16), ("ngram", 32)])
def test_vllm_loads_less_for_multi_token_prediction(leap: bool, method: str, loaded: int) -> None:
    """The same prompt comes again when others have taken its blocks on the GPU: of its three blocks the last is not
    whole, and of those on the host multi-token prediction leaves out one more."""
    drafts = {"method": method, "num_speculative_tokens": 1, "acceptance": 1}
    host = {"blocks": 100, "store_gbytes_per_s": 1, "load_gbytes_per_s": 1}
    spec = alone(
        VLLM | {"num_gpu_blocks": 7, "speculative": drafts},
        tiers={"host": host, "kv_bytes_per_token": 1000},
    )
    result = run(spec, [40, 90, 40], [1, 1, 1], leap=leap, **AGAIN)
    assert result.requests["host_tokens"].to_pylist() == [0, 0, loaded]


@LEAPS
def test_hicache_loads_a_prefix_for_rows_that_verify_drafts(leap: bool) -> None:
    host = {"tiers": {"host": {"store_gbytes_per_s": 1, "load_gbytes_per_s": 1}, "kv_bytes_per_token": 1000}}
    engine = SGLANG | {"max_total_tokens": 120, "enable_hierarchical_cache": True, "hicache_ratio": 4}
    result = run(alone(engine, **host), [40, 90, 40], [9, 9, 9], leap=leap, **AGAIN)
    assert result.requests["host_tokens"].to_pylist() == [0, 0, 39]
    assert result.summary["acceptance_length"] == 4
