"""Every recording of the real vLLM scheduler, replayed.

The recordings are not part of the repository: SERVETWIN_DATA names the folder that holds
`oracles/`, `../shared/data` beside the checkout otherwise.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from servetwin.conformance import REPLAYERS, check_folder

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SERVETWIN_DATA", REPOSITORY.parent / "shared" / "data"))
RECORDINGS = DATA / "oracles" / "vllm"


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no vLLM recordings in {RECORDINGS}: set SERVETWIN_DATA")
def test_the_reference_agrees_with_every_recording() -> None:
    results = list(check_folder(RECORDINGS, REPLAYERS["reference"]))
    disagreeing = [str(result.first or result.problem) for result in results if not result.agrees]
    assert not disagreeing, "\n".join(disagreeing)
    assert len(results) >= 40
