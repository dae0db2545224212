"""Which part of a run a timeline shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...result.result import Result
from ...units import PS_PER_S

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = (
    "arrival_ps",
    "routed_ps",
    "scheduled_ps",
    "first_token_ps",
    "last_token_ps",
    "end_ps",
    "replica",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "preemptions",
    "status",
    "reason",
)
HANDOVER = ("prefill_replica", "prefilled_ps", "decode_routed_ps", "transfer_end_ps")
OPTIONAL = ("request_id", "class", "route_reason", *HANDOVER)

LAST_S = (2**63 - 1) // PS_PER_S
"""Times are 64-bit numbers of picoseconds."""


@dataclass(frozen=True)
class Window:
    """From one time to another, in seconds of the trace, and at most so many requests; None is no bound.

    Raises InputError if it could hold nothing.
    """

    from_s: float | None = None
    to_s: float | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        for option, value in (("--from", self.from_s), ("--to", self.to_s)):
            if value is not None and not 0 <= value <= LAST_S:
                wanted = f"seconds from 0 to {LAST_S:,}"
                raise InputError("not a time of the trace", file=option, found=f"{value:g}", wanted=wanted)
        if self.from_s is not None and self.to_s is not None and self.from_s >= self.to_s:
            raise InputError(
                "an empty window", file="--to", found=f"{self.to_s:g}", wanted=f"more than --from {self.from_s:g}"
            )

    @property
    def bounds_ps(self) -> tuple[int, int]:
        begin = 0 if self.from_s is None else round(self.from_s * PS_PER_S)
        return begin, 2**63 - 1 if self.to_s is None else round(self.to_s * PS_PER_S)


def requests(result: Result, window: Window, end_ps: int) -> list[dict[str, Any]]:
    """Those that were in the system during the window, by arrival, up to the limit. Times are picoseconds.

    `row` is added, and `until_ps`: when it left, or `end_ps` if it never did. One that never arrived is left out.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table = result.requests
    begin_ps, before_ps = window.bounds_ps
    until = pc.fill_null(table["end_ps"], end_ps)
    inside = pc.and_(pc.less(table["arrival_ps"], before_ps), pc.greater_equal(until, begin_ps))
    names = [name for name in (*OPTIONAL, *COLUMNS) if name in table.column_names]
    table = table.select(names).append_column("until_ps", until)
    table = table.append_column("row", pa.array(range(table.num_rows), pa.int64()))
    # A request without an arrival is null here, which a filter drops.
    found = table.filter(inside).sort_by([("arrival_ps", "ascending"), ("row", "ascending")])
    rows: list[dict[str, Any]] = found.slice(0, window.limit).to_pylist()
    return rows


def series(result: Result, window: Window) -> pa.Table:
    """The points of the time series that lie in the window."""
    import pyarrow.compute as pc

    begin_ps, before_ps = window.bounds_ps
    times = result.series["time_ps"]
    return result.series.filter(pc.and_(pc.greater_equal(times, begin_ps), pc.less(times, before_ps)))


def end_ps(result: Result) -> int:
    """The last time anything is known of."""
    import pyarrow.compute as pc

    # Of a request that never ends, the last that is known is any of these.
    columns = [result.requests[name] for name in COLUMNS if name.endswith("_ps")] + [result.series["time_ps"]]
    return max(pc.max(column).as_py() or 0 for column in columns)
