"""One worker on a virtual clock: decide a pass, run it, process its outputs.

That is the loop of `disable_overlap_scheduler: true`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ..request import Request
from ..step_time import Features, StepTime
from ..vllm.records import PassRecord, RequestRecord, RunRecord, Stuck
from .config import EngineConfig
from .scheduler import Pass, Row, Scheduler


class Worker:
    """One engine and its device, from the first arrival to the last pass."""

    def __init__(self, requests: Sequence[Request], config: EngineConfig, step_time: StepTime) -> None:
        self.step_time = step_time
        self.scheduler = Scheduler(config)
        arrivals = [(r.arrival_ps, r) for r in requests if r.arrival_ps is not None]
        self.arrivals = deque(sorted(arrivals, key=lambda arrival: arrival[0]))
        self.passes: list[PassRecord] = []
        self.records = [RequestRecord(request.index) for request in requests]
        self.now = 0

    def run(self, max_passes: int | None) -> RunRecord:
        scheduler = self.scheduler
        while max_passes is None or len(self.passes) < max_passes:
            self._add_arrivals()
            if not scheduler.active and not scheduler.queue:
                if not self.arrivals:
                    break
                self.now = max(self.now, self.arrivals[0][0])
                continue
            plan = scheduler.schedule()
            if not plan.rows and not plan.paused:
                return RunRecord(self.passes, self.records, self.now, Stuck(self.now, self._waiting()))
            self._execute(plan)
        return RunRecord(self.passes, self.records, self.now)

    def _waiting(self) -> list[int]:
        active = sorted(self.scheduler.active, key=lambda request: not request.started)
        return [request.spec.index for request in (*active, *self.scheduler.queue)]

    def _add_arrivals(self) -> None:
        while self.arrivals and self.arrivals[0][0] <= self.now:
            arrival_ps, request = self.arrivals.popleft()
            record = self.records[request.index]
            record.arrival_ps = arrival_ps
            record.n_in = len(request.prompt)
            self.scheduler.add(request)

    def _execute(self, plan: Pass) -> None:
        record = self._record(plan)
        self._note(plan)
        self.now += record.dt_ps
        self._finish(plan, record)

    def _note(self, plan: Pass) -> None:
        """Of each request, that it has a part in a pass."""
        for row in plan.rows:
            noted = self.records[row.request.spec.index]
            noted.passes += 1
            if row.request in plan.new:
                noted.first_scheduled_ps = self.now
                noted.cached = row.computed_before
            elif row.request in plan.resumed:
                noted.cached_resume.append(row.computed_before)
        for request in plan.paused:
            self.records[request.spec.index].preemptions += 1

    def _finish(self, plan: Pass, record: PassRecord) -> None:
        """The results of a pass are in."""
        decoded = [row.request for row in plan.rows if row.decodes]
        for request, given in self.scheduler.update(plan):
            noted = self.records[request.spec.index]
            if request.spec.outputs:
                if noted.first_token_ps is None:
                    noted.first_token_ps = self.now
                noted.n_out += given
                noted.output_times.append([self.now, given])
                if plan.drafts and request in decoded:
                    record.accepted[request.spec.index] = given - 1
            if request.finished:
                noted.finish_ps = self.now
                record.finished.append(noted.id)
        record.free_end = self.scheduler.cache.pool.num_free

    def _record(self, plan: Pass) -> PassRecord:
        scheduler = self.scheduler
        running = sum(request.started for request in scheduler.active)
        record = PassRecord(
            t_ps=self.now,
            dt_ps=self.step_time.picoseconds(features(plan)) if plan.rows else 0,
            scheduled_at_ps=self.now,
            scheduled=[scheduled(row, plan.drafts) for row in plan.rows],
            free=scheduler.cache.pool.num_free,
            free_end=None,
            running=running,
            waiting=len(scheduler.active) - running + len(scheduler.queue),
            new=[request.spec.index for request in plan.new],
            resumed=[request.spec.index for request in plan.resumed],
            preempted=[request.spec.index for request in plan.paused],
        )
        self.passes.append(record)
        return record


def scheduled(row: Row, drafts: int) -> list[int]:
    """Request, tokens, tokens computed before, drafts among them."""
    return [row.request.spec.index, row.tokens, row.computed_before, drafts if row.decodes else 0]


def features(plan: Pass) -> Features:
    """What the step time depends on."""
    contexts = [row for row in plan.rows if not row.decodes]
    ready = [row for row in plan.rows if row.samples]
    return Features(
        prefill_tokens=sum(row.tokens for row in contexts),
        prefill_work=sum(row.tokens * (2 * row.computed_before + row.tokens) for row in contexts),
        prefill_context=sum(row.computed_before + row.tokens for row in contexts),
        decode_rows=len(plan.rows) - len(contexts),
        draft_tokens=plan.drafts * (len(plan.rows) - len(contexts)),
        context=sum(row.computed_before + row.tokens for row in plan.rows),
        sequences=len(plan.rows),
        ready_context=sum(row.computed_before + row.tokens for row in ready),
        ready_rows=len(ready),
        longest=max((row.computed_before + row.tokens for row in plan.rows if row.decodes), default=0),
    )
