"""The requests: read from a trace or generated, always as the core's columnar `Trace`."""

from .like import like, match
from .open import check_blocks, open_workload
from .read import read_trace
from .sessions import check_sessions
from .transform import transform
from .write import write_trace

__all__ = [
    "check_blocks",
    "check_sessions",
    "like",
    "match",
    "open_workload",
    "read_trace",
    "transform",
    "write_trace",
]
