"""Collectives among GPUs: what they send over each GPU's link."""

from __future__ import annotations

from math import log

from ...catalog import Gpu
from .load import Load


def all_reduce(gpu: Gpu, ranks: int, size: int) -> Load:
    """Of `size` bytes on each of `ranks` GPUs: a ring sends 2·(ranks − 1)/ranks of it over each link."""
    return _sent(gpu, 2 * (ranks - 1) / ranks * size, size)


def all_gather(gpu: Gpu, ranks: int, size: int) -> Load:
    """After which each of `ranks` GPUs has all `size` bytes; a reduce-scatter sends as many, and an all-to-all."""
    return _sent(gpu, (ranks - 1) / ranks * size, size)


def dispatch(gpu: Gpu, ranks: int, tokens: int, hidden: int, active: int) -> Load:
    """DeepEP's: `tokens` tokens of each rank, once to each rank that has one of their `active` experts, in FP8.

    `combine` brings 2 bytes back for each of them.
    """
    return _exchanged(gpu, ranks, tokens, hidden, active, 1)


def combine(gpu: Gpu, ranks: int, tokens: int, hidden: int, active: int) -> Load:
    return _exchanged(gpu, ranks, tokens, hidden, active, 2)


def _exchanged(gpu: Gpu, ranks: int, tokens: int, hidden: int, active: int, number_bytes: int) -> Load:
    # Experts chosen at random; what stays on the own rank is not sent.
    others = (ranks - 1) * (1 - (1 - 1 / ranks) ** active)
    sent = tokens * hidden * number_bytes * others
    return Load(0.0, sent / gpu.link.bytes_per_s, (log(tokens / 128),), (log(hidden / 7168), log(active / 8)))


def _sent(gpu: Gpu, sent: float, size: int) -> Load:
    return Load(0.0, sent / gpu.link.bytes_per_s, (log(size / 1e6),))
