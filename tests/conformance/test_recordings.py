"""Every recording of the real schedulers, replayed by both implementations.

The recordings are not part of the repository: SERVETWIN_DATA names the folder that holds
`oracles/`, `../shared/data` beside the checkout otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from servetwin.conformance import SGLANG, VLLM, Subject, check_folder
from servetwin.conformance.scenario import Scenario
from servetwin.reference.vllm import EngineConfig, RunRecord

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SERVETWIN_DATA", REPOSITORY.parent / "shared" / "data"))
LEAST = {"vllm": 40, "sglang": 25}
"""How many recordings there have been: a folder may not lose any."""


def recordings(subject: Subject[Any, Any]) -> Path:
    folder = DATA / "oracles" / subject.name
    if not folder.is_dir():
        pytest.skip(f"no {subject.name} recordings in {folder}: set SERVETWIN_DATA")
    return folder


def leaping(scenario: Scenario[EngineConfig]) -> RunRecord:
    """vLLM in the native core without block numbers, which are only followed step by step."""
    native = VLLM.replayers["native"]
    leapt = native(replace(scenario, block_ids=False))
    if scenario.block_ids:
        numbered = native(scenario)
        for one, other in zip(leapt.passes, numbered.passes, strict=True):
            one.blocks = other.blocks
    return leapt


CASES = [
    *((VLLM, VLLM.replayers[name], name) for name in VLLM.replayers),
    (VLLM, leaping, "leaping"),
    *((SGLANG, SGLANG.replayers[name], name) for name in SGLANG.replayers),
]


@pytest.mark.parametrize(
    ("subject", "replayer"), [case[:2] for case in CASES], ids=[f"{case[0].name}-{case[2]}" for case in CASES]
)
def test_every_recording_agrees(subject: Subject[Any, Any], replayer: Callable[[Scenario[Any]], Any]) -> None:
    results = list(check_folder(recordings(subject), subject, replayer))
    disagreeing = [str(result.first or result.problem) for result in results if not result.agrees]
    assert not disagreeing, "\n".join(disagreeing)
    assert len(results) >= LEAST[subject.name]
