"""What an operator asks of a GPU: seconds at the peak rates, and the regime it is in."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log

from ...catalog import Gpu
from ...catalog.formats import Format

TILE = 128
"""Rows and columns that one block of a kernel computes, about."""


@dataclass(frozen=True)
class Load:
    """`regime` enters the curves as polynomials, `corrections` as they are; both without units."""

    compute_s: float
    memory_s: float
    regime: tuple[float, ...]
    corrections: tuple[float, ...] = ()

    @property
    def roofline_s(self) -> float:
        """No kernel is faster, unless its data are still in the GPU's caches."""
        return max(self.compute_s, self.memory_s)


def gemm(gpu: Gpu, stored: Format, m: int, n: int, k: int) -> Load:
    """A product of m × k activations and k × n weights, both in `stored`'s type of arithmetic; results in 2 bytes."""
    compute = 2 * m * n * k / gpu.flops(stored.arithmetic)
    activation = 2 if stored.arithmetic == "bf16" else 1
    memory = (stored.size(k * n) + activation * m * k + 2 * m * n) / gpu.memory_bytes_per_s
    roofline = max(compute, memory)
    intensity = log(compute / memory)
    waves = ceil(m / TILE) * ceil(n / TILE) / gpu.processors
    return Load(
        compute,
        memory,
        (log(roofline / 1e-5), intensity, log(waves), log(k / 4096)),
        (
            # Part of the last wave of blocks, and of the last block's rows, is idle.
            _idle(waves) if compute > memory else 0.0,
            log(ceil(m / TILE) * TILE / m) if m > TILE // 2 else 0.0,
            min(log(waves), 0.0),
            max(intensity, 0.0),
        ),
    )


def prefill_attention(gpu: Gpu, rows: int, tokens: int, heads: int, kv_heads: int, head_dim: int, kv: Format) -> Load:
    """Causal attention of `rows` prompts of `tokens` tokens to themselves, in bfloat16; the cache in `kv`."""
    compute = 2 * rows * heads * head_dim * tokens**2 / gpu.bf16_flops
    memory = 2 * rows * tokens * (2 * heads + 2 * kv_heads) * head_dim / gpu.memory_bytes_per_s
    size, dim = log(max(compute, memory) / 1e-5), log(head_dim / 128)
    waves = rows * heads * ceil(tokens / TILE) / gpu.processors
    corrections = (
        *(dim, dim**2, dim * size, log(float(kv.bits) / 16)),
        _idle(waves),
        log(ceil(tokens / TILE) * TILE / tokens),
        min(log(waves), 0.0),
        max(log(compute / memory), 0.0),
    )
    return Load(compute, memory, (size, log(waves), log(tokens / 1024), log(heads / kv_heads)), corrections)


def decode_attention(gpu: Gpu, rows: int, context: int, heads: int, kv_heads: int, head_dim: int, kv: Format) -> Load:
    """Attention of one new token of each of `rows` requests to `context` tokens; the cache in `kv`."""
    compute = 4 * rows * heads * head_dim * context / gpu.bf16_flops
    cached = kv.size(rows * context * 2 * kv_heads * head_dim)
    memory = (cached + 4 * rows * heads * head_dim) / gpu.memory_bytes_per_s
    size, dim = log(max(compute, memory) / 1e-5), log(head_dim / 128)
    waves = rows * kv_heads / gpu.processors
    corrections = (
        *(dim, dim**2, dim * size, log(float(kv.bits) / 16)),
        _idle(waves),
        min(log(waves), 0.0),
        max(log(context / 1024), 0.0),
        log(max(heads / kv_heads / 8, 1)),
    )
    return Load(compute, memory, (size, log(waves), log(context / 1024), log(heads / kv_heads)), corrections)


def _idle(waves: float) -> float:
    """How much of the last wave of blocks stands still."""
    return log(ceil(waves) / waves) if waves > 1 else 0.0


def all_reduce(gpu: Gpu, ranks: int, size: int) -> Load:
    """Of `size` bytes on each of `ranks` GPUs: a ring sends 2·(ranks − 1)/ranks of it over each link."""
    return Load(0.0, 2 * (ranks - 1) / ranks * size / gpu.link.bytes_per_s, (log(size / 1e6),))
