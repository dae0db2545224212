"""A replay in the shape of a recording: the recorder's keys, milliseconds, request ids."""

from __future__ import annotations

from typing import Any

from ...reference.vllm import EngineConfig, PassRecord, RequestRecord, RunRecord
from ..scenario import Scenario
from ..subject import Rendered


def render(scenario: Scenario[EngineConfig], run: RunRecord) -> Rendered:
    renderer = Renderer(scenario)
    decided = [one.scheduled_at_ps for one in run.passes]
    return Rendered(renderer.steps(run), renderer.requests(run), renderer.totals(run), decided)


class Renderer:
    """Renders the records of one scenario's replay."""

    def __init__(self, scenario: Scenario[EngineConfig]) -> None:
        self._scenario = scenario

    def steps(self, run: RunRecord) -> list[dict[str, Any]]:
        steps = [self._step(record) for record in run.passes]
        if run.stuck is not None:
            waiting = self._scenario.names(run.stuck.waiting)
            steps.append({"t": self._scenario.milliseconds(run.stuck.t_ps), "stuck": True, "waiting": waiting})
        return steps

    def requests(self, run: RunRecord) -> list[dict[str, Any]]:
        return [self._request(record) for record in run.requests]

    def totals(self, run: RunRecord) -> dict[str, Any]:
        requests = run.requests
        return {
            "steps": len(run.passes) + (run.stuck is not None),
            "end": self._scenario.milliseconds(run.end_ps),
            "preemptions": sum(r.preemptions for r in requests),
            "cached": sum(r.cached or 0 for r in requests),
            "n_in": sum(r.n_in for r in requests),
            "n_out": sum(r.n_out for r in requests),
            "finished": sum(r.finish_ps is not None for r in requests),
        }

    def _step(self, record: PassRecord) -> dict[str, Any]:
        config = self._scenario.config
        speculative = config.num_speculative_tokens > 0
        width = 4 if speculative else 3
        step: dict[str, Any] = {
            "t": self._scenario.milliseconds(record.t_ps),
            "dt": self._scenario.milliseconds(record.dt_ps),
            "s": [[self._scenario.name_of(row[0]), *row[1:width]] for row in record.scheduled],
            "free": record.free,
            "free_end": record.free_end,
            "run": record.running,
            "wait": record.waiting,
        }
        if config.async_scheduling:
            step["ts"] = self._scenario.milliseconds(record.scheduled_at_ps)
        named = {
            "new": record.new,
            "res": record.resumed,
            "pre": record.preempted,
            "fin": record.finished,
        }
        step.update({key: self._scenario.names(ids) for key, ids in named.items() if ids})
        if self._scenario.block_ids:
            step["blk"] = {self._scenario.name_of(row): blocks for row, blocks in record.blocks.items()}
        if speculative and record.free_end is not None:
            step["acc"] = {self._scenario.name_of(row): count for row, count in record.accepted.items()}
        return step

    def _request(self, record: RequestRecord) -> dict[str, Any]:
        ttft = None
        if record.first_token_ps is not None and record.arrival_ps is not None:
            ttft = self._scenario.milliseconds(record.first_token_ps - record.arrival_ps)
        return {
            "id": self._scenario.name_of(record.id),
            "arrival": self._scenario.milliseconds(record.arrival_ps),
            "first_sched": self._scenario.milliseconds(record.first_scheduled_ps),
            "ttft": ttft,
            "finish": self._scenario.milliseconds(record.finish_ps),
            "n_in": record.n_in,
            "n_out": record.n_out,
            "cached": record.cached,
            "cached_resume": record.cached_resume,
            "preempt": record.preemptions,
            "steps": record.passes,
            "out_times": [[self._scenario.milliseconds(time), count] for time, count in record.output_times],
        }
