"""What is drawn of all requests, of one replica's, and of one class's: each figure in each of these groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .numbers import short, shorts
from .quantiles import CURVE, Groups
from .rows import LATENCIES, Rows
from .time import Bins

if TYPE_CHECKING:
    import pyarrow as pa

MOST_REPLICAS = 48
"""Of more replicas, only the slowest can be looked at alone: each costs a page some kilobytes."""

BANDS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
"""The percentiles of `docs/metrics.md`."""

SHARES = 20
"""Bars of the distribution of prefix reuse."""

IN_BANDS = ("ttft_ms", "tpot_ms")


@dataclass(frozen=True)
class Split:
    """Requests sorted into groups: `code` is the group of each request, or null."""

    labels: list[str]
    kind: str
    code: pa.Array


def splits(rows: Rows) -> list[Split]:
    """All in one, by replica, and by class; a split into one group says nothing new."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = [Split(["All requests"], "all", pa.array([0] * len(rows), pa.int32()))]
    if len(rows.classes) > 1:
        found.append(Split([f"Class {name}" for name in rows.classes], "class", rows.class_code))
    replicas = sorted(number for number in pc.unique(rows.replica).to_pylist() if number is not None)
    if len(replicas) > 1:
        chosen = slowest(rows, replicas)
        code = pc.index_in(rows.replica, pa.array(chosen, pa.int32()))
        found.append(Split([f"Replica {number}" for number in chosen], "replica", code))
    return found


def slowest(rows: Rows, replicas: list[int]) -> list[int]:
    """As many replicas as a page can hold, by their 95th percentile of TTFT, in the order of their numbers."""
    if len(replicas) <= MOST_REPLICAS:
        return replicas
    tails = _grouped(rows, "ttft_ms", rows.replica, max(replicas) + 1).quantiles([BANDS["p95"]])
    return sorted(sorted(replicas, key=lambda number: -(tails[number] or [0.0])[0])[:MOST_REPLICAS])


def describe(rows: Rows, split: Split, bins: Bins) -> list[dict[str, Any]]:
    """Of each group its curves, its bands over time, its traffic and its prefix reuse."""
    count = len(split.labels)
    groups: list[dict[str, Any]] = [
        {"label": label, "kind": split.kind, "stats": {}, "curves": {}, "bands": {}} for label in split.labels
    ]
    for name in LATENCIES:
        samples = _grouped(rows, name, split.code, count, counted=True)
        for group, values, curve in zip(groups, samples, samples.quantiles(CURVE), strict=True):
            group["curves"][name] = None if curve is None else shorts(curve)
            group["stats"][name] = _stats(values)
    for name in IN_BANDS:
        by_time = _grouped(rows, name, _by_bin(split.code, bins.of(rows.arrival_s), bins), count * bins.count)
        quantiles = by_time.quantiles(tuple(BANDS.values()))
        for number, group in enumerate(groups):
            part = quantiles[number * bins.count : (number + 1) * bins.count]
            group["bands"][name] = {
                band: [None if values is None else short(values[place]) for values in part]
                for place, band in enumerate(BANDS)
            }
    for group, traffic in zip(groups, _traffic(rows, split, bins), strict=True):
        group["traffic"] = traffic
    for group, shares in zip(groups, _reuse(rows, split), strict=True):
        group["reuse"] = shares
    return groups


def _stats(values: memoryview[float]) -> dict[str, float | None]:
    if not values:
        return {"count": 0}
    from .quantiles import quantile

    found = {"mean": sum(values) / len(values), **{band: quantile(values, share) for band, share in BANDS.items()}}
    return {"count": len(values), **{name: short(value) for name, value in found.items()}, "max": short(values[-1])}


def _grouped(rows: Rows, name: str, code: pa.Array, count: int, counted: bool = False) -> Groups:
    import pyarrow.compute as pc

    values = rows.latencies[name]
    kept = pc.and_(pc.is_valid(values), pc.is_valid(code))
    if counted:
        kept = pc.and_(kept, rows.counted)
    return Groups(values.filter(kept), code.filter(kept), count)


def _by_bin(code: pa.Array, bins: pa.Array, wide: Bins) -> pa.Array:
    import pyarrow.compute as pc

    return pc.add(pc.multiply(code, wide.count), bins)


def _traffic(rows: Rows, split: Split, bins: Bins) -> list[dict[str, Any]]:
    """Counts of requests, and sums of tokens, in each bin: by arrival, or by completion where it says so."""
    import pyarrow.compute as pc

    count = len(split.labels)
    arrived = _by_bin(split.code, bins.of(rows.arrival_s), bins)
    finished = _by_bin(split.code, bins.of(rows.finish_s), bins)
    one = pc.if_else(pc.is_valid(rows.arrival_s), 1, 0)
    served = pc.if_else(rows.completed, 1, 0)
    columns = {
        "arrived": (arrived, one),
        "failed": (arrived, pc.subtract(one, served)),
        "prompt_tokens": (arrived, pc.multiply(rows.number("input_tokens"), served)),
        "cached_tokens": (arrived, pc.multiply(rows.number("cached_tokens"), served)),
        "completed": (finished, served),
        "input_tokens": (finished, rows.number("input_tokens")),
        "output_tokens": (finished, rows.number("output_tokens")),
    }
    sums = {name: _sums(key, values, count * bins.count) for name, (key, values) in columns.items()}
    return [
        {name: values[number * bins.count : (number + 1) * bins.count] for name, values in sums.items()}
        for number in range(count)
    ]


def _reuse(rows: Rows, split: Split) -> list[list[int]]:
    """Of each group, how many requests found what share of their prompt in the cache, in twentieths."""
    import pyarrow as pa
    import pyarrow.compute as pc

    prompt = rows.number("input_tokens")
    share = pc.divide(
        rows.number("cached_tokens").cast(pa.float64()), pc.if_else(pc.greater(prompt, 0), prompt, 1).cast(pa.float64())
    )
    bar = pc.min_element_wise(pc.floor(pc.multiply(share, float(SHARES))).cast(pa.int32()), SHARES - 1)
    bar = pc.if_else(pc.and_(rows.completed, rows.counted), bar, None)
    key = pc.add(pc.multiply(split.code, SHARES), bar)
    counts = _sums(key, pa.array([1] * len(rows), pa.int64()), len(split.labels) * SHARES)
    return [counts[number * SHARES : (number + 1) * SHARES] for number in range(len(split.labels))]


def _sums(key: pa.Array, values: pa.Array, count: int) -> list[int]:
    """The sum of the values of each key from 0 to `count` - 1; what has no key is left out."""
    import pyarrow as pa

    kept = key.is_valid()
    table = pa.table({"key": key.filter(kept), "value": values.filter(kept)})
    found = table.group_by("key").aggregate([("value", "sum")])
    sums = [0] * count
    for at, total in zip(found["key"].to_pylist(), found["value_sum"].to_pylist(), strict=True):
        sums[at] = total
    return sums
