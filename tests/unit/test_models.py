"""Models by name and from config.json, and what follows from their sizes."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.catalog import FORMATS, MODELS, Model, Stored, read_config
from servetwin.errors import InputError
from servetwin.units import GIB

BF16, FP8 = FORMATS["bf16"], FORMATS["fp8"]

DENSE = {
    "architectures": ["Qwen3ForCausalLM"],
    "hidden_size": 5120,
    "intermediate_size": 25600,
    "max_position_embeddings": 40960,
    "num_attention_heads": 64,
    "num_hidden_layers": 64,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
}
MIXTURE = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "max_position_embeddings": 40960,
    "num_attention_heads": 32,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 151936,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
    "decoder_sparse_step": 1,
}
LATENT = {
    "architectures": ["DeepseekV32ForCausalLM"],
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "max_position_embeddings": 163840,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "num_hidden_layers": 61,
    "vocab_size": 129280,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "index_n_heads": 64,
    "index_head_dim": 128,
    "index_topk": 2048,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "n_shared_experts": 1,
    "moe_intermediate_size": 2048,
    "first_k_dense_replace": 3,
    "num_nextn_predict_layers": 1,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}
COMPRESSED = {
    "architectures": ["DeepseekV4ForCausalLM"],
    "hidden_size": 7168,
    "max_position_embeddings": 1048576,
    "num_attention_heads": 128,
    "num_hidden_layers": 61,
    "vocab_size": 129280,
    "head_dim": 512,
    "qk_rope_head_dim": 64,
    "q_lora_rank": 1536,
    "o_groups": 16,
    "o_lora_rank": 1024,
    "sliding_window": 128,
    "index_n_heads": 64,
    "index_head_dim": 128,
    "index_topk": 1024,
    "compress_ratios": [128, 128] + [4, 128] * 29 + [4, 0],
    "hc_mult": 4,
    "n_routed_experts": 384,
    "num_experts_per_tok": 6,
    "n_shared_experts": 1,
    "moe_intermediate_size": 3072,
    "num_nextn_predict_layers": 1,
    "expert_dtype": "fp4",
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}
HYBRID = {
    "architectures": ["Qwen3_5MoeForConditionalGeneration"],
    "vision_config": {"depth": 27},
    "text_config": {
        "hidden_size": 4096,
        "max_position_embeddings": 262144,
        "num_attention_heads": 32,
        "num_key_value_heads": 2,
        "head_dim": 256,
        "num_hidden_layers": 60,
        "vocab_size": 248320,
        "attn_output_gate": True,
        "full_attention_interval": 4,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 64,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_conv_kernel_dim": 4,
        "mamba_ssm_dtype": "float32",
        "num_experts": 512,
        "num_experts_per_tok": 10,
        "moe_intermediate_size": 1024,
        "shared_expert_intermediate_size": 1024,
        "mtp_num_hidden_layers": 1,
    },
}
WINDOWS = {
    "architectures": ["GptOssForCausalLM"],
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "max_position_embeddings": 131072,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "num_hidden_layers": 36,
    "vocab_size": 201088,
    "num_local_experts": 128,
    "num_experts_per_tok": 4,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 18,
    "quantization_config": {
        "quant_method": "mxfp4",
        "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"],
    },
}
CONFIGS = {
    "qwen3-32b": DENSE,
    "qwen3-30b-a3b": MIXTURE,
    "deepseek-v3.2": LATENT,
    "deepseek-v4-pro": COMPRESSED,
    "qwen3.5-397b-a17b": HYBRID,
    "gpt-oss-120b": WINDOWS,
}


def read(tmp_path: Path, config: dict[str, Any]) -> Model:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return read_config(tmp_path)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_of_each_family_is_the_model_of_that_name(tmp_path: Path, name: str) -> None:
    model, known = read(tmp_path, CONFIGS[name]), MODELS[name]
    assert (model.stack, model.mtp, model.stored) == (known.stack, known.mtp, known.stored)
    assert (model.parameters, model.max_positions, model.left_out) == (
        known.parameters,
        known.max_positions,
        known.left_out,
    )


@pytest.mark.parametrize(
    ("name", "billions", "used"),
    [
        # Of the model cards; those used a token count the head and not the embedding.
        ("llama-3.1-405b", 405.9, 403.8),
        ("mixtral-8x7b", 46.7, 12.7),
        ("qwen3-30b-a3b", 30.5, 3.0),
        ("qwen3-235b-a22b", 235.1, 21.6),
        ("qwen3-coder-480b-a35b", 480.2, 34.5),
        ("gpt-oss-20b", 20.9, 3.6),
        ("gpt-oss-120b", 116.8, 5.1),
        ("minimax-m2.5", 228.7, 10.4),
        ("deepseek-v3", 671.0, 36.6),
        ("kimi-k2", 1026.4, 31.7),
        ("glm-5", 743.9, 40.8),
        ("deepseek-v4-flash", 284.3, 13.3),
        ("deepseek-v4-pro", 1573.0, 48.8),
        ("qwen3.5-27b", 26.9, 25.6),
        ("qwen3.5-397b-a17b", 396.3, 16.3),
    ],
)
def test_parameters_are_those_of_the_model_card(name: str, billions: float, used: float) -> None:
    model = MODELS[{"mixtral-8x7b": "mixtral-8x7b-v0.1"}.get(name, name)]
    assert model.parameters / 1e9 == pytest.approx(billions, abs=0.06)
    assert model.active_parameters / 1e9 == pytest.approx(used, abs=0.06)


def test_caches_are_as_their_makers_and_engines_state_them() -> None:
    # DeepSeek V3: 576 numbers a layer. V3.2 in FP8: 656 bytes and 132 of index a layer (vLLM's fp8_ds_mla).
    assert MODELS["deepseek-v3"].cache_bytes(1, BF16) == 61 * 576 * 2
    assert MODELS["deepseek-v3.2"].cache_bytes(1, FP8) == 61 * (656 + 132)
    # DeepSeek V4 Pro: 9.62 GiB at 1M tokens in 16 bits, by vLLM; in FP8 584 bytes an entry.
    pro = MODELS["deepseek-v4-pro"]
    assert pro.cache_bytes(2**20, BF16) / GIB == pytest.approx(9.62, abs=0.02)
    assert pro.cache_bytes(8192, FP8) == 61 * 128 * 584 + 30 * 2048 * (584 + 132) + 31 * 64 * 584
    # Every other layer of gpt-oss holds 128 tokens at most.
    oss = MODELS["gpt-oss-120b"]
    assert oss.cache_bytes(10_000, BF16) == 18 * (10_000 + 128) * 2 * 8 * 64 * 2
    # Gated delta layers hold as much for one token as for a million.
    hybrid = MODELS["qwen3.5-397b-a17b"]
    assert hybrid.cache_bytes(2, BF16) - hybrid.cache_bytes(1, BF16) == 15 * 2 * 2 * 256 * 2


@given(
    name=st.sampled_from(sorted(MODELS)),
    context=st.integers(1, 2**20),
    more=st.integers(0, 4096),
    tensor=st.sampled_from([1, 2, 4, 8, 16]),
    kv=st.sampled_from([BF16, FP8]),
)
def test_more_context_holds_no_less_and_ranks_together_hold_everything(
    name: str, context: int, more: int, tensor: int, kv: Any
) -> None:
    model = MODELS[name]
    assert model.cache_bytes(context, kv) <= model.cache_bytes(context + more, kv)
    assert model.read_bytes(context, kv) <= model.cache_bytes(context, kv)
    assert model.flops(context) <= model.flops(context + more)
    assert tensor * model.cache_bytes(context, kv, tensor) >= model.cache_bytes(context, kv)
    assert model.cache_bytes(context, kv, tensor) <= model.cache_bytes(context, kv)
    assert tensor * model.weight_bytes(tensor=tensor) >= model.weight_bytes()
    assert model.weight_bytes(tensor=tensor) <= model.weight_bytes()
    assert model.token_weight_bytes() <= model.weight_bytes()
    assert model.active_parameters <= model.parameters


@pytest.mark.parametrize(
    ("config", "change", "field"),
    [
        (WINDOWS, {"layer_types": ["full_attention"] * 30}, "layer_types"),
        (WINDOWS, {"layer_types": ["chunked_attention"] * 36}, "layer_types"),
        (WINDOWS, {"num_experts_per_tok": None}, "num_experts_per_tok"),
        (LATENT, {"qk_rope_head_dim": None}, "qk_rope_head_dim"),
        (LATENT, {"index_n_heads": "64"}, "index_n_heads"),
        (LATENT, {"intermediate_size": None}, "intermediate_size"),
        (COMPRESSED, {"compress_ratios": [4] * 60}, "compress_ratios"),
        (COMPRESSED, {"compress_ratios": [8] * 61}, "compress_ratios"),
        (COMPRESSED, {"compress_ratios": 4}, "compress_ratios"),
        (
            HYBRID,
            {"text_config": {**HYBRID["text_config"], "linear_key_head_dim": 0}},
            "text_config.linear_key_head_dim",
        ),
        (HYBRID, {"text_config": {**HYBRID["text_config"], "mamba_ssm_dtype": "fp4"}}, "text_config.mamba_ssm_dtype"),
        (HYBRID, {"text_config": [1]}, "text_config"),
        (DENSE, {"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization_config.quant_method"),
        (DENSE, {"quantization_config": "fp8"}, "quantization_config"),
        (DENSE, {"quantization_config": {"quant_method": "awq", "bits": 3}}, "quantization_config.bits"),
        (DENSE, {"quantization_config": {"quant_method": "fp8", "ignore": "lm_head"}}, "quantization_config.ignore"),
        (DENSE, {"quantization_config": {"quant_method": "modelopt"}}, "quantization_config.quant_algo"),
        (DENSE, {"mamba_num_heads": 8}, "mamba_num_heads"),
        (DENSE, {"dtype": "float8"}, "torch_dtype"),
    ],
)
def test_what_is_truncated_or_exotic_is_refused_by_field(
    tmp_path: Path, config: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, config | change)
    assert caught.value.field == field


def test_a_config_cut_off_in_the_middle_names_its_line(tmp_path: Path) -> None:
    text = json.dumps(DENSE, indent=1)
    (tmp_path / "config.json").write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match="not JSON") as caught:
        read_config(tmp_path)
    assert caught.value.line is not None


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ({"quant_method": "fp8"}, ("fp8", "fp8", "fp8", "fp8", None)),
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, ("int4_g64",) * 4 + (None,)),
        ({"quant_method": "gptq", "bits": 8}, ("int8",) * 4 + (None,)),
        (
            {
                "quant_method": "modelopt",
                "quant_algo": "NVFP4",
                "ignore": [f"model.layers.{layer}.self_attn*" for layer in range(61)] + ["lm_head"],
                "kv_cache_scheme": {"num_bits": 8, "type": "float"},
            },
            ("bf16", "nvfp4", "nvfp4", "nvfp4", "fp8"),
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 32}}},
                "ignore": ["re:.*self_attn.*", "re:.*shared_experts.*", r"re:.*mlp\.(gate|up|down|gate_up)_proj.*"],
            },
            ("bf16", "bf16", "bf16", "int4_g32", None),
        ),
        (
            {
                "quant_method": "modelopt",
                "quant_algo": "MIXED_PRECISION",
                "quantized_layers": {
                    "model.layers.3.mlp.experts": {"quant_algo": "NVFP4"},
                    "model.layers.3.self_attn.o_proj": {"quant_algo": "FP8"},
                },
            },
            ("fp8", "bf16", "bf16", "nvfp4", None),
        ),
    ],
)
def test_quantisation_is_read_by_part(tmp_path: Path, written: dict[str, Any], names: tuple[str | None, ...]) -> None:
    stored = read(tmp_path, LATENT | {"quantization_config": written}).stored
    parts = (stored.attention, stored.mlp, stored.shared_experts, stored.experts, stored.kv)
    assert tuple(None if one is None else one.name for one in parts) == names


def test_quantisation_beside_the_config_counts(tmp_path: Path) -> None:
    quant = {"producer": {}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": []}}
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(quant))
    assert read(tmp_path, DENSE).stored == Stored.alike(FP8, kv=FP8)


def test_formats_count_their_scales() -> None:
    assert {name: one.bits for name, one in FORMATS.items() if "4" in name} == {
        "int4_g32": Fraction(9, 2),
        "int4_g64": Fraction(17, 4),
        "int4": Fraction(33, 8),
        "mxfp4": Fraction(17, 4),
        "nvfp4": Fraction(9, 2),
    }
    # 1,547 billion of DeepSeek V4 Pro's experts in MXFP4 are 822 GB.
    assert FORMATS["mxfp4"].size(1_547_000_000_000) == pytest.approx(822e9, rel=1e-3)
