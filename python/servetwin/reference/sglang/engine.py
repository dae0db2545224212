"""One worker on a virtual clock: arrivals, passes, outputs.

The loop without overlap decides a pass, runs it and processes its outputs. The overlap loop decides
and launches the next pass first, so that the device never waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ..request import Request
from ..step_time import Features, StepTime
from .config import EngineConfig
from .records import PassRecord, RequestRecord, RunRecord, Stuck
from .scheduler import Pass, Scheduler

EMPTY_TURNS_ALLOWED = 5
"""One more in a row, with requests there and no batch of them, and the worker is stuck."""


@dataclass
class InFlight:
    """A pass that was launched and whose outputs are not processed yet."""

    plan: Pass
    record: PassRecord


class Worker:
    """One engine and its device, from the first arrival to the last pass."""

    def __init__(self, requests: Sequence[Request], config: EngineConfig, step_time: StepTime) -> None:
        self.overlaps = not config.disable_overlap_schedule
        self.step_time = step_time
        self.scheduler = Scheduler(config)
        self.copies = self.scheduler.cache.copies
        arrivals = [(r.arrival_ps, r) for r in requests if r.arrival_ps is not None]
        self.arrivals = deque(sorted(arrivals, key=lambda arrival: arrival[0]))
        self.passes: list[PassRecord] = []
        self.records = [RequestRecord(request.index) for request in requests]
        self.now = 0
        """When the next pass is decided."""
        self.device_free = 0
        self.launches = 0

    def run(self, max_passes: int | None) -> RunRecord:
        empty_turns = 0
        launched: InFlight | None = None
        while max_passes is None or self.launches < max_passes:
            self._add_arrivals()
            if self.copies is not None:
                self.copies.end(self.now)
            plan = self.scheduler.schedule()
            before, launched = launched, self._launch(plan)
            due = before if self.overlaps else launched
            if due is not None:
                self._process(due)
            if due is not None or launched is not None or plan.aborted:
                empty_turns = 0
                continue
            self.scheduler.idle()
            if not self.scheduler.has_requests:
                if not self.arrivals:
                    break
                self.now = max(self.now, self.arrivals[0][0])
                continue
            if self.copies is not None and self.copies.first_end_ps is not None:
                # Memory that a copy keeps comes free when it ends.
                arrivals = [self.arrivals[0][0]] if self.arrivals else []
                self.now = max(self.now, min([self.copies.first_end_ps, *arrivals]))
                continue
            empty_turns += 1
            if empty_turns > EMPTY_TURNS_ALLOWED:
                return RunRecord(self.passes, self.records, self.now, Stuck(self.now, self._live()))
        return RunRecord(self.passes, self.records, self.now)

    def _add_arrivals(self) -> None:
        while self.arrivals and self.arrivals[0][0] <= self.now:
            arrival_ps, request = self.arrivals.popleft()
            record = self.records[request.index]
            record.arrival_ps = arrival_ps
            record.n_in = len(request.prompt)
            self.scheduler.add(request)

    def _live(self) -> list[int]:
        return [r.id for r in self.records if r.arrival_ps is not None and r.finish_ps is None]

    def _launch(self, plan: Pass) -> InFlight | None:
        """None if there is nothing to run."""
        for request in plan.aborted:
            self.records[request.spec.index].finish_ps = self.now
            self.records[request.spec.index].retractions += 1
        if not plan.rows:
            if plan.preempted or plan.retracted:
                record = self._record(plan, self.now, 0)
                record.available_end, record.evictable_end = record.available, record.evictable
            return None
        dt_ps = self.step_time.picoseconds(features(plan, self.scheduler.config.drafts))
        if self.copies is not None:
            dt_ps = self.copies.pass_ps(dt_ps, max(self.now, self.device_free))
        self.launches += 1
        start_ps, end_ps = self._compute(dt_ps)
        record = self._record(plan, start_ps, end_ps - start_ps)
        for request in plan.prefills:
            noted = self.records[request.spec.index]
            if noted.first_scheduled_ps is None:
                noted.first_scheduled_ps = self.now
                noted.cached = request.prefix
        return InFlight(plan, record)

    def _compute(self, dt_ps: int) -> tuple[int, int]:
        """When the device starts on a pass, and when it ends."""
        start_ps = max(self.now, self.device_free)
        self.device_free = start_ps + dt_ps
        return start_ps, self.device_free

    def _process(self, ended: InFlight) -> None:
        record = ended.record
        self.now = record.t_ps + record.dt_ps
        for request in self.scheduler.update(ended.plan):
            noted = self.records[request.spec.index]
            noted.n_out = request.num_outputs
            if noted.first_token_ps is None:
                noted.first_token_ps = self.now
            if request.finished:
                noted.finish_ps = self.now
                record.finished.append(noted.id)
        if self.copies is not None:
            # Copies to the host wait for what has been launched meanwhile.
            self.copies.submit(max(self.now, self.device_free))
        record.available_end = self.scheduler.cache.available
        record.evictable_end = self.scheduler.cache.evictable

    def _record(self, plan: Pass, t_ps: int, dt_ps: int) -> PassRecord:
        scheduler, drafts = self.scheduler, self.scheduler.config.drafts
        record = PassRecord(
            t_ps=t_ps,
            dt_ps=dt_ps,
            scheduled_at_ps=self.now,
            kind=plan.kind,
            scheduled=[
                *([r.spec.index, r.extend_tokens, r.prefix] for r in plan.prefills),
                *([r.spec.index, 1 + drafts, stored] for r, stored in zip(plan.decodes, plan.stored, strict=True)),
            ],
            waiting=len(scheduler.waiting),
            running=len(scheduler.running),
            available=scheduler.cache.available,
            evictable=scheduler.cache.evictable,
            ratio=scheduler.ratio.current,
            retracted=[r.spec.index for r in plan.retracted],
            preempted=[r.spec.index for r in plan.preempted],
            chunked=None if plan.chunked is None else plan.chunked.spec.index,
        )
        for index in (*record.retracted, *record.preempted):
            self.records[index].retractions += 1
        self.passes.append(record)
        return record


def features(plan: Pass, drafts: int) -> Features:
    """What the step time depends on, once the pass's slots are allotted."""
    decode_context = sum(stored + 1 + drafts for stored in plan.stored)
    whole = [request for request in plan.prefills if request is not plan.chunked]
    return Features(
        prefill_tokens=sum(r.extend_tokens for r in plan.prefills),
        prefill_work=sum(r.extend_tokens * (r.prefix + r.extend_end) for r in plan.prefills),
        prefill_context=sum(r.extend_end for r in plan.prefills),
        decode_rows=len(plan.decodes),
        draft_tokens=drafts * len(plan.decodes),
        context=sum(r.extend_end for r in plan.prefills) + decode_context,
        sequences=len(plan.rows),
        ready_context=sum(r.extend_end for r in whole) + decode_context,
        ready_rows=len(whole) + len(plan.decodes),
        longest=max((request.kv_tokens for request in plan.decodes), default=0),
    )
