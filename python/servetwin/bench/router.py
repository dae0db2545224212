"""A router in Python that decides nearly nothing: what it costs beyond itself is the way to Python and back."""

from __future__ import annotations

import subprocess
import sys
import timeit
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..policy import ReplicaView, RouterRequest


class InTurn:
    """Decides as `round_robin` does, so that both runs simulate the same."""

    def __init__(self) -> None:
        self.last = -1

    def route(self, request: RouterRequest, replicas: Sequence[ReplicaView]) -> int:
        self.last = (self.last + 1) % len(replicas)
        return self.last


def own_cost_s() -> float:
    """Seconds one of its decisions takes, called from Python, in a fresh process; the least of several counts."""
    code = "from servetwin.bench.router import time_decision; print(time_decision())"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def time_decision(calls: int = 100_000) -> float:
    router, replicas = InTurn(), [None] * 8
    timer = timeit.Timer("route(None, replicas)", globals={"route": router.route, "replicas": replicas})
    return min(timer.repeat(repeat=5, number=calls)) / calls
