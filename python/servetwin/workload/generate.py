"""A generated workload, as the core's generator wants it described."""

from __future__ import annotations

from typing import Any

from ..spec import Spec
from ..spec.workload import ClosedWorkload, Lengths, PoissonWorkload, SharedPrefix

MAX_BLOCK_TOKENS = 512
"""Content is described in blocks as large as the engine's allow, up to this: fewer ids, the same sharing."""


def generator_config(spec: Spec, options: PoissonWorkload | ClosedWorkload) -> dict[str, Any]:
    prefix_tokens, block_tokens = _blocks(spec.engine.block_tokens, options.prefix)
    return {
        "requests": options.requests,
        "seed": spec.seed,
        "block_tokens": block_tokens,
        "arrivals": {"kind": "poisson", "rate_per_s": options.rate_per_s}
        if isinstance(options, PoissonWorkload)
        else {"kind": "at_once"},
        "input_tokens": _lengths(options.input_tokens),
        "output_tokens": _lengths(options.output_tokens),
        "prefix": _prefix(options.prefix, prefix_tokens) if options.prefix is not None and prefix_tokens else None,
        "max_output_tokens": options.max_output_tokens,
    }


def _blocks(block_size: int, prefix: SharedPrefix | None) -> tuple[int, int]:
    """The prefix in whole engine blocks (a block shared in part is not shared), and the size of the trace's blocks."""
    prefix_tokens = prefix.tokens // block_size * block_size if prefix is not None else 0
    block_tokens = block_size
    while block_tokens * 2 <= MAX_BLOCK_TOKENS and prefix_tokens % (block_tokens * 2) == 0:
        block_tokens *= 2
    return prefix_tokens, block_tokens


def _lengths(lengths: Lengths) -> dict[str, Any]:
    if lengths.p99 is None:
        return {"kind": "constant", "value": int(lengths.p50)}
    limits = {name: value for name, value in (("min", lengths.min), ("max", lengths.max)) if value is not None}
    return {"kind": "lognormal", "p50": lengths.p50, "p99": lengths.p99, **limits}


def _prefix(prefix: SharedPrefix, tokens: int) -> dict[str, Any]:
    choice = {"kind": "uniform"} if prefix.zipf is None else {"kind": "zipf", "exponent": prefix.zipf}
    return {"groups": prefix.groups, "tokens": tokens, "share": prefix.share, "choice": choice}
