"""Gated delta layers: the convolution before the rule, and the rule itself, of prompts and of decodes."""

from __future__ import annotations

from math import log

from ...catalog import Gpu
from ...catalog.layers import GatedDelta
from .load import Load


def convolution(gpu: Gpu, delta: GatedDelta, rows: int, tokens: int) -> Load:
    """Over the queries, keys and values of `tokens` new tokens of each of `rows` requests."""
    width = delta.convolved
    moved = 2 * rows * width * (2 * tokens + 2 * (delta.convolution - 1))
    return _load(gpu, delta, rows, tokens, 2 * rows * tokens * width * delta.convolution, moved)


def delta_rule(gpu: Gpu, delta: GatedDelta, rows: int, tokens: int) -> Load:
    """State of every request read and written once; tokens in between in chunks."""
    state = delta.state.size(delta.value_heads * delta.key_dim * delta.value_dim)
    moved = rows * (2 * state + 2 * tokens * (delta.convolved + delta.value_heads * delta.value_dim))
    return _load(gpu, delta, rows, tokens, rows * tokens * delta.flops(0), moved)


def _load(gpu: Gpu, delta: GatedDelta, rows: int, tokens: int, flops: float, moved: float) -> Load:
    compute, memory = flops / gpu.bf16_flops, moved / gpu.memory_bytes_per_s
    size = log(max(compute, memory) / 1e-5)
    heads, group = log(delta.value_heads / 16), log(delta.value_heads / delta.key_heads)
    return Load(
        compute,
        memory,
        (size, log(rows), log(tokens), heads),
        (group, group**2, group * size, min(log(rows * delta.value_heads / gpu.processors), 0.0)),
    )
