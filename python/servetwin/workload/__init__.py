"""The requests: read from a trace or generated, always as the core's columnar `Trace`."""

from .like import like, match
from .open import check_blocks, open_workload
from .read import read_trace
from .transform import transform
from .write import write_trace

__all__ = ["like", "match", "check_blocks", "open_workload", "read_trace", "transform", "write_trace"]
