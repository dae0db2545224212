"""The engines that can replay a scenario."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, replace
from typing import Any

from ..reference import (
    Conditional,
    Cycle,
    EngineConfig,
    PassRecord,
    RequestRecord,
    RunRecord,
    Stuck,
    run,
)
from .scenario import Scenario, ScenarioRequest

Replayer = Callable[[Scenario], RunRecord]
"""Replays a scenario on one worker and returns every record, requests named by their index."""

SERIES_INTERVAL_PS = 10**15
STALL_PASSES = 10**9
"""A recording ends where it ends, not where the engine would give up."""


def reference(scenario: Scenario) -> RunRecord:
    """By the executable specification, in Python."""
    return run(
        scenario.reference_requests(),
        scenario.config,
        scenario.step_time,
        max_passes=scenario.max_passes,
    )


def native(scenario: Scenario) -> RunRecord:
    """By the compiled core, one replica, every pass recorded.

    The core knows arrivals by time only, so those that come at a step are timed by the
    reference first.
    """
    from .. import _core  # the reference must run without it
    from ..native import native_errors

    scenario = at_times(scenario)
    order = sorted(range(len(scenario.requests)), key=lambda i: arrival(scenario.requests[i]))
    with native_errors():
        trace = _core.Trace.from_columns(**trace_columns(scenario, order))
        finished = _core.simulate(trace, json.dumps(description(scenario, order)))
    return from_log(json.loads(finished.pass_log()), order)


REPLAYERS: dict[str, Replayer] = {"native": native, "reference": reference}


def at_times(scenario: Scenario) -> Scenario:
    if all(request.step is None for request in scenario.requests):
        return scenario
    records = reference(scenario).requests
    requests = tuple(
        replace(request, arrival=record.arrival_ps, step=None)
        for request, record in zip(scenario.requests, records, strict=True)
    )
    return replace(scenario, requests=requests)


def arrival(request: ScenarioRequest) -> int:
    assert request.arrival is not None
    return request.arrival


def trace_columns(scenario: Scenario, order: Sequence[int]) -> dict[str, Any]:
    """The workload by column, in the order of arrivals, contents as interned block ids."""
    requests = [scenario.requests[index] for index in order]
    spelled = any(request.tokens is not None for request in requests)
    ids: dict[Hashable, int] = {}
    block_ids: list[int] = []
    offsets = [0]
    for index, request in zip(order, requests, strict=True):
        if spelled:
            # Later prompts may repeat what earlier requests generate, so that is told as well.
            prompt = request.prompt(scenario.hash_block_tokens)
            content: Sequence[Hashable] = [*prompt, *request.outputs(index)]
        else:
            content = prompt_blocks(request, scenario.hash_block_tokens)
        block_ids += [ids.setdefault(block, len(ids)) for block in content]
        offsets.append(len(block_ids))
    return {
        "arrival_ps": [arrival(request) for request in requests],
        "input_tokens": [request.n_in for request in requests],
        "output_tokens": [request.n_out for request in requests],
        "max_output_tokens": [request.max_output_tokens for request in requests],
        "priority": [request.priority for request in requests],
        "after": [-1] * len(requests),
        "block_tokens": 1 if spelled else scenario.hash_block_tokens,
        "block_ids": block_ids,
        "block_offsets": offsets,
    }


def prompt_blocks(request: ScenarioRequest, hash_block_tokens: int) -> list[Hashable]:
    count = -(-request.n_in // hash_block_tokens)
    if request.hash_ids is not None:
        return list(request.hash_ids[:count])
    return [("seed", request.token_seed, index) for index in range(count)]


def description(scenario: Scenario, order: Sequence[int]) -> dict[str, Any]:
    """The run, as the core takes it."""
    ranks = scenario.id_ranks()
    return {
        "replicas": 1,
        "engine": {**engine(scenario.config), "id_ranks": [ranks[index] for index in order]},
        "step_time": {"kind": type(scenario.step_time).__name__.lower()} | asdict(scenario.step_time),
        "router": {"kind": "round_robin"},
        "seed": 0,
        "leap": True,
        "stall_passes": STALL_PASSES,
        "users": None,
        "check_admission": False,
        "max_passes": scenario.max_passes,
        "series_interval_ps": SERIES_INTERVAL_PS,
        "record": {"passes": True, "block_ids": scenario.block_ids},
    }


def engine(config: EngineConfig) -> dict[str, Any]:
    acceptance: dict[str, Any] | None = None
    match config.acceptance:
        case Cycle(pattern):
            acceptance = {"kind": "cycle", "pattern": pattern}
        case Conditional(thresholds, seed):
            acceptance = {"kind": "conditional", "thresholds": thresholds, "seed": seed}
    return {"name": "vllm", **asdict(config), "acceptance": acceptance}


def from_log(log: dict[str, Any], order: Sequence[int]) -> RunRecord:
    """The core's pass log, with its rows renamed to the scenario's."""
    passes = [pass_record(raw, order) for raw in log["passes"]]
    stuck = None
    if log.get("stuck") is not None:
        stuck = Stuck(log["stuck"]["t_ps"], [order[row] for row in log["stuck"]["waiting"]])
    requests = [RequestRecord(**{**raw, "id": order[raw["id"]]}) for raw in log["requests"]]
    last_schedule_ps = stuck.t_ps if stuck else max((one.scheduled_at_ps for one in passes), default=0)
    ends = [one.t_ps + one.dt_ps for one in passes if one.free_end is not None]
    return RunRecord(
        passes=passes,
        requests=[seen_by(last_schedule_ps, one) for one in sorted(requests, key=lambda one: one.id)],
        end_ps=max([*ends, *([stuck.t_ps] if stuck else [])], default=0),
        stuck=stuck,
    )


def seen_by(last_schedule_ps: int, record: RequestRecord) -> RequestRecord:
    """A request that would arrive only after the run was over never was, for the engine."""
    if record.arrival_ps is not None and record.arrival_ps > last_schedule_ps:
        return RequestRecord(record.id)
    return record


def pass_record(raw: dict[str, Any], order: Sequence[int]) -> PassRecord:
    rows = {key: [order[row] for row in raw[key]] for key in ("new", "resumed", "preempted", "finished")}
    scheduled = [[order[row[0]], *row[1:]] for row in raw["scheduled"]]
    by_row = {key: {order[int(row)]: value for row, value in raw[key].items()} for key in ("blocks", "accepted")}
    return PassRecord(**{**raw, **rows, **by_row, "scheduled": scheduled})
