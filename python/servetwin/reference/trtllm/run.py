"""From requests to records."""

from __future__ import annotations

from collections.abc import Sequence

from ..request import Request
from ..step_time import StepTime
from ..vllm.records import RunRecord
from .config import EngineConfig
from .engine import Worker
from .pipeline import PipelinedWorker


def run(
    requests: Sequence[Request],
    config: EngineConfig,
    step_time: StepTime,
    *,
    max_passes: int | None = None,
) -> RunRecord:
    """Runs one worker until every request has ended, it is stuck, or after `max_passes`.

    Row i of `requests` has index i. At equal times a pass ends before requests arrive, and they
    arrive, by row, before the next pass is decided.
    """
    worker = PipelinedWorker if config.pp_size > 1 else Worker
    return worker(requests, config, step_time).run(max_passes)
