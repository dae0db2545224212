"""Products and grouped-query attention, of vLLM's kernels."""

from __future__ import annotations

from ...catalog import FORMATS, Gpu
from ...timing.operators import attention_kind, decode_attention, gemm, prefill_attention
from .base import Row, Timing, fifth, timing

GEMM_TYPES = {"bfloat16": "bf16", "fp8": "fp8", "fp8_block": "fp8_block", "nvfp4": "nvfp4"}
CACHES = {"bfloat16": "bf16", "fp8": "fp8"}
LEAST = 256
"""Of n and k: smaller matrices are in no model's layers."""


SCATTERED = ("b200", "fp8")
"""Where the table of vLLM jumps by up to a factor of 2.5 from one size to the next, and SGLang's does not."""


def read_gemm(gpu: Gpu, row: Row) -> Timing | None:
    """Of all types but FP8 in blocks, where the table of vLLM times the launches: 57 µs on an H200 and 300 µs on a
    GB300 for products that take 10 µs inside its own modules; and but those where it scatters."""
    return None if row["gemm_dtype"] == "fp8_block" or _scattered(gpu, row) else _gemm(gpu, row)


def read_scattered(gpu: Gpu, row: Row) -> Timing | None:
    """Those alone where the table of vLLM scatters."""
    return _gemm(gpu, row) if _scattered(gpu, row) else None


def _scattered(gpu: Gpu, row: Row) -> bool:
    return (gpu.name, row["gemm_dtype"]) == SCATTERED


def read_blocks(gpu: Gpu, row: Row) -> Timing | None:
    """FP8 in blocks alone."""
    return _gemm(gpu, row) if row["gemm_dtype"] == "fp8_block" else None


def _gemm(gpu: Gpu, row: Row) -> Timing | None:
    kind = GEMM_TYPES.get(row["gemm_dtype"])
    m, n, k = int(row["m"]), int(row["n"]), int(row["k"])
    if kind is None or min(n, k) < LEAST:
        return None
    return timing(gpu, kind, lambda one: gemm(one, FORMATS[kind], m, n, k), row, fifth(n, k))


def _cache(row: Row) -> str | None:
    plain = row.get("attn_dtype", "bfloat16") == "bfloat16" and row["head_dim"] <= 256
    return CACHES.get(row["kv_cache_dtype"]) if plain else None


def read_prefill(gpu: Gpu, row: Row) -> Timing | None:
    kv, rows, tokens, heads = _cache(row), int(row["batch_size"]), int(row["isl"]), int(row["num_heads"])
    if kv is None or row.get("step"):
        return None
    kv_heads, dim, window = int(row["num_key_value_heads"]), int(row["head_dim"]), row.get("window_size") or None
    return timing(
        gpu,
        attention_kind(window),
        lambda one: prefill_attention(one, rows, tokens, heads, kv_heads, dim, FORMATS[kv], window),
        row,
        fifth(tokens, heads, kv_heads, dim),
    )


def read_decode(gpu: Gpu, row: Row) -> Timing | None:
    kv, rows, context, heads = _cache(row), int(row["batch_size"]), int(row["step"]) + 1, int(row["num_heads"])
    if kv is None:
        return None
    kv_heads, dim, window = int(row["num_key_value_heads"]), int(row["head_dim"]), row.get("window_size") or None
    return timing(
        gpu,
        attention_kind(window),
        lambda one: decode_attention(one, rows, context, heads, kv_heads, dim, FORMATS[kv], window),
        row,
        fifth(context, heads, kv_heads, dim),
    )
