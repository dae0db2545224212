"""What each replica did, in all and over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...result.result import Result
from ...units import PS_PER_MS, PS_PER_S
from .groups import BANDS
from .numbers import short
from .quantiles import Groups
from .rows import Rows
from .time import round_up

if TYPE_CHECKING:
    import pyarrow as pa

MOST_POINTS = 240

MOST_CELLS = 60_000
"""Of one measure, of all replicas together: what a page holds in a megabyte."""

FEWEST_POINTS = 60

MEASURES = {"running": 1, "waiting": 1, "used_blocks": 4}
"""Columns of the series, and how many decimals of their mean in a bin are kept."""


def over_time(result: Result, rows: Rows) -> dict[str, Any]:
    """The mean of each measure in bins of time: a row a replica, null where it was not observed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    series = result.series
    started = pc.greater_equal(series["time_ps"], rows.zero_ps)
    series = series.filter(started)
    if series.num_rows == 0:
        return {"width_s": 1.0, "count": 0, "replicas": [], **{name: [] for name in MEASURES}}
    seconds = pc.divide(pc.subtract(series["time_ps"], rows.zero_ps).cast(pa.float64(), safe=False), float(PS_PER_S))
    replicas = sorted(pc.unique(series["replica"]).to_pylist())
    most = min(max(MOST_CELLS // len(replicas), FEWEST_POINTS), MOST_POINTS)
    last_s = pc.max(seconds).as_py()
    width_s = round_up(max(last_s / most, _interval_s(series, seconds), 1e-9))
    count = int(last_s / width_s) + 1
    at = pc.min_element_wise(pc.floor(pc.divide(seconds, width_s)).cast(pa.int64()), count - 1)
    row = pc.index_in(series["replica"], pa.array(replicas, pa.uint32())).cast(pa.int64())
    keyed = series.append_column("key", pc.add(pc.multiply(row, count), at))
    means = keyed.group_by("key").aggregate([(name, "mean") for name in MEASURES])
    found: dict[str, Any] = {"width_s": width_s, "count": count, "replicas": replicas}
    keys = means["key"].to_pylist()
    for name, decimals in MEASURES.items():
        cells: list[float | None] = [None] * (len(replicas) * count)
        for key, mean in zip(keys, means[f"{name}_mean"].to_pylist(), strict=True):
            cells[key] = short(round(mean, decimals))
        found[name] = [cells[start : start + count] for start in range(0, len(cells), count)]
    return found


def _interval_s(series: pa.Table, seconds: pa.ChunkedArray) -> float:
    """The longest distance between two points: a replica with many of them keeps every other one."""
    timed = series.append_column("seconds", seconds)
    by_replica = timed.group_by("replica").aggregate([("seconds", "min"), ("seconds", "max"), ("seconds", "count")])
    return max(
        (
            (last - first) / (count - 1)
            for first, last, count in zip(
                *(by_replica[f"seconds_{name}"].to_pylist() for name in ("min", "max", "count")), strict=True
            )
            if count > 1
        ),
        default=0.0,
    )


def totals(rows: Rows) -> list[dict[str, Any]]:
    """A row a replica, of all its completed requests; latencies are percentiles in milliseconds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = pc.is_valid(rows.replica)
    table = pa.table(
        {
            "replica": rows.replica,
            "completed": pc.if_else(rows.completed, 1, 0),
            **{name: rows.number(name) for name in ("input_tokens", "output_tokens", "cached_tokens", "preemptions")},
        }
    ).filter(kept)
    names = [name for name in table.column_names if name != "replica"]
    sums = table.group_by("replica").aggregate([*((name, "sum") for name in names), ("replica", "count")])
    latencies = {name: rows.latencies[name] for name in ("ttft_ms", "tpot_ms", "e2e_ms")}
    return _lines(sums, names, rows.replica, latencies)


def prefills(rows: Rows) -> list[dict[str, Any]]:
    """A row a prefill replica, of the prompts that it computed, as `totals`; none where replicas do it all."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if "prefill_replica" not in rows.table.column_names:
        return []
    replica = rows.column("prefill_replica").cast(pa.int32())
    prefilled, arrived = rows.column("prefilled_ps"), rows.column("transfer_end_ps")
    handover_ms = pc.divide(pc.subtract(arrived, prefilled).cast(pa.float64(), safe=False), float(PS_PER_MS))
    table = pa.table(
        {
            "replica": replica,
            "computed": pc.if_else(pc.is_valid(prefilled), 1, 0),
            "handed_over": pc.if_else(pc.is_valid(arrived), 1, 0),
            **{name: rows.number(name) for name in ("input_tokens", "cached_tokens", "transferred_tokens")},
        }
    ).filter(pc.is_valid(replica))
    names = [name for name in table.column_names if name != "replica"]
    sums = table.group_by("replica").aggregate([*((name, "sum") for name in names), ("replica", "count")])
    return _lines(sums, names, replica, {"queue_ms": rows.latencies["queue_ms"], "handover_ms": handover_ms})


def _lines(
    sums: pa.Table, names: Sequence[str], replica: pa.Array, latencies: Mapping[str, pa.Array]
) -> list[dict[str, Any]]:
    tails = {name: _tails(values, replica) for name, values in latencies.items()}
    found = []
    for entry in sorted(sums.to_pylist(), key=lambda entry: entry["replica"]):
        number = entry["replica"]
        found.append(
            {
                "replica": number,
                "requests": entry["replica_count"],
                **{name: entry[f"{name}_sum"] or 0 for name in names},
                **{
                    f"{name}.{band}": None if (values := by_replica[number]) is None else short(values[place])
                    for name, by_replica in tails.items()
                    for place, band in enumerate(("p50", "p95"))
                },
            }
        )
    return found


def _tails(values: pa.Array, replica: pa.Array) -> list[list[float] | None]:
    import pyarrow.compute as pc

    kept = pc.and_(pc.is_valid(values), pc.is_valid(replica))
    count = (pc.max(replica).as_py() or 0) + 1
    return Groups(values.filter(kept), replica.filter(kept), count).quantiles([BANDS["p50"], BANDS["p95"]])
