"""One worker on a virtual clock: arrivals, passes, outputs.

The device runs one pass at a time. The synchronous engine waits for it: schedule, run, update.
The asynchronous one schedules the next pass while one runs, so that the device never waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ..request import Request
from ..step_time import Features, StepTime
from .config import EngineConfig
from .records import PassRecord, RequestRecord, RunRecord, Stuck
from .scheduler import Pass, Row, Scheduler

EMPTY_SCHEDULES_ALLOWED = 3
"""One more in a row, with nothing scheduled and nobody preempted, and the worker is stuck."""


@dataclass
class InFlight:
    """A pass that was submitted and whose outputs are not processed yet."""

    plan: Pass
    record: PassRecord
    end_ps: int
    accepted: dict[int, int]
    """Drafts that turn out accepted, by request."""


class Worker:
    """One engine and its device, from the first arrival to the last pass."""

    def __init__(self, requests: Sequence[Request], config: EngineConfig, step_time: StepTime) -> None:
        self.config = config
        self.step_time = step_time
        self.scheduler = Scheduler(config)
        self.arrivals = deque(
            sorted(
                ((r.arrival_ps, r) for r in requests if r.arrival_ps is not None),
                key=lambda arrival: arrival[0],
            )
        )
        self.step_arrivals: dict[int, list[Request]] = {}
        for request in requests:
            if request.step is not None:
                self.step_arrivals.setdefault(request.step, []).append(request)
        self.passes: list[PassRecord] = []
        self.records = [RequestRecord(request.index) for request in requests]
        self.verified = [0] * len(requests)
        """Passes in which each request had drafts to verify."""
        self.rejected = [0] * len(requests)
        """Drafts of each request that count as computed and will turn out rejected: the device will know."""
        self.now = 0
        """When the engine gets to call `schedule()`."""
        self.device_free = 0
        self.calls = 0
        self.empty_schedules = 0

    def run(self, max_passes: int | None) -> RunRecord:
        depth = 2 if self.config.async_scheduling else 1
        in_flight: deque[InFlight] = deque()
        stuck = None
        while max_passes is None or len(self.passes) < max_passes:
            self._add_arrivals()
            connector = self.scheduler.connector
            alive = bool(self.scheduler.requests) or (connector is not None and bool(connector.ended))
            if not alive and not in_flight:
                if not self._skip_to_next_arrival():
                    break
                continue
            submitted = self._schedule() if alive else None
            if submitted is not None:
                in_flight.append(submitted)
                if len(in_flight) < depth:
                    continue
            elif self.empty_schedules > EMPTY_SCHEDULES_ALLOWED:
                if self._wait_for_copies():
                    continue
                queues = self.scheduler.holding, self.scheduler.waiting
                stuck = Stuck(self.now, [state.spec.index for queue in queues for state in queue.in_order()])
                break
            if in_flight:
                ended = in_flight.popleft()
                self.now = max(self.now, ended.end_ps)
                self._update(ended)
        return RunRecord(self.passes, self.records, self.now, stuck)

    def _add_arrivals(self) -> None:
        while self.arrivals and self.arrivals[0][0] <= self.now:
            arrival_ps, request = self.arrivals.popleft()
            self._add(request, arrival_ps)
        for request in self.step_arrivals.pop(self.calls, ()):
            self._add(request, self.now)

    def _add(self, request: Request, arrival_ps: int) -> None:
        record = self.records[request.index]
        record.arrival_ps = arrival_ps
        record.n_in = len(request.prompt)
        self.scheduler.add(request, arrival_ps)

    def _skip_to_next_arrival(self) -> bool:
        """Nothing to do until then. False if nothing is left to arrive."""
        if self.step_arrivals:
            self.calls = min(self.step_arrivals)
        elif self.arrivals:
            self.now = max(self.now, self.arrivals[0][0])
        else:
            return False
        return True

    def _wait_for_copies(self) -> bool:
        """Nothing can be scheduled before a copy ends, or somebody arrives. False if no copy is under way."""
        connector = self.scheduler.connector
        if connector is None:
            return False
        times = [*connector.loading.values(), *connector.deferred_until_ps]
        if not times:
            return False
        self.now = max(self.now, min([*times, *(arrival_ps for arrival_ps, _ in list(self.arrivals)[:1])]))
        self.empty_schedules = 0
        return True

    def _schedule(self) -> InFlight | None:
        """Returns None if nothing was scheduled and nobody was preempted."""
        plan = self.scheduler.schedule(self.now)
        connector = self.scheduler.connector
        self.calls += 1
        if not plan.rows and not plan.preempted:
            self.empty_schedules += 1
            if connector is not None:
                connector.after_schedule((), self.now, self.now)
            return None
        self.empty_schedules = 0
        accepted = {
            index: self._accept(index, row) for index, row in plan.rows.items() if row.drafts and not row.padded
        }
        dt_ps = self.step_time.picoseconds(features(plan, self.rejected)) if plan.rows else 0
        for index, row in plan.rows.items():
            self.rejected[index] += row.drafts - accepted.get(index, 0)
        if connector is not None:
            start_ps = max(self.now, self.device_free)
            dt_ps += connector.flush(start_ps)
            connector.after_schedule((row.request for row in plan.rows.values()), self.now, start_ps + dt_ps)
        start_ps, end_ps = self._compute(plan, dt_ps)
        record = PassRecord(
            t_ps=start_ps,
            dt_ps=end_ps - start_ps,
            scheduled_at_ps=self.now,
            scheduled=[[index, row.tokens, row.computed_before, row.drafts] for index, row in plan.rows.items()],
            free=self.scheduler.cache.pool.num_free,
            free_end=None,
            running=len(self.scheduler.running),
            waiting=self.scheduler.num_waiting,
            new=plan.new,
            resumed=plan.resumed,
            preempted=plan.preempted,
            blocks={index: blocks for index, blocks in plan.blocks.items() if blocks},
        )
        self.passes.append(record)
        for index, row in plan.rows.items():
            self._note_scheduled(self.records[index], row, resumed=index in plan.resumed)
        for index in plan.preempted:
            self.records[index].preemptions += 1
        return InFlight(plan, record, end_ps, accepted)

    def _compute(self, plan: Pass, dt_ps: int) -> tuple[int, int]:
        """When the device starts on the pass, and when it ends."""
        start_ps = max(self.now, self.device_free)
        self.device_free = start_ps + dt_ps
        return start_ps, self.device_free

    def _note_scheduled(self, record: RequestRecord, row: Row, *, resumed: bool) -> None:
        record.passes += 1
        if record.first_scheduled_ps is None:
            record.first_scheduled_ps = self.now
            record.cached = row.computed_before
        elif resumed:
            record.cached_resume.append(row.computed_before)

    def _update(self, ended: InFlight) -> None:
        for index, row in ended.plan.rows.items():
            self.rejected[index] -= row.drafts - ended.accepted.get(index, 0)
        for delivery in self.scheduler.update(ended.plan, ended.accepted):
            record = self.records[delivery.request]
            if delivery.tokens:
                if record.first_token_ps is None:
                    record.first_token_ps = ended.end_ps
                record.n_out += delivery.tokens
                record.output_times.append([ended.end_ps, delivery.tokens])
                if ended.plan.rows[delivery.request].drafts:
                    ended.record.accepted[delivery.request] = delivery.tokens - 1
            if delivery.finished:
                record.finish_ps = ended.end_ps
                ended.record.finished.append(delivery.request)
        ended.record.free_end = self.scheduler.cache.pool.num_free

    def _accept(self, index: int, row: Row) -> int:
        assert self.config.acceptance is not None
        ordinal = self.verified[index]
        self.verified[index] += 1
        return self.config.acceptance.accepted(index, ordinal, row.drafts)


def features(plan: Pass, rejected: Sequence[int]) -> Features:
    """What the step time depends on: what the device computes, which counts no draft that was `rejected`."""
    rows = plan.rows.values()
    prefills = [row for row in rows if not row.decodes]
    reached = {index: row.computed_before + row.tokens - rejected[index] for index, row in plan.rows.items()}
    ready = [reached[index] for index, row in plan.rows.items() if row.samples]
    return Features(
        prefill_tokens=sum(row.tokens for row in prefills),
        prefill_work=sum(row.tokens * (2 * row.computed_before + row.tokens) for row in prefills),
        prefill_context=sum(row.computed_before + row.tokens for row in prefills),
        decode_rows=len(rows) - len(prefills),
        draft_tokens=sum(row.tokens - 1 for row in rows if row.decodes),
        context=sum(reached.values()),
        sequences=len(rows),
        ready_context=sum(ready),
        ready_rows=len(ready),
        longest=max((reached[index] for index, row in plan.rows.items() if row.decodes), default=0),
    )
