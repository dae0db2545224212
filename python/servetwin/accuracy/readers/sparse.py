"""Mixtures, latent, sparse and compressed attention, gated delta layers: of vLLM's kernels and modules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...catalog import FORMATS, MODELS, Gpu
from ...catalog.layers import CompressedAttention, Experts, GatedDelta, LatentAttention
from ...timing.operators import Load, convolution, decode_module, delta_rule, experts, prompt_module
from ...timing.operators.module import Module
from .base import Row, Timing, fifth, timing
from .dense import CACHES, GEMM_TYPES

EXPERT_TYPES = {
    "bfloat16": "bf16",
    "fp8": "fp8",
    "fp8_block": "fp8_block",
    "nvfp4": "nvfp4",
    "w4a16_mxfp4": "mxfp4",
    "w4a8_mxfp4_mxfp8": "mxfp4_mxfp8",
    "int4_wo": "int4",
}
"""Of weights, and of activations where those of one format are multiplied with several."""
SKEWS = {"balanced": 0.0, "power_law_1.01": 1.01, "power_law_1.2": 1.2}

MODULES = {
    "deepseek-ai/DeepSeek-V3": "deepseek-v3",
    "deepseek-ai/DeepSeek-V3.2": "deepseek-v3.2",
    "zai-org/GLM-5": "glm-5",
    "sgl-project/DeepSeek-V4-Flash-FP8": "deepseek-v4-flash",
    "sgl-project/DeepSeek-V4-Pro-FP8": "deepseek-v4-pro",
    "deepseek-ai/DeepSeek-V4-Pro": "deepseek-v4-pro",
}


def read_experts(gpu: Gpu, row: Row) -> Timing | None:
    """Balanced loads over several ranks are left out: those timings do not follow the rows of a rank."""
    kind, skew, ranks = EXPERT_TYPES.get(row["moe_dtype"]), SKEWS.get(row["distribution"]), int(row["moe_ep_size"])
    if kind is None or skew is None or (skew == 0 and ranks > 1):
        return None
    if kind == "mxfp4" and "compressedtensors" in row["kernel_source"]:
        # One model's stopgap, several times slower than the kernels of the others.
        return None
    count, active, tokens = int(row["num_experts"]), int(row["topk"]), int(row["num_tokens"])
    hidden, inner = int(row["hidden_size"]), int(row["inter_size"]) // int(row["moe_tp_size"])
    mlp = Experts(count, active, inner)
    return timing(
        gpu,
        kind,
        lambda one: experts(one, FORMATS[kind.removesuffix("_mxfp8")], hidden, mlp, inner, ranks, tokens, skew),
        row,
        fifth(hidden, inner, count, ranks, active),
    )


SLOW_LATENT = ("h100", "h200", "b300", "gb200")
"""Where vLLM's table has latent modules that take 1.6 to 1.7 times as long as on the twins of the last two (B200 and
GB300, on which it agrees with TensorRT-LLM's within 3 %), and 1.3 to 1.6 times as long as TensorRT-LLM's on Hopper.
Runs of none of the engines on these GPUs are as slow."""


def latent_reader(prompt: bool, slow: bool) -> Callable[[Gpu, Row], Timing | None]:
    """Of latent modules on those GPUs alone, or on all others."""
    read = module_reader(prompt)
    return lambda gpu, row: read(gpu, row) if (gpu.name in SLOW_LATENT) == slow else None


def module_reader(
    prompt: bool, ratio: int | None = None, tokens_within: tuple[int, int] = (1, 2**31)
) -> Callable[[Gpu, Row], Timing | None]:
    """Of modules of prompts or of decodes, of passes with as many tokens; `ratio` of compressed attention."""

    def read(gpu: Gpu, row: Row) -> Timing | None:
        name, kind, kv = MODULES.get(row["model"]), GEMM_TYPES.get(row["gemm_type"]), CACHES.get(row["kv_cache_dtype"])
        if name is None or kind is None or kv is None:
            return None
        heads, rows, past = int(row["num_heads"]), int(row["batch_size"]), int(row["step"])
        tokens = int(row["isl"])
        if not tokens_within[0] <= rows * tokens <= tokens_within[1]:
            return None
        module, hidden = _module(name, heads, ratio), MODELS[name].hidden
        stored, cache = FORMATS[kind], FORMATS[kv]

        def on(one: Gpu) -> Load:
            if prompt:
                return prompt_module(one, module, hidden, stored, cache, rows, tokens, past)
            return decode_module(one, module, hidden, stored, cache, rows, past + 1)

        return timing(gpu, kind, on, row, fifth(heads, past if not prompt else tokens, hidden))

    return read


def _module(name: str, heads: int, ratio: int | None) -> Module:
    """As one rank has it, with so many heads."""
    for layer in MODELS[name].stack:
        mixer = layer.mixer
        if isinstance(mixer, LatentAttention):
            # More than the model has were measured as well.
            return replace(mixer, heads=heads)
        if isinstance(mixer, CompressedAttention) and mixer.ratio == ratio:
            return mixer.shared(mixer.heads // heads)
    raise AssertionError(name)


def read_delta(gpu: Gpu, row: Row) -> Timing | None:
    key_heads, value_heads = int(row["num_k_heads"]), int(row["num_v_heads"])
    delta = GatedDelta(
        key_heads, value_heads, int(row["head_k_dim"]), int(row["head_v_dim"]), int(row["d_conv"]), FORMATS["bf16"]
    )
    rows, tokens = int(row["batch_size"]), int(row["seq_len"])
    before = row["kernel_source"].startswith("causal_conv1d")
    when = "prompt" if row["phase"] == "context" else "decode"
    if when == "decode":
        tokens = 1
    load = convolution if before else delta_rule
    return timing(
        gpu,
        f"{when}_{'convolution' if before else 'rule'}",
        lambda one: load(one, delta, rows, tokens),
        row,
        fifth(key_heads, value_heads, tokens if when == "prompt" else rows),
    )
