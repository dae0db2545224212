"""What a router needs of a workload: sessions to keep together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..spec import Spec
from ..spec.router import ConsistentHashingRouter, SessionAffinityRouter

if TYPE_CHECKING:
    from .._core import Trace


def check_sessions(spec: Spec, trace: Trace) -> None:
    """Raises SpecError where the router goes by sessions and there are none."""
    router = spec.router
    by_session = isinstance(router, ConsistentHashingRouter) and router.key == "session"
    if not isinstance(router, SessionAffinityRouter) and not by_session:
        return
    if not trace.column("after").strip(b"\xff"):  # all -1
        raise spec.source.problem(
            ("router",),
            f"{router.kind} keeps sessions together, but no request of the workload belongs to one",
            wanted="a workload with sessions, or another router",
        )
