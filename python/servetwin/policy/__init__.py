"""Decisions that users may make themselves: so far, which replica a request goes to.

`router.py` is the protocol, `builtin.py` two short examples of it.
"""

from .builtin import LeastRequests, RoundRobin
from .load import load_router
from .router import Choice, ReplicaView, Router, RouterRequest

__all__ = ["Choice", "LeastRequests", "ReplicaView", "RoundRobin", "Router", "RouterRequest", "load_router"]
