"""What a decode pass is made of, by the timing model itself."""

from __future__ import annotations

from dataclasses import dataclass

from ..describe import PoolDeployment
from ..reference.lowered import step_time
from ..reference.step_time import Features
from ..units import PS_PER_MS


@dataclass(frozen=True)
class DecodePass:
    """The time of a pass that only decodes, split by what makes it longer.

    Attributes:
        rows, context: requests, and tokens of context of all of them.
        fixed_ms: a pass of one request without context: weights read, launches, the host.
        rows_ms: what further requests add: arithmetic, and their collectives.
        context_ms: what their context adds: KV read.
    """

    role: str
    rows: int
    context: int
    fixed_ms: float
    rows_ms: float
    context_ms: float

    @property
    def total_ms(self) -> float:
        return self.fixed_ms + self.rows_ms + self.context_ms


def decode_pass(pool: PoolDeployment, rows: float, context_each: float) -> DecodePass | None:
    """Of the pool's lowered times, at so many requests a data rank; None where none runs."""
    count = min(round(rows / pool.spec.parallel.data), pool.engine.rows)
    if count < 1:
        return None
    context = count * max(round(context_each), 1)
    times = step_time(pool.lowered.description)

    def milliseconds(rows: int, context: int) -> float:
        features = Features(
            prefill_tokens=0,
            prefill_work=0,
            prefill_context=0,
            decode_rows=rows,
            draft_tokens=0,
            context=context,
            sequences=rows,
            ready_context=context,
            ready_rows=rows,
            longest=context // rows,
        )
        return times.picoseconds(features) / PS_PER_MS

    one, all_rows, whole = milliseconds(1, 1), milliseconds(count, count), milliseconds(count, context)
    return DecodePass(pool.role, count, context, one, all_rows - one, whole - all_rows)
