"""The requests that took longest, one by one."""

from __future__ import annotations

from typing import Any

from ...units import PS_PER_S
from .groups import Split
from .rows import Rows

RANKED = ("ttft_ms", "tpot_ms", "e2e_ms")

MOST = 50
"""Of all requests; of one replica's or class's, a fifth."""

TIMES = ("arrival_ps", "routed_ps", "scheduled_ps", "first_token_ps", "last_token_ps", "end_ps")
COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "preemptions")
OPTIONAL = ("route_reason", "class", "recorded_failed", "route_overlap_tokens", "prefill_replica")
HANDED_OVER = "prefilled_ps"


def ranks(rows: Rows, splits: list[Split]) -> list[dict[str, list[int]]]:
    """For each group, and each latency, its slowest completed requests, by row; equals in the order of the trace."""
    groups: list[dict[str, list[int]]] = [{} for split in splits for _ in split.labels]
    for name in RANKED:
        order = _descending(rows, name)
        first = 0
        for split in splits:
            most = MOST if split.kind == "all" else MOST // 5
            found = _first_of_each(split.code.take(order).to_pylist(), order.to_pylist(), len(split.labels), most)
            for number, chosen in enumerate(found):
                groups[first + number][name] = chosen
            first += len(split.labels)
    return groups


def _descending(rows: Rows, name: str) -> Any:
    import pyarrow.compute as pc

    values = rows.latencies[name]
    samples = len(values) - values.null_count
    return pc.array_sort_indices(values, order="descending").slice(0, samples)


def _first_of_each(codes: list[int | None], order: list[int], count: int, most: int) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(count)]
    open_ = count
    for code, row in zip(codes, order, strict=True):
        if code is not None and len(found[code]) < most:
            found[code].append(row)
            open_ -= len(found[code]) == most
            if not open_:
                break
    return found


def requests(rows: Rows, chosen: list[int]) -> list[dict[str, Any]]:
    """All that is known of some requests; times in seconds since the first arrival."""
    import pyarrow as pa

    names = [name for name in ("request_id", *OPTIONAL) if name in rows.table.column_names]
    known = [*TIMES, *(name for name in (HANDED_OVER,) if name in rows.table.column_names)]
    picked = rows.table.select([*names, *known, *COUNTS, "replica"]).take(pa.array(chosen, pa.int64())).to_pylist()
    latencies = {name: values.take(pa.array(chosen, pa.int64())).to_pylist() for name, values in rows.latencies.items()}
    found = []
    for place, (row, entry) in enumerate(zip(chosen, picked, strict=True)):
        times = {f"{name[:-3]}_s": None if entry[name] is None else _seconds(rows, entry[name]) for name in known}
        found.append(
            {
                "row": row,
                **{name: entry[name] for name in (*names, "replica", *COUNTS)},
                **times,
                **{name: values[place] for name, values in latencies.items()},
            }
        )
    return found


def _seconds(rows: Rows, time_ps: int) -> float:
    return (time_ps - rows.zero_ps) / PS_PER_S
