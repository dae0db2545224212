"""KV capacity, held against what engines logged at start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from servetwin.catalog import FORMATS, GPUS, MODELS, Model, Ranks, Stored, memory, resolve_engine
from servetwin.catalog.layers import Dense, GroupedAttention, Layer
from servetwin.catalog.memory import GRAPH_BYTES, activation_bytes
from servetwin.catalog.sglang import distributed_bytes
from servetwin.errors import SpecError
from servetwin.spec import make_spec
from servetwin.timing import timing_model

BF16, FP8 = FORMATS["bf16"], FORMATS["fp8"]

# Qwen/Qwen2.5-1.5B-Instruct
QWEN = Model("qwen2.5-1.5b", 1536, 151936, 32768, (Layer(28, GroupedAttention(12, 2, 128, 128), Dense(8960)),), True)


@pytest.mark.parametrize(
    ("model", "gpu", "budget", "rows", "graphs", "measured"),
    [
        # vLLM 0.19.0, recorded.
        (MODELS["llama-3.1-8b"], "rtx4090", 2048, 256, True, 41_408),
        # vLLM 0.19.1 and, with enforce_eager, 0.15.1: public logs.
        (QWEN, "h200", 8192, 1024, True, 4_513_888),
        (MODELS["llama-3.1-8b"], "a100-40g", 8192, 256, False, 157_936),
    ],
)
def test_capacities_are_those_that_engines_logged(
    model: Model, gpu: str, budget: int, rows: int, graphs: bool, measured: int
) -> None:
    room = memory(
        model,
        GPUS[gpu],
        ranks=Ranks(tensor=1),
        utilization=0.9,
        stored=Stored(),
        kv=BF16,
        budget_tokens=budget,
        sequences=rows,
    )
    left = room.kv if graphs else room.kv + GRAPH_BYTES
    assert left // room.kv_per_token == pytest.approx(measured, rel=0.003)


def resolved(options: dict[str, Any]) -> Any:
    return resolve_engine(make_spec(options))


def test_each_engine_goes_by_its_own_option() -> None:
    base = {"model": "deepseek-v3", "gpu": "h200", "parallel": {"tensor": 8}}
    weights = MODELS["deepseek-v3"].weight_bytes(tensor=8)
    total = GPUS["h200"].memory_bytes
    vllm = resolved({**base, "engine": {"max_model_len": 8192, "gpu_memory_utilization": 0.8}}).memory
    assert (vllm.weights, vllm.usable) == (weights, int(total * 0.8))
    assert vllm.kv == vllm.usable - weights - vllm.activations - vllm.runtime
    sglang = resolved({**base, "engine": {"name": "sglang", "mem_fraction_static": 0.8}}).memory
    assert sglang.kv == int((total - 2**29 - distributed_bytes(8)) * 0.8) - weights
    share = {"name": "trtllm", "kv_cache_config": {"free_gpu_memory_fraction": 0.8}}
    trtllm = resolved({**base, "engine": share}).memory
    assert trtllm.kv == int((total - weights - trtllm.activations - trtllm.runtime) * 0.8)
    # Every rank holds the whole latent.
    assert {vllm.kv_per_token, sglang.kv_per_token, trtllm.kv_per_token} == {61 * 576 * 2}


def test_activations_count_what_a_profiling_pass_holds() -> None:
    rows = 2 * 4 * 256 * 151936
    # A mixture: of each of eight experts an output (2,048 > 2 · 768) and a product.
    mixture = activation_bytes(MODELS["qwen3-30b-a3b"], ranks=Ranks(tensor=1), budget_tokens=1000, sequences=256)
    assert mixture == 2 * 1000 * (8 * (2048 + 768) + 4 * 2048) + rows
    # Keys and values made from a latent need a workspace, which sparse attention does not.
    dense, sparse = (
        activation_bytes(MODELS[name], ranks=Ranks(tensor=8), budget_tokens=1000, sequences=256)
        for name in ("deepseek-v3", "deepseek-v3.2")
    )
    assert dense - sparse == 2 * 65_536 * (16 * 256 + 576)


def test_sglang_on_four_ranks_has_what_a_public_log_shows() -> None:
    """vllm-project/vllm#21348: 367,404 tokens. The ranks' buffers are the rest that makes it come out."""
    found = resolved(
        {
            "model": "qwen3-235b-a22b",
            "gpu": "h100",
            "parallel": {"tensor": 4},
            "engine": {"name": "sglang", "quantization": "fp8", "mem_fraction_static": 0.93},
        }
    )
    assert found.blocks * found.block_tokens == pytest.approx(367_404, rel=0.001)


CHECKPOINT = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 8192,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}


def checkpoint(folder: Path, **more: Any) -> str:
    (folder / "config.json").write_text(json.dumps(CHECKPOINT | more))
    return str(folder / "config.json")


def test_a_quantised_checkpoint_brings_its_formats(tmp_path: Path) -> None:
    scheme = {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}
    model = checkpoint(tmp_path, quantization_config=scheme)
    engine = resolved({"model": model, "gpu": "h100"})
    assert (engine.stored, engine.kv) == (Stored.alike(FP8, kv=FP8), FP8)
    # Asking for what it is already changes nothing.
    again = resolved({"model": model, "gpu": "h100", "engine": {"quantization": "fp8"}})
    assert again.blocks == engine.blocks
    plain = resolved({"model": "llama-3.1-8b", "gpu": "h100", "engine": {"max_model_len": 8192}})
    assert engine.memory.weights < plain.memory.weights
    assert engine.memory.kv_per_token * 2 == plain.memory.kv_per_token


def test_a_checkpoint_is_not_quantised_twice(tmp_path: Path) -> None:
    model = checkpoint(tmp_path, quantization_config={"quant_method": "awq", "bits": 4, "group_size": 128})
    assert resolved({"model": model, "gpu": "h100"}).stored.mlp.name == "int4"
    with pytest.raises(SpecError, match="quantised in its own way") as caught:
        resolved({"model": model, "gpu": "h100", "engine": {"quantization": "fp8"}})
    assert caught.value.field == "engine.quantization"


def test_what_is_not_counted_needs_the_size_of_the_cache(tmp_path: Path) -> None:
    model = checkpoint(tmp_path, architectures=["Qwen3VLForConditionalGeneration"], vision_config={"depth": 27})
    with pytest.raises(SpecError, match="vision tower") as caught:
        resolved({"model": model, "gpu": "h100"})
    assert caught.value.wanted == "engine.num_gpu_blocks, as the engine logs it at start"
    assert resolved({"model": model, "gpu": "h100", "engine": {"num_gpu_blocks": 9000}}).blocks == 9000


@pytest.mark.parametrize("name", ["deepseek-v3", "qwen3-235b-a22b"])
def test_pass_times_without_a_basis_are_refused(name: str) -> None:
    options: dict[str, Any] = {
        "model": name,
        "gpu": "mi300x",
        "parallel": {"tensor": 8},
        "engine": {"max_model_len": 8192},
    }
    spec = make_spec(options)
    with pytest.raises(SpecError, match="nothing was measured on AMD") as caught:
        timing_model(spec, resolve_engine(spec))
    assert caught.value.field == "timing"
    own = make_spec({**options, "timing": {"kind": "linear", "base_ms": 20}})
    timing_model(own, resolve_engine(own))
