"""Recordings of SGLang's scheduler, in its loop without overlap."""

from __future__ import annotations

from ...errors import InputError
from ...reference.sglang import EngineConfig, RunRecord
from ..scenario import Scenario
from ..subject import Subject, keys
from .config import read_config, take_effective
from .render import render
from .replay import native, reference

__all__ = ["SGLANG"]


def refuse_unrecorded(scenario: Scenario[EngineConfig], file: str) -> None:
    """This recorder knows arrivals by time, and follows no blocks."""
    if scenario.block_ids:
        raise InputError("is not recorded for SGLang", file=file, field="block_ids")
    for index, request in enumerate(scenario.requests):
        if request.step is not None:
            raise InputError("is not recorded for SGLang", file=file, field=f"requests[{index}].step")


SGLANG: Subject[EngineConfig, RunRecord] = Subject(
    name="sglang",
    versions=("0.5.23",),
    read_config=read_config,
    take_effective=take_effective,
    refuse_unrecorded=refuse_unrecorded,
    step_keys=keys("t dt kind s wait run avail evict ratio retr pre chunk fin avail_end evict_end stuck live"),
    request_keys=keys("id arrival first_sched ttft finish n_in n_out cached retract"),
    totals_keys=keys("steps end retractions cached n_in n_out finished wall_s"),
    replayers={"native": native, "reference": reference},
    render=render,
)
