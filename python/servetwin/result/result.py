"""What a run left behind, in memory or on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .columns import REASONS, STATUSES, request_table, series_table

if TYPE_CHECKING:
    import pyarrow as pa

    from .._core import Run, Trace
    from .replications import Replications

Status = Literal["completed", "stalled"]


@dataclass(frozen=True)
class Timings:
    """How long it took to compute, in seconds of this machine's clock; all that differs between equal runs."""

    parse_s: float
    simulate_s: float
    """Block mapping, routing, records and metrics included."""
    passes: int
    leaps: int
    leap: bool


@dataclass(frozen=True)
class Result:
    """A simulated run.

    Attributes:
        status: `stalled` if a replica stopped making progress.
        summary: metrics by dotted name, such as `ttft_ms.p95`; what has no value is absent.
        provenance: what went in, and how well it is known.
        rejections: requests that did not complete, counted by reason.
        stalled: the names of the requests on replicas that stopped making progress.
        timings: in the terms of `Timings`, and `process_s` once written.
        replications: how far the metrics may be off, if that was asked for.
    """

    status: Status
    summary: dict[str, float]
    provenance: dict[str, Any]
    rejections: dict[str, int]
    stalled: list[str]
    timings: dict[str, Any]
    _requests: Callable[[], pa.Table]
    _series: Callable[[], pa.Table]
    replications: Replications | None = None

    @cached_property
    def requests(self) -> pa.Table:
        """One row a request, in the trace's order. Times are picoseconds since the trace's zero; null is never."""
        return self._requests()

    @cached_property
    def series(self) -> pa.Table:
        """Each replica's running and waiting requests and used blocks over time."""
        return self._series()

    @property
    def completed(self) -> int:
        return int(self.summary["completed"])

    def write(self, directory: str | Path) -> None:
        """Writes result.json, requests.parquet and series.parquet, all or none. Raises InputError if it cannot."""
        from .store import write

        write(self, Path(directory))

    @classmethod
    def of_run(
        cls, run: Run, summary: dict[str, float], provenance: dict[str, Any], timings: Timings, trace: Trace
    ) -> Result:
        reasons = run.column("reason")
        stalled_code = REASONS.index("its replica stopped making progress")
        names = trace.request_ids
        return cls(
            status="stalled" if run.status == "stalled" else "completed",
            summary=summary,
            provenance=provenance,
            rejections=_rejections(run.column("status"), reasons),
            stalled=[names[i] if names else str(i) for i, code in enumerate(reasons) if code == stalled_code],
            timings=dict(vars(timings)),
            _requests=lambda: request_table(run, trace),
            _series=lambda: series_table(run),
        )


def _rejections(statuses: bytes, reasons: bytes) -> dict[str, int]:
    completed = STATUSES.index("completed")
    if not any(reasons) and not any(statuses):
        return {}
    counts = Counter(reason for status, reason in zip(statuses, reasons, strict=True) if status != completed)
    return {REASONS[reason] or "not finished": counts[reason] for reason in sorted(counts)}
