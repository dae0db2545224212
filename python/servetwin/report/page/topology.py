"""What pools, tiers and data ranks add to a page: hand-overs, where prompts' tokens came from, each rank's share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...result.columns import TIER_COLUMNS
from ...result.result import Result
from ...units import PS_PER_MS
from .groups import BANDS
from .numbers import short
from .quantiles import Groups
from .rows import Rows

if TYPE_CHECKING:
    import pyarrow as pa

MOST_LINES = 512
"""Of a table on the page; of more pairs of replicas, or ranks, it says nothing."""


def topology(result: Result, rows: Rows) -> dict[str, Any]:
    """What the page shows of each; empty where the run has none. Requests that completed and are counted, but for
    `ranks`, which are of all that completed, as the totals of replicas are."""
    return {
        "handovers": handovers(rows),
        "ways": ways(rows),
        "sources": sources(rows, result.provenance["engine"]),
        "ranks": ranks(rows),
    }


def handovers(rows: Rows) -> list[dict[str, Any]]:
    """Milliseconds from the end of a prompt until its KV is there: before the transfer, in it, and in all.

    A transfer that begins while the prompt is computed has no wait before it.
    """
    import pyarrow.compute as pc

    spans = _spans(rows)
    if spans is None:
        return []
    found = []
    for name, values in spans.items():
        kept = values.filter(pc.is_valid(values))
        quantiles = Groups(kept, _zeros(kept), 1).quantiles(list(BANDS.values()))[0]
        if quantiles is not None:
            mean = short(pc.mean(kept).as_py())
            found.append({"name": name, "count": len(kept), "mean": mean, **_bands(quantiles)})
    return found


def ways(rows: Rows) -> list[dict[str, Any]]:
    """A row a pair of replicas that prompts went between: how many, and their transfers' milliseconds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    spans = _spans(rows)
    if spans is None:
        return []
    taken = spans["transfer"]
    kept = pc.is_valid(taken)
    table = pa.table(
        {
            "prefill": rows.column("prefill_replica").cast(pa.int32()),
            "decode": rows.replica,
            "tokens": rows.number("transferred_tokens"),
            "transfer_ms": taken,
        }
    ).filter(kept)
    pairs = table.group_by(["prefill", "decode"]).aggregate([("tokens", "sum"), ("tokens", "count")]).to_pylist()
    if len(pairs) > MOST_LINES:
        return []
    pairs.sort(key=lambda pair: (pair["prefill"], pair["decode"]))
    width = 1 + (pc.max(table["decode"]).as_py() or 0)
    names = pa.array([pair["prefill"] * width + pair["decode"] for pair in pairs], pa.int64())
    of = pc.add(pc.multiply(table["prefill"].cast(pa.int64()), width), table["decode"].cast(pa.int64()))
    code = pc.index_in(of, names).combine_chunks()
    quantiles = Groups(table["transfer_ms"].combine_chunks(), code, len(pairs)).quantiles([BANDS["p50"], BANDS["p95"]])
    return [
        {
            "prefill": pair["prefill"],
            "decode": pair["decode"],
            "handovers": pair["tokens_count"],
            "tokens": pair["tokens_sum"],
            "p50": None if tail is None else short(tail[0]),
            "p95": None if tail is None else short(tail[1]),
        }
        for pair, tail in zip(pairs, quantiles, strict=True)
    ]


def sources(rows: Rows, engine: dict[str, Any]) -> list[dict[str, Any]]:
    """Where the tokens of prompts came from: the GPU's cache, each tier below it, or computed.

    `bytes` are what one rank loads of them, where the engine's description tells what a block takes on the host.
    """
    import pyarrow.compute as pc

    places = [name for name in TIER_COLUMNS if name in rows.table.column_names]
    if not places:
        return []
    kept = pc.and_(rows.completed, rows.counted)

    def total(name: str) -> int:
        return int(pc.sum(rows.number(name).filter(kept)).as_py() or 0)

    below = {name.removesuffix("_tokens"): total(name) for name in places}
    cached = total("cached_tokens")
    tokens = {"gpu": cached - sum(below.values()), **below, "computed": total("input_tokens") - cached}
    offload = engine.get("offload")
    size = offload["block_bytes"] / engine["block_size"] if offload and "block_bytes" in offload else None
    return [
        {"place": place, "tokens": count, "bytes": round(count * size) if size and place in below else None}
        for place, count in tokens.items()
    ]


def ranks(rows: Rows) -> list[dict[str, Any]]:
    """A row a data rank of each replica: its requests and tokens."""
    import pyarrow as pa

    if "rank" not in rows.table.column_names:
        return []
    columns = {name: rows.number(name) for name in ("input_tokens", "cached_tokens", "output_tokens")}
    table = pa.table({"replica": rows.replica, "rank": rows.column("rank").cast(pa.int32()), **columns})
    table = table.filter(rows.completed)
    sums = table.group_by(["replica", "rank"]).aggregate([*((name, "sum") for name in columns), ("rank", "count")])
    if sums.num_rows > MOST_LINES:
        return []
    found = [
        {
            "replica": entry["replica"],
            "rank": entry["rank"],
            "requests": entry["rank_count"],
            **{name: entry[f"{name}_sum"] or 0 for name in columns},
        }
        for entry in sums.to_pylist()
    ]
    return sorted(found, key=lambda entry: (entry["replica"], entry["rank"]))


def _spans(rows: Rows) -> dict[str, pa.Array] | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if "prefill_replica" not in rows.table.column_names:
        return None
    prefilled, start, end = (rows.column(name) for name in ("prefilled_ps", "transfer_start_ps", "transfer_end_ps"))
    kept = pc.and_(pc.and_(rows.completed, rows.counted), pc.is_valid(end))

    def ms(ps: pa.Array) -> pa.Array:
        return pc.if_else(kept, pc.divide(ps.cast(pa.float64(), safe=False), float(PS_PER_MS)), None)

    waited = pc.max_element_wise(pc.subtract(start, prefilled), 0)
    return {
        "before the transfer": ms(waited),
        "transfer": ms(pc.subtract(end, start)),
        "from the prompt's end to its arrival": ms(pc.max_element_wise(pc.subtract(end, prefilled), 0)),
    }


def _zeros(values: pa.Array) -> pa.Array:
    import pyarrow as pa

    return pa.array([0] * len(values), pa.int32())


def _bands(quantiles: list[float]) -> dict[str, float | None]:
    return {band: short(value) for band, value in zip(BANDS, quantiles, strict=True)}
