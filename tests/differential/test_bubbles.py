"""What stages stand idle, leapt over or not, is what the reference finds pass by pass."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from servetwin import _core
from servetwin.conformance import native
from servetwin.conformance.scenario import Scenario
from servetwin.conformance.sglang import replay as sglang_replay
from servetwin.conformance.vllm import replay as vllm_replay
from servetwin.reference.sglang.pipeline import PipelinedWorker as SglangWorker
from servetwin.reference.trtllm.pipeline import PipelinedWorker as TrtllmWorker
from servetwin.reference.vllm.pipeline import PipelinedWorker as VllmWorker

from .. import small
from . import sglang_scenarios, trtllm_scenarios, vllm_scenarios

Worker = VllmWorker | SglangWorker | TrtllmWorker
Reference = tuple[Worker, dict[str, Any]]
"""A worker that has yet to run, and its engine as the core takes it."""


def vllm(seed: int) -> tuple[Scenario[Any], Reference]:
    scenario = vllm_replay.at_times(vllm_scenarios.staged_scenario(seed))
    ranks = scenario.id_ranks()
    engine = vllm_replay.described(scenario.config) | {"id_ranks": [ranks[row] for row in native.by_arrival(scenario)]}
    return scenario, (VllmWorker(scenario.reference_requests(), scenario.config, scenario.step_time), engine)


def sglang(seed: int) -> tuple[Scenario[Any], Reference]:
    scenario = sglang_scenarios.staged_scenario(seed)
    engine = sglang_replay.described(scenario.config)
    return scenario, (SglangWorker(scenario.reference_requests(), scenario.config, scenario.step_time), engine)


def trtllm(seed: int) -> tuple[Scenario[Any], Reference]:
    scenario = trtllm_scenarios.staged(trtllm_scenarios.random_scenario(seed), 2 + seed % 3)
    engine = {"name": "trtllm", **asdict(scenario.config)}
    del engine["pp_size"]
    return scenario, (TrtllmWorker(scenario.reference_requests(), scenario.config, scenario.step_time), engine)


@pytest.mark.parametrize("leap", [True, False], ids=["leap", "step"])
@pytest.mark.parametrize("make", [vllm, sglang, trtllm])
def test_bubbles_are_those_of_the_reference(make: Any, leap: bool) -> None:
    shares, leaps = set(), 0
    for seed in range(60):
        scenario, (worker, engine) = make(seed)
        worker.run(scenario.max_passes)
        all_ps, idle_ps = worker.stages.idle_time()
        wanted = float(idle_ps) / float(all_ps) if all_ps else None
        columns = native.trace_columns(scenario, native.by_arrival(scenario))
        described = native.description(scenario, engine, len(worker.stages)) | {"leap": leap}
        del described["record"]  # with a log, some passes are not leapt over
        run = _core.simulate(_core.Trace.from_columns(**columns), json.dumps(described))
        assert small.summary(run).get("bubble_share") == wanted, scenario.name
        shares.add(wanted)
        leaps += run.leaps
    assert len(shares) > 20
    assert (leaps > 0) == leap
