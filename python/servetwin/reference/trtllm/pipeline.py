"""One worker whose layers are divided among stages: as many passes are under way.

`_executor_loop_pp` of tensorrt_llm/_torch/pyexecutor/py_executor.py. A turn decides a pass of whoever is in none under
way, starts it in the first stage, and then takes in the results of the pass that was decided as many turns ago as there
are stages, less one. A turn that finds nothing to do takes no time, and nobody waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ..request import Request
from ..stages import Stages
from ..step_time import StepTime
from ..vllm.records import PassRecord, RunRecord, Stuck
from .config import EngineConfig
from .engine import Worker
from .scheduler import Pass


@dataclass
class InFlight:
    plan: Pass
    record: PassRecord


class PipelinedWorker(Worker):
    """`step_time` is that of a pass in one stage, the same in each."""

    def __init__(self, requests: Sequence[Request], config: EngineConfig, step_time: StepTime) -> None:
        super().__init__(requests, config, step_time)
        self.stages = Stages(config.pp_size)

    def run(self, max_passes: int | None) -> RunRecord:
        scheduler, stages = self.scheduler, len(self.stages)
        in_flight: deque[InFlight | None] = deque()
        last_end = 0
        while max_passes is None or len(self.passes) < max_passes:
            self._add_arrivals()
            if not scheduler.active and not scheduler.queue:
                if not self.arrivals:
                    break
                self.now = max(self.now, self.arrivals[0][0])
                in_flight.clear()
                continue
            plan = scheduler.schedule()
            in_flight.append(InFlight(plan, self._launch(plan)) if plan.rows else None)
            if not any(in_flight) and len(in_flight) == stages:
                return RunRecord(self.passes, self.records, self.now, Stuck(self.now, self._waiting()))
            due = in_flight.popleft() if len(in_flight) == stages else None
            if due is not None:
                last_end = self.now = max(self.now, due.record.t_ps + due.record.dt_ps)
                due.record.dt_ps = self.now - due.record.t_ps
                self._finish(due.plan, due.record)
        return RunRecord(self.passes, self.records, last_end)

    def _launch(self, plan: Pass) -> PassRecord:
        record = self._record(plan)
        self._note(plan)
        start_ps, end_ps = self.stages.send(self.now, record.dt_ps)
        record.t_ps, record.dt_ps = start_ps, end_ps - start_ps
        for row in plan.rows:
            row.request.in_flight = True
            if row.samples:
                row.request.generating = True
        return record
