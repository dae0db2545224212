"""Mixtures of experts: grouped products, of which the fullest rank decides."""

from __future__ import annotations

from math import ceil, log

from ...catalog import Gpu
from ...catalog.formats import Format
from ...catalog.layers import Experts
from .load import TILE, Load, activation_bytes
from .routing import fullest_rank


def experts(
    gpu: Gpu, stored: Format, hidden: int, mlp: Experts, inner: int, ranks: int, tokens: int, skew: float
) -> Load:
    """The routed experts of one layer for `tokens` tokens, on the fullest of `ranks` expert-parallel ranks.

    `inner` is the experts' intermediate size on one rank. Weights of an expert are read where it has a token.
    """
    routed = fullest_rank(tokens, mlp.count, mlp.active, ranks, skew)
    compute = 6 * routed.rows * hidden * inner / gpu.flops(stored.arithmetic)
    weights = float(stored.bits) / 8 * 3 * routed.hit * hidden * inner
    moved = 2 * tokens * 2 * hidden + routed.rows * (activation_bytes(stored) * hidden + 2 * inner)
    memory = (weights + moved) / gpu.memory_bytes_per_s
    each = routed.rows / routed.hit
    waves = routed.hit * ceil(each / TILE) * ceil(2 * inner / TILE) / gpu.processors
    intensity = log(compute / memory)
    wide, local, many = log(hidden / 4096), log(mlp.count / ranks), log(ranks)
    uneven = log(routed.largest / each)
    return Load(
        compute,
        memory,
        (log(max(compute, memory) / 1e-5), intensity, log(each), log(inner / 1024)),
        (
            *(wide, wide**2, wide * log(each)),
            *(local, local**2),
            *(many, many**2, many * log(each)),
            # Tokens that other ranks compute are sorted as well.
            log(tokens * mlp.active / routed.rows),
            *(uneven, uneven * log(each)),
            *(log(tokens), log(mlp.active)),
            min(log(waves), 0.0),
            max(intensity, 0.0),
            1.0 if skew else 0.0,
        ),
    )
