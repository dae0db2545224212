"""Recordings of vLLM's scheduler."""

from __future__ import annotations

from ...reference.vllm import EngineConfig, RunRecord
from ...reference.vllm.config import RULES
from ..fields import Fields
from ..scenario import Scenario
from ..subject import Subject, keys
from .config import read_config
from .render import render
from .replay import native, reference

__all__ = ["VLLM"]


def nothing_more(fields: Fields, config: EngineConfig) -> None:
    """The recorder repeats its options, and adds none."""


def follows_all(scenario: Scenario[EngineConfig], file: str) -> None:
    """This recorder's format is the whole format."""


VLLM: Subject[EngineConfig, RunRecord] = Subject(
    name="vllm",
    versions=tuple(RULES),
    read_config=read_config,
    take_effective=nothing_more,
    refuse_unrecorded=follows_all,
    step_keys=keys("t dt ts s free free_end run wait new res pre fin blk acc stuck waiting"),
    request_keys=keys("id arrival first_sched ttft finish n_in n_out cached cached_resume preempt steps out_times"),
    totals_keys=keys("steps end preemptions cached n_in n_out finished wall_s"),
    replayers={"native": native, "reference": reference},
    render=render,
)
