"""The requests: read from a trace or generated, always as the core's columnar `Trace`."""

from .open import check_blocks, open_workload
from .read import read_trace
from .write import write_trace

__all__ = ["check_blocks", "open_workload", "read_trace", "write_trace"]
