"""One worker whose layers are divided among stages: passes follow each other through them.

`EngineCore.step_with_batch_queue` of vllm/v1/engine/core.py. While fewer passes are under way than the queue
holds, the next is scheduled at once; else the oldest is waited for. A call of `schedule()` that finds nothing
is a pass as well, that takes no time. A row that decodes is scheduled again when its output is known or, with
async scheduling, in the pass that comes as many calls later as there are stages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ...units import PS_PER_MS
from ..request import Request
from ..stages import Stages
from ..step_time import StepTime
from .config import EngineConfig
from .engine import InFlight, Worker
from .records import RunRecord, Stuck
from .scheduler import Pass

PAUSE_PS = PS_PER_MS
"""The loop sleeps so long after a call that found nothing, if requests are there or have just ended
(`_process_engine_step`)."""


class PipelinedWorker(Worker):
    """`step_time` is that of a pass in one stage, the same in each."""

    def __init__(self, requests: Sequence[Request], config: EngineConfig, step_time: StepTime) -> None:
        super().__init__(requests, config, step_time)
        self.stages = Stages(config.pipeline_parallel_size)
        self.sampled_ps: dict[int, int] = {}
        """When the tokens of a pass are known, by the call of `schedule()` that decided it."""
        self.last_end = 0

    def run(self, max_passes: int | None) -> RunRecord:
        depth = len(self.stages) + self.config.async_scheduling
        in_flight: deque[InFlight | None] = deque()
        stuck = None
        while max_passes is None or len(self.passes) < max_passes:
            self._add_arrivals()
            alive = bool(self.scheduler.requests)
            if not alive and not in_flight:
                if not self._skip_to_next_arrival():
                    break
                continue
            executed, ended = True, None
            if alive:
                submitted = self._schedule()
                executed = submitted is not None and bool(submitted.plan.rows)
                in_flight.append(submitted)
                if self.empty_schedules >= len(self.stages) and not any(in_flight):
                    stuck = Stuck(self.now, [state.spec.index for state in self.scheduler.waiting.in_order()])
                    break
            if len(in_flight) == depth or not alive:
                ended = in_flight.popleft()
                if ended is not None:
                    ended.end_ps = self.now = max(self.now, ended.end_ps)
                    if ended.plan.rows:
                        ended.record.dt_ps = self.now - ended.record.t_ps
                    self._update(ended)
                    self.last_end = ended.record.t_ps + ended.record.dt_ps
            if not executed and (self.scheduler.requests or (ended is not None and ended.record.finished)):
                self.now += PAUSE_PS
        return RunRecord(self.passes, self.records, stuck.t_ps if stuck else self.last_end, stuck)

    def _compute(self, plan: Pass, dt_ps: int) -> tuple[int, int]:
        if not plan.rows:
            return self.now, self.now
        from_ps = self.now
        if self.config.async_scheduling:
            # The rows of the pass that many calls ago need its tokens: each stage waits for them.
            from_ps = max(from_ps, self.sampled_ps.get(self.calls - len(self.stages), 0))
        start_ps, end_ps = self.stages.send(from_ps, dt_ps)
        self.sampled_ps[self.calls] = end_ps
        return start_ps, end_ps
