"""The requests: read from a trace or generated, always as the core's columnar `Trace`."""

from .open import check_blocks, open_workload

__all__ = ["check_blocks", "open_workload"]
