"""How a spec may share a replica among GPUs, and what each of them then holds."""

from __future__ import annotations

from typing import Any

import pytest

from servetwin.catalog import MODELS, Ranks, describe_data, ranks, resolve_engine
from servetwin.catalog.formats import BF16
from servetwin.catalog.memory import cache_bytes, weight_bytes
from servetwin.describe import summary_options
from servetwin.errors import SpecError
from servetwin.spec import make_spec
from servetwin.units import PS_PER_MS

DEEPSEEK: dict[str, Any] = {"model": "deepseek-v3", "gpu": "h200"}


def spec(**fields: Any) -> Any:
    return make_spec({"workload": {"trace": "t.jsonl"}, **fields})


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({**DEEPSEEK, "parallel": {"tensor": 4, "data": 2, "expert": 3}}, "parallel.expert"),
        ({**DEEPSEEK, "parallel": {"tensor": 4, "data": 2, "expert": 4}}, "parallel.expert"),
        ({**DEEPSEEK, "parallel": {"data": 48, "expert": 48}}, "parallel.expert"),
        ({**DEEPSEEK, "engine": {"name": "sglang"}, "parallel": {"tensor": 8, "expert": 3}}, "parallel.expert"),
        ({"model": "llama-3.1-8b", "gpu": "h200", "parallel": {"data": 2, "expert": 2}}, "parallel.expert"),
        (
            {"timing": "polynomial", "parallel": {"data": 2}, "engine": {"max_model_len": 99, "num_gpu_blocks": 9}},
            "model",
        ),
        ({"model": "llama-3.1-8b", "engine": {"name": "trtllm"}, "parallel": {"data": 2}}, "parallel.data"),
        (
            {"model": "llama-3.1-8b", "engine": {"name": "sglang", "enable_dp_attention": True}},
            "engine.enable_dp_attention",
        ),
        (
            {
                "model": "llama-3.1-8b",
                "gpu": "h200",
                "engine": {"name": "sglang", "enable_dp_attention": True},
                "parallel": {"data": 2},
            },
            "engine.enable_dp_attention",
        ),
        ({"model": "llama-3.1-8b", "engine": {"dp_sync_interval": 8}}, "engine.dp_sync_interval"),
        (
            {"model": "llama-3.1-8b", "gpu": "h200", "engine": {"dp_sync_interval": 8}, "parallel": {"data": 2}},
            "engine.dp_sync_interval",
        ),
        (
            {**DEEPSEEK, "engine": {"version": "0.19", "dp_sync_interval": 8}, "parallel": {"data": 8}},
            "engine.dp_sync_interval",
        ),
        (
            {
                **DEEPSEEK,
                "engine": {"name": "sglang", "enable_dp_attention": True, "page_size": 64, "chunked_prefill_size": 256},
                "parallel": {"data": 8},
            },
            "engine.chunked_prefill_size",
        ),
        ({"model": "llama-3.1-8b", "gpu": "h200", "parallel": {"data": 2_000_000_000}}, "parallel.data"),
        ({"model": "llama-3.1-8b", "gpu": "h200", "replicas": 1_000, "parallel": {"data": 1_001}}, "parallel.data"),
        ({"timing": "polynomial", "parallel": {"pipeline": 2_000_000_000}}, "parallel.pipeline"),
        ({"timing": "polynomial", "replicas": 1_000, "parallel": {"pipeline": 1_001}}, "parallel.pipeline"),
        ({**DEEPSEEK, "parallel": {"data": 8}, "cluster": {"nodes": 1, "gpus_per_node": 4}}, "replicas"),
        # Without expert parallelism each rank has an eighth of each expert, and 2,048 can be shared so by 8, not by 3.
        ({**DEEPSEEK, "parallel": {"data": 3}}, "parallel.tensor"),
    ],
)
def test_what_cannot_be_is_refused_by_name(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolve_engine(spec(**fields))
    assert caught.value.field == field


def test_sglang_without_attention_ranks_is_told_what_shares_experts() -> None:
    engine = {"name": "sglang"}
    with pytest.raises(SpecError, match="does not fit") as caught:
        resolve_engine(spec(**DEEPSEEK, engine=engine, parallel={"data": 8}))
    assert "engine.enable_dp_attention" in str(caught.value.wanted)
    with pytest.raises(SpecError, match="does not fit") as caught:
        resolve_engine(spec(**DEEPSEEK, engine=engine))
    assert "engine.enable_dp_attention" not in str(caught.value.wanted)


def test_data_ranks_run_in_step_where_experts_need_it() -> None:
    dense, mixture = MODELS["llama-3.1-8b"], MODELS["deepseek-v3"]
    vllm, sglang = spec(parallel={"data": 4}), spec(parallel={"data": 4}, engine={"name": "sglang"})
    assert [describe_data(vllm, model)["in_step"] for model in (dense, mixture)] == [False, True]
    assert [describe_data(sglang, model)["in_step"] for model in (dense, mixture)] == [False, False]
    together = spec(parallel={"data": 4}, engine={"name": "sglang", "enable_dp_attention": True})
    assert describe_data(together, mixture)["in_step"]
    assert describe_data(vllm, mixture)["balance"] == {"kind": "score", "interval_ps": 100 * PS_PER_MS}
    assert describe_data(vllm, mixture)["sync_passes"] == 32
    assert describe_data(together, mixture)["balance"] == {"kind": "round_robin"}
    assert (ranks(vllm, dense).data, ranks(vllm, mixture).data) == (1, 4)


def test_what_a_gpu_holds_of_a_mixture() -> None:
    model = MODELS["deepseek-v3"]
    whole = weight_bytes(model, model.stored, Ranks())
    assert whole == model.weight_bytes()
    experts = model.part_bytes()["experts"]
    data = weight_bytes(model, model.stored, Ranks(data=8, expert=8))
    # All but the experts is held by each data rank; an eighth of the experts.
    assert data == pytest.approx(whole - experts + experts / 8, rel=1e-6)
    assert weight_bytes(model, model.stored, Ranks(data=8)) == pytest.approx(data, rel=1e-6), "in slices as much"
    assert cache_bytes(model, BF16, Ranks(data=8)) == model.cache_bytes(1, BF16)
    # Two stages of 61 layers: 31, and the head; a token's cache in 31 layers.
    staged = weight_bytes(model, model.stored, Ranks(tensor=8, pipeline=2))
    one = weight_bytes(model, model.stored, Ranks(tensor=8))
    head = 2 * model.head.rank_elements(8)
    assert staged == pytest.approx((one - 2 * head) * 31 / 61 + head, rel=1e-6)
    assert cache_bytes(model, BF16, Ranks(pipeline=2)) == 31 * 576 * 2


def test_sglang_divides_its_limits_among_ranks_in_step() -> None:
    engine = {"name": "sglang", "chunked_prefill_size": 8192, "max_running_requests": 800, "max_total_tokens": 200_000}
    apart = resolve_engine(spec(**DEEPSEEK, parallel={"data": 8}, engine=engine)).options
    together = resolve_engine(
        spec(**DEEPSEEK, parallel={"data": 8}, engine=engine | {"enable_dp_attention": True})
    ).options
    limits = ("chunked_prefill_size", "max_running_requests", "schedule_conservativeness")
    assert [apart[name] for name in limits] == [8192, 800, 1.0]
    assert [together[name] for name in limits] == [1024, 100, 0.3]


def test_gpus_and_blocks_are_counted() -> None:
    from servetwin.describe import resolve

    given = spec(
        **DEEPSEEK,
        replicas=2,
        parallel={"data": 8, "expert": 8},
        timing="polynomial",
        engine={"num_gpu_blocks": 20_000},
    )
    assert given.gpus == 16
    options = summary_options(given, resolve(given))
    assert (options["gpus"], options["kv_blocks"]) == (16, 2 * 8 * 20_000)
