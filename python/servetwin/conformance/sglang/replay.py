"""Who can replay SGLang's recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...reference.sglang import EngineConfig, PassRecord, RequestRecord, RunRecord, Stuck, run
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
    """By the compiled core, one replica, every pass recorded."""
    order = by_arrival(scenario)
    return from_log(pass_log(scenario, order, described(scenario.config), scenario.config.pp_size), order)


def described(config: EngineConfig) -> dict[str, Any]:
    """As the core takes it."""
    options = asdict(config)
    del options["pp_size"]  # of the replica, not of its engine
    return {"name": "sglang", "version": "0.5.23", **options, "acceptance": acceptance(config.acceptance)}


def from_log(log: dict[str, Any], order: Sequence[int]) -> RunRecord:
    """The core's pass log, with its rows renamed to the scenario's."""
    passes = [pass_record(raw, order) for raw in log["passes"]]
    stuck = None
    if log["stuck"] is not None:
        stuck = Stuck(log["stuck"]["t_ps"], sorted(order[row] for row in log["stuck"]["live"]))
    requests = [RequestRecord(**{**raw, "id": order[raw["id"]]}) for raw in log["requests"]]
    last_turn_ps = stuck.t_ps if stuck else max((one.scheduled_at_ps for one in passes), default=0)
    ends = [one.t_ps + one.dt_ps for one in passes if one.available_end is not None]
    return RunRecord(
        passes=passes,
        requests=[seen_by(last_turn_ps, one) for one in sorted(requests, key=lambda one: one.id)],
        end_ps=max([*ends, last_turn_ps]),  # a turn that waited for a copy comes after all that has ended
        stuck=stuck,
    )


def seen_by(last_turn_ps: int, record: RequestRecord) -> RequestRecord:
    """A request that would arrive only after the run was over never was, for the engine."""
    if record.arrival_ps is None or record.arrival_ps > last_turn_ps:
        return RequestRecord(record.id)
    return record


def pass_record(raw: dict[str, Any], order: Sequence[int]) -> PassRecord:
    rows = {key: [order[row] for row in raw[key]] for key in ("retracted", "preempted", "finished")}
    scheduled = [[order[row[0]], *row[1:]] for row in raw["scheduled"]]
    chunked = None if raw["chunked"] is None else order[raw["chunked"]]
    return PassRecord(**{**raw, **rows, "scheduled": scheduled, "chunked": chunked})
