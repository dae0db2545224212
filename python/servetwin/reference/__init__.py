"""The engines' schedulers in plain Python, one pass at a time: how to learn an engine.

One package an engine: `vllm`, `sglang` and `trtllm`, each with an `engine.py`, the clock, to start from.
They share what is asked of a worker (`request.py`), how long a pass takes (`step_time.py`) and the stages of a
pipeline (`stages.py`).
The native core must give the same records, to the last picosecond.
"""

from .lowered import step_time
from .request import Request
from .step_time import (
    Affine,
    DecodeGrid,
    Features,
    Graphs,
    Line,
    Linear,
    MixedGrid,
    Polynomial,
    PromptGrid,
    StepTime,
    Tabulated,
)

__all__ = [
    "Affine",
    "DecodeGrid",
    "Features",
    "Graphs",
    "Line",
    "Linear",
    "MixedGrid",
    "Polynomial",
    "PromptGrid",
    "Request",
    "StepTime",
    "Tabulated",
    "step_time",
]
