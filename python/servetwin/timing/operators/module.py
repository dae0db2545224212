"""Latent and compressed attention: whole modules, with the products that make queries, keys and outputs."""

from __future__ import annotations

from math import log

from ...catalog import Gpu
from ...catalog.formats import Format
from ...catalog.layers import CompressedAttention, LatentAttention
from .load import Load, activation_bytes

Module = LatentAttention | CompressedAttention

POSITIONS = 16
"""At which the arithmetic of a prompt's tokens is looked at; between them it is nearly straight."""


def decode_module(gpu: Gpu, module: Module, hidden: int, stored: Format, kv: Format, rows: int, context: int) -> Load:
    """One new token of each of `rows` requests with `context` tokens; `module` has the heads of one rank."""
    attention = rows * module.flops(context) / gpu.bf16_flops
    cache = rows * module.read_bytes(context, kv)
    return _load(gpu, module, hidden, stored, kv, rows, context, attention, cache, rows)


def prompt_module(
    gpu: Gpu, module: Module, hidden: int, stored: Format, kv: Format, rows: int, tokens: int, past: int
) -> Load:
    """`rows` prompts of `tokens` new tokens after `past` cached ones; `module` has the heads of one rank."""
    step = tokens / POSITIONS
    positions = [past + (index + 0.5) * step for index in range(POSITIONS)]
    arithmetic = sum(prompt_flops(module, position) for position in positions) * step * rows
    cache = rows * module.read_bytes(past, kv) if past else 0
    return _load(
        gpu, module, hidden, stored, kv, rows * tokens, past + tokens, arithmetic / gpu.bf16_flops, cache, rows
    )


def prompt_flops(module: Module, seen: float) -> float:
    """Of one token of a prompt that looks at `seen` earlier ones: dense latents are turned into keys and values."""
    if isinstance(module, LatentAttention) and module.indexer is None:
        return 2 * module.heads * (module.nope_dim + module.rope_dim + module.value_dim) * seen
    return module.flops(int(seen))


def _load(
    gpu: Gpu,
    module: Module,
    hidden: int,
    stored: Format,
    kv: Format,
    tokens: int,
    context: int,
    attention_s: float,
    cache: int,
    rows: int,
) -> Load:
    weights = sum(matrix.elements for matrix in module.matrices(hidden))
    products = 2 * tokens * weights / gpu.flops(stored.arithmetic)
    moved = stored.size(weights) + cache + (2 + activation_bytes(stored)) * 2 * tokens * hidden
    compute, memory = products + attention_s, moved / gpu.memory_bytes_per_s
    roofline = max(compute, memory)
    heads, length = log(module.heads / 16), log(context / 1024)
    share, quantised = log(1 + attention_s / products), log(float(kv.bits) / 16)
    return Load(
        compute,
        memory,
        (log(roofline / 1e-5), log(compute / memory), log(tokens), length),
        (
            *(heads, heads**2, heads * length, heads * log(tokens)),
            *(share, share**2, share * length),
            *(quantised, quantised * length, quantised * log(tokens)),
            *(log(rows), log(rows) * length),
            log(hidden / 7168),
            max(log(compute / memory), 0.0),
            # Latents of short prompts are not turned into keys; indexers choose where there are more than they choose.
            max(log(context / 2048), 0.0),
            min(log(context / 128), 0.0),
        ),
    )
