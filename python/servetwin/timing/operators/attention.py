"""Grouped-query attention: what it asks of a GPU."""

from __future__ import annotations

from math import ceil, log

from ...catalog import Gpu
from ...catalog.formats import Format
from .load import TILE, Load, idle


def attention_kind(window: int | None) -> str:
    """Of the curves: kernels of windows are others."""
    return "bf16" if window is None else "window"


def prefill_attention(
    gpu: Gpu,
    rows: int,
    tokens: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    kv: Format,
    window: int | None = None,
) -> Load:
    """Causal attention of `rows` prompts of `tokens` tokens to themselves, in bfloat16; the cache in `kv`."""
    seen = tokens if window is None else min(tokens, window)
    # Pairs of tokens: a triangle, or a band of the window's width that starts with one.
    pairs = tokens * seen - seen**2 / 2
    compute = 4 * rows * heads * head_dim * pairs / gpu.bf16_flops
    memory = 2 * rows * tokens * (2 * heads + 2 * kv_heads) * head_dim / gpu.memory_bytes_per_s
    size, dim = log(max(compute, memory) / 1e-5), log(head_dim / 128)
    waves = rows * heads * ceil(tokens / TILE) / gpu.processors
    narrow = log(tokens / seen)
    corrections = (
        *(dim, dim**2, dim * size, log(float(kv.bits) / 16)),
        idle(waves),
        log(ceil(tokens / TILE) * TILE / tokens),
        min(log(waves), 0.0),
        max(log(compute / memory), 0.0),
        *(narrow, narrow**2, narrow * size),
    )
    return Load(compute, memory, (size, log(waves), log(tokens / 1024), log(heads / kv_heads)), corrections)


def decode_attention(
    gpu: Gpu,
    rows: int,
    context: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    kv: Format,
    window: int | None = None,
) -> Load:
    """Attention of one new token of each of `rows` requests to `context` tokens; the cache in `kv`."""
    seen = context if window is None else min(context, window)
    compute = 4 * rows * heads * head_dim * seen / gpu.bf16_flops
    cached = kv.size(rows * seen * 2 * kv_heads * head_dim)
    memory = (cached + 4 * rows * heads * head_dim) / gpu.memory_bytes_per_s
    size, dim = log(max(compute, memory) / 1e-5), log(head_dim / 128)
    waves = rows * kv_heads / gpu.processors
    narrow = log(context / seen)
    corrections = (
        *(dim, dim**2, dim * size, log(float(kv.bits) / 16)),
        idle(waves),
        min(log(waves), 0.0),
        max(log(seen / 1024), 0.0),
        log(max(heads / kv_heads / 8, 1)),
        *(narrow, narrow**2, narrow * size),
    )
    return Load(compute, memory, (size, log(waves), log(seen / 1024), log(heads / kv_heads)), corrections)
