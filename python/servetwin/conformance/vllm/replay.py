"""Who can replay vLLM's recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from ...reference.vllm import (
    EngineConfig,
    HostConfig,
    PassRecord,
    RequestRecord,
    RunRecord,
    Stuck,
    run,
)
from ..native import acceptance, by_arrival, pass_log
from ..scenario import Scenario


def reference(scenario: Scenario[EngineConfig]) -> RunRecord:
    """By the executable specification, in Python."""
    return run(
        scenario.reference_requests(),
        scenario.config,
        scenario.step_time,
        max_passes=scenario.max_passes,
    )


def native(scenario: Scenario[EngineConfig]) -> RunRecord:
    """By the compiled core, one replica, every pass recorded.

    The core knows arrivals by time only, so those that come at a step are timed by the
    reference first.
    """
    scenario = at_times(scenario)
    order, ranks = by_arrival(scenario), scenario.id_ranks()
    engine = {**described(scenario.config), "id_ranks": [ranks[index] for index in order]}
    return from_log(pass_log(scenario, order, engine, scenario.config.pipeline_parallel_size), order)


def at_times(scenario: Scenario[EngineConfig]) -> Scenario[EngineConfig]:
    if all(request.step is None for request in scenario.requests):
        return scenario
    records = reference(scenario).requests
    requests = tuple(
        replace(request, arrival=record.arrival_ps, step=None)
        for request, record in zip(scenario.requests, records, strict=True)
    )
    return replace(scenario, requests=requests)


def described(config: EngineConfig) -> dict[str, Any]:
    """As the core takes it."""
    options = asdict(config)
    del options["pipeline_parallel_size"]  # of the replica, not of its engine
    return {
        "name": "vllm",
        **options,
        "acceptance": acceptance(config.acceptance),
        "offload": offload(config.offload),
    }


def offload(host: HostConfig | None) -> dict[str, Any] | None:
    if host is None:
        return None
    return {
        "blocks": host.blocks,
        "block_bytes": host.block_bytes,
        "store": {"bytes_per_s": host.store_bytes_per_s, "latency_ps": host.store_latency_ps},
        "load": {"bytes_per_s": host.load_bytes_per_s, "latency_ps": host.load_latency_ps},
        "drops_last_block": host.drops_last_block,
    }


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
