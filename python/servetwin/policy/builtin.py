"""The built-in routers in Python: what the native ones of the same names do, and what to build one's own on."""

from __future__ import annotations

from collections.abc import Sequence

from .router import Choice, ReplicaView, RouterRequest


class RoundRobin:
    """Each replica in turn; the null router."""

    def __init__(self) -> None:
        self._routed = 0

    def route(self, request: RouterRequest, replicas: Sequence[ReplicaView]) -> Choice:
        self._routed += 1
        return Choice((self._routed - 1) % len(replicas), "turn")


class LeastRequests:
    """The replica with the fewest requests; the lowest index among equals."""

    def route(self, request: RouterRequest, replicas: Sequence[ReplicaView]) -> Choice:
        return Choice(min(replicas, key=lambda replica: replica.requests).index, "fewest requests")
