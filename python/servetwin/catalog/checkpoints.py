"""Quantised checkpoints by name, as their makers publish them: the model's sizes, other formats.

Formats are those of `quantization_config` in the config.json, or hf_quant_config.json, under the name in the comment.
"""

from __future__ import annotations

from dataclasses import replace

from .formats import FORMATS
from .models import Model, Stored
from .named import MODELS

_BLOCK, _FP4, _BF16 = FORMATS["fp8_block"], FORMATS["nvfp4"], FORMATS["bf16"]
_FP8_CACHE = FORMATS["fp8"]
_EIGHT = Stored.alike(FORMATS["fp8"], kv=_FP8_CACHE)
_BLOCKS = Stored.alike(_BLOCK)
_FOUR = Stored.alike(_FP4, kv=_FP8_CACHE)
_FOUR_BUT_ATTENTION = replace(_FOUR, attention=_BF16)


def _checkpoint(model: str, suffix: str, stored: Stored) -> Model:
    return replace(MODELS[model], name=f"{model}-{suffix}", stored=stored)


CHECKPOINTS = {
    model.name: model
    for model in (
        # nvidia/Llama-3.1-8B-Instruct-FP8, -70B-Instruct-FP8; Llama-3.3-70B-Instruct-NVFP4
        _checkpoint("llama-3.1-8b", "fp8", _EIGHT),
        _checkpoint("llama-3.1-70b", "fp8", _EIGHT),
        _checkpoint("llama-3.1-70b", "nvfp4", _FOUR),
        # Qwen/Qwen3-32B-FP8, Qwen3-32B-FP8-Static-PerTensor, nvidia/Qwen3-32B-NVFP4, Qwen/Qwen3-235B-A22B-FP8
        _checkpoint("qwen3-32b", "fp8", _BLOCKS),
        _checkpoint("qwen3-32b", "fp8-static-pertensor", _EIGHT),
        _checkpoint("qwen3-32b", "nvfp4", _FOUR),
        _checkpoint("qwen3-235b-a22b", "fp8", _BLOCKS),
        # nvidia/DeepSeek-R1-NVFP4, DeepSeek-V3.1-NVFP4
        _checkpoint("deepseek-r1", "nvfp4", _FOUR),
        _checkpoint("deepseek-v3", "nvfp4", _FOUR),
        # nvidia/Kimi-K2.5-NVFP4, nvidia/MiniMax-M2.5-NVFP4
        _checkpoint("kimi-k2.5", "nvfp4", _FOUR_BUT_ATTENTION),
        _checkpoint("minimax-m2.5", "nvfp4", _FOUR_BUT_ATTENTION),
        # zai-org/GLM-5-FP8, nvidia/GLM-5-NVFP4
        _checkpoint("glm-5", "fp8", _BLOCKS),
        _checkpoint("glm-5", "nvfp4", _FOUR_BUT_ATTENTION),
        # Qwen/Qwen3.5-397B-A17B-FP8, nvidia/Qwen3.5-397B-A17B-NVFP4
        _checkpoint("qwen3.5-397b-a17b", "fp8", _BLOCKS),
        _checkpoint("qwen3.5-397b-a17b", "nvfp4", replace(_FOUR_BUT_ATTENTION, shared_experts=_BF16)),
    )
}
