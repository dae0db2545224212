"""What a router needs of a workload: sessions, or prompts whose beginnings can be told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..spec import Spec
from ..spec.router import CacheAwareRouter, ConsistentHashingRouter, PrefixHashRouter, SessionAffinityRouter

if TYPE_CHECKING:
    from .._core import Trace


def check_router_keys(spec: Spec, trace: Trace) -> None:
    """Raises SpecError where the router could do nothing with any of the requests."""
    router = spec.router
    hashes_sessions = isinstance(router, ConsistentHashingRouter) and router.key == "session"
    if (isinstance(router, SessionAffinityRouter) or hashes_sessions) and not _has_sessions(trace):
        raise spec.source.problem(
            ("router",),
            f"{router.kind} keeps sessions together, but no request of the workload belongs to one",
            wanted="a workload with sessions, or another router",
        )
    hashes_prefixes = isinstance(router, ConsistentHashingRouter) and router.key == "prefix"
    if (isinstance(router, (PrefixHashRouter, CacheAwareRouter)) or hashes_prefixes) and not _has_ids(trace):
        raise spec.source.problem(
            ("router",),
            f"{router.kind} looks at how prompts begin, but the workload says nothing of their contents",
            wanted="a workload with block ids or shared prefixes, or another router",
        )


def _has_sessions(trace: Trace) -> bool:
    return bool(trace.column("after").strip(b"\xff"))


def _has_ids(trace: Trace) -> bool:
    return any(trace.column("block_offsets")[-8:])
