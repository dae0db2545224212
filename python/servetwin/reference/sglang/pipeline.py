"""One worker whose layers are divided among stages: as many micro-batches take turns.

`event_loop_pp` of srt/managers/scheduler_pp_mixin.py. A turn decides the next pass of its micro-batch, starts it
in the first stage, and then waits for the results of the micro-batch whose turn comes next. A turn that finds
nothing to do takes no time, and nobody waits for it. Each micro-batch has a running batch of its own; the queue,
memory, the prompt that is computed in parts and the new-token ratio are one for all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ...errors import ServetwinError
from ..request import Request
from ..stages import Stages
from ..step_time import StepTime
from .config import EngineConfig
from .engine import InFlight, Worker
from .records import RunRecord, Stuck
from .scheduler import Pass, Scheduler
from .state import RequestState


class PipelinedScheduler(Scheduler):
    """What it holds is that of the micro-batch whose turn it is."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self._batches = [(self.running, self.is_full, self.last)] * config.pp_size
        """Of the other micro-batches, what they hold."""
        self._turn = 0

    @property
    def has_requests(self) -> bool:
        """Whether anything waits, or runs in any micro-batch."""
        return super().has_requests or any(running for running, _, _ in self._others())

    def turn_to(self, turn: int) -> None:
        self._batches[self._turn] = (self.running, self.is_full, self.last)
        self._turn = turn
        self.running, self.is_full, self.last = self._batches[turn]

    def _others(self) -> list[tuple[list[RequestState], bool, Pass]]:
        return [batch for turn, batch in enumerate(self._batches) if turn != self._turn]

    def schedule(self) -> Pass:
        merged = self.running and any(r is not self.last.chunked and not r.finished for r in self.last.prefills)
        plan = super().schedule()
        if merged and not plan.rows:
            # The engine's `last_mbs` still has the prefill, and would merge it again.
            raise ServetwinError("SGLang fails here: a micro-batch lost all its rows right after a prefill")
        return plan


class PipelinedWorker(Worker):
    """`step_time` is that of a pass in one stage, the same in each."""

    scheduler: PipelinedScheduler

    def __init__(self, requests: Sequence[Request], config: EngineConfig, step_time: StepTime) -> None:
        super().__init__(requests, config, step_time)
        self.scheduler = PipelinedScheduler(config)
        self.stages = Stages(config.pp_size)

    def run(self, max_passes: int | None) -> RunRecord:
        stages = len(self.stages)
        in_flight: deque[InFlight | None] = deque()
        turn = empty_turns = 0
        while max_passes is None or self.launches < max_passes:
            self._add_arrivals()
            self.scheduler.turn_to(turn)
            turn = (turn + 1) % stages
            plan = self.scheduler.schedule()
            launched = self._launch(plan)
            in_flight.append(launched)
            empty_turns = 0 if launched or plan.preempted or plan.aborted else empty_turns + 1
            due = in_flight.popleft() if len(in_flight) == stages else None
            if due is not None:
                self.now = max(self.now, due.record.t_ps + due.record.dt_ps)
                due.record.dt_ps = self.now - due.record.t_ps
                self._process(due)
                empty_turns = 0
            if empty_turns < stages:
                continue
            self.scheduler.idle()
            if self.scheduler.has_requests:
                return RunRecord(self.passes, self.records, self.now, Stuck(self.now, self._live()))
            if not self.arrivals:
                break
            self.now = max(self.now, self.arrivals[0][0])
        return RunRecord(self.passes, self.records, self.now)

    def _compute(self, dt_ps: int) -> tuple[int, int]:
        return self.stages.send(self.now, dt_ps)
