"""What replications of a run say: how far its metrics may be from what will be measured, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .intervals import Interval, interval

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Replications:
    """Runs of the same deployment under other errors of its pass times and another sample of its workload.

    Attributes:
        confidence: the chance with which an interval holds what the next replication gives.
        workload: how others like it were drawn: `method`, and the length of blocks, `block_s`.
        timing: by pool, `spread` (the median error drawn from), or why none was: `given`, `not known`.
        seeds: of each replication; the same in every spec with the same `seed`.
        errors: of each term of the pass times, what was drawn for each replication, as standard normal numbers.
        values: each metric's value in every replication; None where it has none.
        stalled: the replications in which a replica stopped making progress, from 1.
    """

    confidence: float
    workload: dict[str, Any]
    timing: dict[str, dict[str, Any]]
    seeds: list[int]
    errors: dict[str, list[float]]
    values: dict[str, list[float | None]]
    stalled: list[int]
    _requests: Callable[[], pa.Table]

    @property
    def count(self) -> int:
        return len(self.seeds)

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """Of each metric that every replication has. Yes and no count as 1 and 0: their mean is how often it is yes."""
        found = {}
        for name, values in self.values.items():
            known = [float(value) for value in values if value is not None]
            if len(known) == self.count:
                found[name] = interval(known, self.errors, self.confidence)
        return found

    @cached_property
    def requests(self) -> pa.Table:
        """The requests of the run without draws, which is replication 0, and after it of all others, if they were
        kept."""
        return self._requests()

    def as_json(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "confidence": self.confidence,
            "workload": self.workload,
            "timing": self.timing,
            "stalled": self.stalled,
            "seeds": self.seeds,
            "errors": self.errors,
            "intervals": {name: one.as_json() for name, one in self.intervals.items()},
            "values": self.values,
        }

    @classmethod
    def of_json(cls, stored: Any, file: str, requests: Callable[[], pa.Table]) -> Replications:
        """Raises InputError for what `as_json` did not make."""
        kinds = {
            "confidence": float,
            "workload": dict,
            "timing": dict,
            "seeds": list,
            "errors": dict,
            "values": dict,
            "stalled": list,
        }
        for name, kind in kinds.items():
            if not isinstance(stored, dict) or not isinstance(stored.get(name), kind):
                field = f"replications.{name}"
                raise InputError("not a result of servetwin: missing, or of another kind", file=file, field=field)
        rows = [*stored["errors"].values(), *stored["values"].values()]
        if any(not isinstance(row, list) or len(row) != len(stored["seeds"]) for row in rows):
            raise InputError("not one value a replication", file=file, field="replications.values")
        return cls(**{name: stored[name] for name in kinds}, _requests=requests)
