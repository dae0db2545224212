"""Memory and KV capacity, and what vLLM would refuse at start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from servetwin.catalog import FORMATS, GPUS, MODELS, Ranks, Stored, memory, read_config, resolve_engine
from servetwin.errors import InputError, SpecError
from servetwin.spec import make_spec
from servetwin.timing import timing_model

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}


def problem(options: dict[str, Any]) -> SpecError:
    with pytest.raises(SpecError) as caught:
        resolve_engine(make_spec(options))
    return caught.value


@pytest.mark.parametrize(("name", "billions"), [("llama-3.1-8b", 8.03), ("llama-3.1-70b", 70.55), ("qwen3-32b", 32.76)])
def test_parameters_are_those_on_the_model_card(name: str, billions: float) -> None:
    assert MODELS[name].parameters / 1e9 == pytest.approx(billions, abs=0.01)


def test_recorded_block_count_comes_out() -> None:
    """vLLM 0.19.0 on an RTX 4090: 2,588 blocks."""
    options = {
        "model": "meta-llama/Llama-3.1-8B",
        "gpu": "rtx4090",
        "engine": {"version": "0.19", "max_num_seqs": 256, "max_num_batched_tokens": 2048, "max_model_len": 32768},
    }
    assert resolve_engine(make_spec(options)).blocks == 2588


@pytest.mark.parametrize(
    ("gpu", "sequences", "budget"),
    [("h100", 1024, 8192), ("h200", 1024, 8192), ("a100", 256, 2048), ("rtx4090", 256, 2048)],
)
def test_defaults_are_those_of_vllm_serve(gpu: str, sequences: int, budget: int) -> None:
    engine = resolve_engine(make_spec({"model": "llama-3.1-8b", "gpu": gpu, "engine": {"max_model_len": 8192}}))
    assert (engine.rows, engine.pass_tokens) == (sequences, budget)
    assert engine.options["async_scheduling"]


def test_without_chunked_prefill_the_budget_holds_the_longest_prompt() -> None:
    engine = resolve_engine(
        make_spec({"model": "llama-3.1-8b", "gpu": "h100", "engine": {"enable_chunked_prefill": False}})
    )
    assert engine.pass_tokens == 131072


def test_given_blocks_supersede_model_and_gpu() -> None:
    engine = resolve_engine(make_spec({"engine": {"num_gpu_blocks": 7, "max_model_len": 10_000}}))
    assert (engine.blocks, engine.memory) == (7, None)


def test_what_does_not_fit_is_refused_with_the_arithmetic() -> None:
    error = problem({"model": "llama-3.1-70b", "gpu": "h100"})
    assert "131.41 GiB weights" in error.message
    error = problem({"model": "llama-3.1-8b", "gpu": "rtx4090"})
    assert error.field == "engine.max_model_len"
    assert "room for" in error.message


def test_ranks_share_weights_and_cache() -> None:
    one, eight, sixteen = (
        memory(
            MODELS["llama-3.1-70b"],
            GPUS["h200"],
            ranks=Ranks(tensor=tensor),
            utilization=0.9,
            stored=Stored(),
            kv=FORMATS["bf16"],
            budget_tokens=2048,
            sequences=256,
        )
        for tensor in (1, 8, 16)
    )
    assert one.weights // 8 == eight.weights
    assert one.kv_per_token == 8 * eight.kv_per_token
    # There are eight key-value heads: sixteen ranks store each twice.
    assert sixteen.kv_per_token == eight.kv_per_token


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"model": "gpt-5", "gpu": "h100"}, "model"),
        ({"model": "llama-3.1-8b", "gpu": "b100"}, "gpu"),
        ({"model": "deepseek-v4-pro", "gpu": "b300"}, "model"),
        ({"model": "gpt-oss-120b", "gpu": "h200", "engine": {"version": "0.19"}}, "engine.enable_prefix_caching"),
        ({"model": "deepseek-v3", "gpu": "h200"}, "model"),
        ({"model": "qwen3-30b-a3b", "gpu": "h200", "parallel": {"tensor": 512}}, "parallel.tensor"),
        ({"model": "deepseek-v3", "gpu": "b300", "parallel": {"tensor": 256}}, "parallel.tensor"),
        ({"model": "qwen3.5-27b", "gpu": "h200"}, "model"),
        ({"gpu": "h100"}, "model"),
        ({"model": "llama-3.1-8b"}, "gpu"),
        ({"model": "./nowhere.json", "gpu": "h100"}, "model"),
        ({"model": "llama-3.1-8b", "gpu": "h100", "parallel": {"tensor": 3}}, "parallel.tensor"),
        ({"model": "qwen3-32b", "gpu": "h200", "engine": {"max_model_len": 40961}}, "engine.max_model_len"),
        ({"model": "llama-3.1-8b", "gpu": "a100", "engine": {"quantization": "fp8"}}, "engine.quantization"),
        (
            {"engine": {"num_gpu_blocks": 9, "max_model_len": 99, "max_num_seqs": 5, "max_num_batched_tokens": 4}},
            "engine.max_num_batched_tokens",
        ),
        (
            {
                "engine": {
                    "num_gpu_blocks": 9,
                    "max_model_len": 9999,
                    "enable_chunked_prefill": False,
                    "max_num_batched_tokens": 512,
                    "max_num_seqs": 4,
                }
            },
            "engine.max_num_batched_tokens",
        ),
    ],
)
def test_what_cannot_run_is_refused_by_field(options: dict[str, Any], field: str) -> None:
    assert problem(options).field == field


def test_an_unknown_model_names_the_known() -> None:
    error = problem({"model": "llama-3.1-9b", "gpu": "h100"})
    assert "did you mean llama-3.1-8b?" in error.message
    assert "qwen3-32b" in str(error.wanted)


def test_config_json_gives_the_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    model = read_config(tmp_path)
    assert model.parameters == MODELS["llama-3.1-8b"].parameters
    assert model.stack == MODELS["llama-3.1-8b"].stack


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "architectures"),
        ({"architectures": None}, "architectures"),
        ({"torch_dtype": "float32"}, "torch_dtype"),
        ({"hidden_size": "4096"}, "hidden_size"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"num_hidden_layers": None}, "num_hidden_layers"),
        ({"num_key_value_heads": 5}, "num_key_value_heads"),
        ({"num_attention_heads": 24}, "head_dim"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings"),
    ],
)
def test_config_json_is_read_strictly(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG | change))
    with pytest.raises(InputError) as caught:
        read_config(file)
    assert caught.value.field == field


def test_malformed_config_json_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{\n"hidden_size": \n}')
    with pytest.raises(InputError) as caught:
        read_config(file)
    assert caught.value.line == 3


@pytest.mark.parametrize("name", ["h100", "H100_SXM", "NVIDIA H100-SXM", "nvidia_h100"])
def test_gpu_names_are_read_leniently(name: str) -> None:
    spec = make_spec({"model": "llama-3.1-8b", "gpu": name})
    assert resolve_engine(spec).gpu == GPUS["h100"]


def test_rates_fall_back_to_those_of_16_bits() -> None:
    assert GPUS["a100-80g"].flops("fp8") == GPUS["a100-80g"].bf16_flops
    assert GPUS["h100"].flops("fp4") == GPUS["h100"].bf16_flops
    assert GPUS["b200"].flops("fp4") == 4 * GPUS["b200"].bf16_flops


def test_gpus_are_possible() -> None:
    for gpu in GPUS.values():
        assert 20 < gpu.memory_bytes / 2**30 < 300
        assert not gpu.fp8_flops or gpu.fp8_flops == pytest.approx(2 * gpu.bf16_flops, rel=0.02)
        assert gpu.link.bytes_per_s < gpu.memory_bytes_per_s
        assert gpu.large_batches == (gpu.memory_bytes >= 70 * 2**30 and not gpu.name.startswith("a100"))
        assert gpu.price is None or (0.1 < gpu.price.usd < 20 and gpu.price.date > "2026")


@pytest.mark.parametrize(
    ("gpu", "tensor", "fits"), [("h100-pcie", 2, True), ("h100-pcie", 4, False), ("gb200", 16, True)]
)
def test_tensor_parallelism_stays_within_the_links(gpu: str, tensor: int, fits: bool) -> None:
    spec = make_spec(
        {
            "model": "llama-3.1-405b",
            "gpu": gpu,
            "parallel": {"tensor": tensor},
            "engine": {"num_gpu_blocks": 9999, "max_model_len": 8192},
        }
    )
    engine = resolve_engine(spec)
    if fits:
        timing_model(spec, engine)
    else:
        with pytest.raises(SpecError, match="NVLink bridge"):
            timing_model(spec, engine)
