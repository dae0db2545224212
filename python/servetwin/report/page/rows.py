"""The request table as the page needs it: times that mean something, and which requests count."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...result.result import Result
from ...units import PS_PER_MS, PS_PER_S

if TYPE_CHECKING:
    import pyarrow as pa

LATENCIES = ("ttft_ms", "tpot_ms", "e2e_ms", "queue_ms")


@dataclass(frozen=True)
class Rows:
    """One entry a request in each array.

    Attributes:
        zero_ps: the first arrival, from where the page counts time.
        end_ps: the last time anything happened.
        arrival_s: float64; null if it never arrived.
        finish_s: float64, its last token, or its end if it has no output; null unless it completed.
        completed: boolean.
        counted: boolean; in the interval that `metrics` of the spec asks for, as `docs/metrics.md` defines it.
        latencies: float64 by name; null unless the request completed and the metric applies to it.
        replica: int32; null unless it was routed.
    """

    table: pa.Table
    zero_ps: int
    end_ps: int
    arrival_s: pa.Array
    finish_s: pa.Array
    completed: pa.Array
    counted: pa.Array
    latencies: dict[str, pa.Array]
    replica: pa.Array

    @classmethod
    def of(cls, result: Result) -> Rows:
        import pyarrow as pa
        import pyarrow.compute as pc

        table = result.requests.unify_dictionaries()
        column = {name: table[name].combine_chunks() for name in table.column_names}
        zero_ps = pc.min(column["arrival_ps"]).as_py() or 0
        ends = [pc.max(column[name]).as_py() or zero_ps for name in column if name.endswith("_ps")]
        completed = pc.equal(column["status"].cast(pa.string()), "completed")

        def since(start: pa.Array, end: pa.Array, unit_ps: int) -> pa.Array:
            passed = pc.divide(pc.subtract(end, start).cast(pa.float64(), safe=False), float(unit_ps))
            return pc.if_else(completed, passed, None)

        arrival, first, last = column["arrival_ps"], column["first_token_ps"], column["last_token_ps"]
        finish = pc.coalesce(last, column["end_ps"])
        gaps = pc.subtract(column["output_tokens"].cast(pa.int64()), 1)
        gaps = pc.if_else(pc.greater(gaps, 0), gaps, None).cast(pa.float64())
        zero = pa.scalar(zero_ps, pa.int64())
        return cls(
            table=table,
            zero_ps=zero_ps,
            end_ps=max(ends),
            arrival_s=pc.divide(pc.subtract(arrival, zero).cast(pa.float64(), safe=False), float(PS_PER_S)),
            finish_s=since(zero, finish, PS_PER_S),
            completed=completed,
            counted=_counted(result, arrival, zero_ps),
            latencies={
                "ttft_ms": since(arrival, first, PS_PER_MS),
                "tpot_ms": pc.divide(since(first, last, PS_PER_MS), gaps),
                "e2e_ms": since(arrival, finish, PS_PER_MS),
                "queue_ms": since(arrival, column["scheduled_ps"], PS_PER_MS),
            },
            replica=column["replica"].cast(pa.int32()),
        )

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def length_s(self) -> float:
        return (self.end_ps - self.zero_ps) / PS_PER_S

    @cached_property
    def classes(self) -> list[str]:
        """The traffic classes in the order of their names; empty if the trace has none."""
        if "class" not in self.table.column_names:
            return []
        import pyarrow as pa
        import pyarrow.compute as pc

        return sorted(name for name in pc.unique(self.column("class").cast(pa.string())).to_pylist() if name)

    @cached_property
    def class_code(self) -> pa.Array:
        """int32, the position in `classes`; null without a class."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self.classes:
            return pa.nulls(len(self), pa.int32())
        return pc.index_in(self.column("class").cast(pa.string()), pa.array(self.classes, pa.string()))

    @property
    def recorded_failed(self) -> int:
        """How many requests failed when the trace was recorded, if it tells."""
        import pyarrow.compute as pc

        name = "recorded_failed"
        return int(pc.sum(self.column(name)).as_py() or 0) if name in self.table.column_names else 0

    def column(self, name: str) -> Any:
        return self.table[name].combine_chunks()

    def number(self, name: str) -> pa.Array:
        """A column of tokens or counts, in 64 bits, so that sums fit."""
        import pyarrow as pa

        return self.column(name).cast(pa.int64())


def _counted(result: Result, arrival: pa.Array, zero_ps: int) -> pa.Array:
    import pyarrow.compute as pc

    begin_ps, before_ps = window(result)
    late = pc.greater_equal(pc.subtract(arrival, zero_ps), begin_ps)
    if before_ps is None:
        return pc.fill_null(late, True)
    return pc.fill_null(pc.and_(late, pc.less(pc.subtract(arrival, zero_ps), before_ps)), False)


def window(result: Result) -> tuple[int, int | None]:
    """The measured interval: its begin and end, picoseconds since the first arrival; no end if all counts."""
    metrics = result.provenance["spec"].get("metrics", {})
    begin_ps = round(metrics.get("warmup", 0.0) * PS_PER_S)
    length = metrics.get("window")
    return begin_ps, None if length is None else begin_ps + round(length * PS_PER_S)
