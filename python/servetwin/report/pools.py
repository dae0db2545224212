"""What a result says of pools and of the hand-over between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..result.result import Result


def pool_lines(result: Result) -> Iterator[tuple[str, str]]:
    """A line a pool, and one of the hand-over; none where all replicas are alike."""
    summary, known = result.summary, result.provenance
    first = 0
    for role, pool in known.get("pools", {}).items():
        numbers = _numbers(first, pool["replicas"])
        first += pool["replicas"]
        gpus = pool["gpus"] // pool["replicas"]
        busy = f", busy {summary[f'busy.{role}']:.1%} of the time" if f"busy.{role}" in summary else ""
        cache = f"{pool['engine']['kv_cache']}, {pool['engine']['kv_capacity']}"
        router = pool["router"]
        yield role, f"{numbers}, {gpus} GPU{'s' * (gpus > 1)} each, router {router}{busy}; kv cache {cache}"
    if "handover" in known:
        handover = known["handover"]
        order = handover["order"].replace("_", " ")
        count = f"{summary.get('handovers', 0):,.0f}, {summary.get('handover_tokens', 0):,.0f} tokens in all"
        yield "handover", f"{count}, {order}, over {handover['crosses']}, {handover['bytes_per_token']:,} bytes a token"


def total_replicas(known: dict[str, Any]) -> int:
    """Of all pools of a result."""
    pools = known.get("pools")
    if pools is None:
        return int(known["spec"].get("replicas", 1))
    return sum(int(pool["replicas"]) for pool in pools.values())


def _numbers(first: int, count: int) -> str:
    return f"replica {first}" if count == 1 else f"replicas {first} to {first + count - 1}"
