"""One vLLM worker in plain Python, one pass at a time: how to learn the engine.

Start with `engine.py`, the clock (with pipeline stages: `pipeline.py`); then `scheduler.py`, what goes into each pass;
then `block_pool.py`, where blocks come from. The native core must give the same records, to the last picosecond.
"""

from ..acceptance import Cycle, Drawn
from .config import EngineConfig, OtherGroups
from .host import HostConfig
from .records import PassRecord, RequestRecord, RunRecord, Stuck
from .run import run

__all__ = [
    "Cycle",
    "Drawn",
    "EngineConfig",
    "HostConfig",
    "OtherGroups",
    "PassRecord",
    "RequestRecord",
    "RunRecord",
    "Stuck",
    "run",
]
