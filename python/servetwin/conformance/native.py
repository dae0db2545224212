"""A scenario, run by the compiled core."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import asdict
from typing import Any

from ..reference.acceptance import Acceptance, Cycle, Drawn
from .scenario import Scenario, ScenarioRequest

SERIES_INTERVAL_PS = 10**15
STALL_PASSES = 10**9
"""A recording ends where it ends, not where the engine would give up."""


def by_arrival(scenario: Scenario[Any]) -> list[int]:
    """The order in which the core wants the requests: the scenario's index of each of its rows."""
    return sorted(range(len(scenario.requests)), key=lambda i: arrival(scenario.requests[i]))


def pass_log(scenario: Scenario[Any], order: Sequence[int], engine: dict[str, Any], stages: int = 1) -> dict[str, Any]:
    """Runs one replica of an engine, given as the core takes it, in so many stages, and records every pass.

    Raises ServetwinError.
    """
    from .. import _core  # the reference must run without it
    from ..native import native_errors

    with native_errors():
        trace = _core.Trace.from_columns(**trace_columns(scenario, order))
        finished = _core.simulate(trace, json.dumps(description(scenario, engine, stages)))
    log: dict[str, Any] = json.loads(finished.pass_log())
    return log


def arrival(request: ScenarioRequest) -> int:
    assert request.arrival is not None
    return request.arrival


def trace_columns(scenario: Scenario[Any], order: Sequence[int]) -> dict[str, Any]:
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


def acceptance(outcomes: Acceptance | None) -> dict[str, Any] | None:
    """How drafts are accepted, as the core takes it."""
    match outcomes:
        case None:
            return None
        case Cycle(pattern):
            return {"kind": "cycle", "pattern": pattern}
        case Drawn(counts, seed):
            return {"kind": "drawn", "counts": counts, "seed": seed}


def description(scenario: Scenario[Any], engine: dict[str, Any], stages: int = 1) -> dict[str, Any]:
    """The run, as the core takes it."""
    step_time = {"kind": type(scenario.step_time).__name__.lower()} | asdict(scenario.step_time)
    return {
        "pools": [
            {
                "role": "aggregated",
                "replicas": 1,
                "engine": engine,
                "step_time": step_time,
                "pipeline": {"kinds": [step_time], "stages": [0] * stages} if stages > 1 else None,
                "router": {"kind": "round_robin"},
            }
        ],
        "seed": 0,
        "leap": True,
        "stall_passes": STALL_PASSES,
        "users": None,
        "check_admission": False,
        "max_passes": scenario.max_passes,
        "series_interval_ps": SERIES_INTERVAL_PS,
        "record": {"passes": True, "block_ids": scenario.block_ids},
    }
