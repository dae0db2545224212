"""How long this process has been running."""

from __future__ import annotations

import os
import time
from pathlib import Path

_IMPORTED = time.perf_counter()


def process_seconds() -> float:
    """Since the process was created; where the system does not tell, since servetwin was imported.

    Linux counts in clock ticks, usually 10 ms.
    """
    try:
        stat = Path("/proc/self/stat").read_text()
        # The second field, the command, may hold spaces; the 22nd is the start time in ticks since boot.
        ticks = int(stat.rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return time.perf_counter() - _IMPORTED
