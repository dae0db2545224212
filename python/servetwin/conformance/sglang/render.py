"""A replay in the shape of a recording: the recorder's keys, milliseconds, request ids."""

from __future__ import annotations

from typing import Any

from ...reference.sglang import EngineConfig, PassRecord, RequestRecord, RunRecord
from ..scenario import Scenario, ScenarioRequest
from ..subject import Record, Rendered

DECIMALS = 6
"""Of the new-token ratio."""

UNORDERED = frozenset({"pre"})
"""Requests preempted for one other go through a Python set: their order is that of memory addresses."""


def render(scenario: Scenario[EngineConfig], run: RunRecord) -> Rendered:
    steps = [step(scenario, record) for record in run.passes]
    decided = [record.scheduled_at_ps for record in run.passes]
    if run.stuck is not None:
        live = scenario.names(run.stuck.live)
        steps.append({"t": scenario.milliseconds(run.stuck.t_ps), "stuck": True, "live": live})
        decided.append(run.stuck.t_ps)
    requests = [
        request(scenario, asked, record, uncounted(run, record))
        for asked, record in zip(scenario.requests, run.requests, strict=True)
    ]
    totals = {
        "steps": len(steps),
        "end": scenario.milliseconds(run.end_ps),
        "retractions": sum(one["retract"] for one in requests),
        "cached": sum(one["cached"] or 0 for one in requests),
        "n_in": sum(one["n_in"] for one in requests),
        "n_out": sum(one["n_out"] for one in requests),
        "finished": sum(one["finish"] is not None for one in requests),
    }
    return Rendered(steps, requests, totals, decided, UNORDERED)


def step(scenario: Scenario[EngineConfig], record: PassRecord) -> Record:
    rendered: dict[str, Any] = {
        "t": scenario.milliseconds(record.t_ps),
        "dt": scenario.milliseconds(record.dt_ps),
        "kind": record.kind,
        "s": [[scenario.name_of(row[0]), *row[1:]] for row in record.scheduled],
    }
    if record.kind == "-":
        # No batch: the recorder looks at nothing else.
        return rendered | {"retr": scenario.names(record.retracted), "pre": scenario.names(record.preempted)}
    rendered |= {
        "wait": record.waiting,
        "run": record.running,
        "avail": record.available,
        "evict": record.evictable,
        "ratio": round(record.ratio, DECIMALS),
        "avail_end": record.available_end,
        "evict_end": record.evictable_end,
    }
    named = {"retr": record.retracted, "pre": record.preempted, "fin": record.finished}
    rendered |= {key: scenario.names(ids) for key, ids in named.items() if ids}
    if record.chunked is not None:
        rendered["chunk"] = scenario.name_of(record.chunked)
    return rendered


def request(scenario: Scenario[EngineConfig], asked: ScenarioRequest, record: RequestRecord, uncounted: int) -> Record:
    ttft = None
    if record.first_token_ps is not None and record.arrival_ps is not None:
        ttft = scenario.milliseconds(record.first_token_ps - record.arrival_ps)
    return {
        "id": asked.id,
        "arrival": scenario.milliseconds(asked.arrival),
        "first_sched": scenario.milliseconds(record.first_scheduled_ps),
        "ttft": ttft,
        "finish": scenario.milliseconds(record.finish_ps),
        "n_in": record.n_in,
        "n_out": record.n_out,
        "cached": record.cached,
        "retract": record.retractions - uncounted,
    }


def uncounted(run: RunRecord, record: RequestRecord) -> int:
    """Retractions of turns without a batch, which the recorder does not add up."""
    return sum((*one.retracted, *one.preempted).count(record.id) for one in run.passes if one.kind == "-")
