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
    memory = (stored.size(k * n) + activation_bytes(stored) * m * k + 2 * m * n) / gpu.memory_bytes_per_s
    roofline = max(compute, memory)
    intensity = log(compute / memory)
    waves = ceil(m / TILE) * ceil(n / TILE) / gpu.processors
    return Load(
        compute,
        memory,
        (log(roofline / 1e-5), intensity, log(waves), log(k / 4096)),
        (
            # Part of the last wave of blocks, and of the last block's rows, is idle.
            idle(waves) if compute > memory else 0.0,
            log(ceil(m / TILE) * TILE / m) if m > TILE // 2 else 0.0,
            min(log(waves), 0.0),
            max(intensity, 0.0),
        ),
    )


def activation_bytes(stored: Format) -> float:
    """Of one input of a product, as its arithmetic takes it."""
    return {"fp8": 1.0, "int8": 1.0, "fp4": 0.5}.get(stored.arithmetic, 2.0)


def idle(waves: float) -> float:
    """How much of the last wave of blocks stands still."""
    return log(ceil(waves) / waves) if waves > 1 else 0.0
