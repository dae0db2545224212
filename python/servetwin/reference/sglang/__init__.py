"""One SGLang worker in plain Python, one pass at a time: how to learn the engine.

Start with `engine.py`, the clock; then `scheduler.py`, what goes into each pass; then
`admission.py`, what fits, and `radix_tree.py`, what is cached; `pipeline.py`, several stages.
The native core must give the same records, to the last picosecond.
"""

from .config import Channel, EngineConfig, HiCacheConfig
from .records import PassRecord, RequestRecord, RunRecord, Stuck
from .run import run

__all__ = ["Channel", "EngineConfig", "HiCacheConfig", "PassRecord", "RequestRecord", "RunRecord", "Stuck", "run"]
