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
    """Of the pool's lowered times, with `rows` requests on a replica: its data ranks and micro-batches have equal
    shares of them. Of a pipeline, the way through all stages. None where none runs."""
    if round(rows) < 1:
        return None
    parallel = pool.spec.parallel
    count = min(max(round(rows / (parallel.data * parallel.pipeline)), 1), pool.engine.rows)
    context = count * max(round(context_each), 1)
    kinds = [step_time(lowered.description) for lowered in (pool.lowered, *(lowered for _, lowered in pool.later))]
    stages = [kinds[kind] for kind in pool.stages or (0,)]

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
        return sum(stage.picoseconds(features) for stage in stages) / PS_PER_MS

    one, all_rows, whole = milliseconds(1, 1), milliseconds(count, count), milliseconds(count, context)
    return DecodePass(pool.role, count, context, one, all_rows - one, whole - all_rows)
