"""Every recording of the real vLLM scheduler, replayed by both engines.

The recordings are not part of the repository: SERVETWIN_DATA names the folder that holds
`oracles/`, `../shared/data` beside the checkout otherwise.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from servetwin.conformance import REPLAYERS, check_folder
from servetwin.conformance.replay import native
from servetwin.conformance.scenario import Scenario
from servetwin.reference import RunRecord

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SERVETWIN_DATA", REPOSITORY.parent / "shared" / "data"))
RECORDINGS = DATA / "oracles" / "vllm"

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"no vLLM recordings in {RECORDINGS}: set SERVETWIN_DATA"
)


def leaping(scenario: Scenario) -> RunRecord:
    """The native core without block numbers, which are only followed step by step."""
    leapt = native(replace(scenario, block_ids=False))
    if scenario.block_ids:
        numbered = native(scenario)
        for one, other in zip(leapt.passes, numbered.passes, strict=True):
            one.blocks = other.blocks
    return leapt


@pytest.mark.parametrize("replayer", [*REPLAYERS.values(), leaping], ids=[*REPLAYERS, "leaping"])
def test_every_recording_agrees(replayer: object) -> None:
    results = list(check_folder(RECORDINGS, replayer))  # type: ignore[arg-type]
    disagreeing = [str(result.first or result.problem) for result in results if not result.agrees]
    assert not disagreeing, "\n".join(disagreeing)
    assert len(results) >= 40
