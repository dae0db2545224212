"""The same traffic, denser: how a workload is brought to a load, and whether a run keeps up with it."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..spec import Spec
from ..workload.transform import transform

if TYPE_CHECKING:
    from .._core import Trace

STEPS_PER_DOUBLING = 16
"""Loads lie on a ladder, 4.4 % apart, that all candidates share: they are compared under the same arrivals."""

GROWTH = 0.05
"""A backlog that grows by more than this share of the arrivals, and than chance explains, is no steady state."""

DEVIATIONS = 3.0
"""Of the difference of two Poisson numbers: what chance explains."""

KEPT_TRACES = 32
"""Rescaled copies of the workload that are kept at a time."""


def ladder(rung: int) -> float:
    """The factor of a rung; rung 0 is the workload as it is."""
    return float(f"{2 ** (rung / STEPS_PER_DOUBLING):.6g}")


def rung_at_most(factor: float) -> int:
    return math.floor(math.log2(factor) * STEPS_PER_DOUBLING + 1e-9)


class Ran(Protocol):
    """What a run came to."""

    @property
    def summary(self) -> Mapping[str, Any]: ...

    @property
    def stalled(self) -> bool: ...


class Loads:
    """A workload at any speed, the pauses of its sessions included; safe to be asked by several threads."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._kept: OrderedDict[float, Trace] = OrderedDict()
        self._lock = threading.Lock()

    def trace(self, factor: float) -> Trace:
        if factor == 1:
            return self._trace
        with self._lock:
            known = self._kept.get(factor)
            if known is not None:
                self._kept.move_to_end(factor)
                return known
        made = transform(self._trace, [{"speedup": factor}])
        with self._lock:
            self._kept[factor] = made
            if len(self._kept) > KEPT_TRACES:
                self._kept.popitem(last=False)
        return made


def with_users(spec: Spec, users: int) -> Spec:
    """The spec with so many users in its closed loop."""
    return spec.with_workload(spec.workload.model_copy(update={"users": users}))


def keeps_up(summary: Mapping[str, float]) -> bool:
    """Whether requests end as fast as they come in the second half of the arrivals.

    A backlog may vary as much as a number of independent requests in flight does (of variance twice its mean, being
    the difference of two), and by `GROWTH` of the arrivals beside.
    """
    arrivals = summary.get("backlog.arrivals", 0)
    if not arrivals:
        return True
    middle, end = summary["backlog.middle"], summary["backlog.end"]
    return end - middle <= GROWTH * arrivals + DEVIATIONS * math.sqrt(2 * max(middle, 1))


def shortcoming(summary: Mapping[str, float], *, stalled: bool) -> str | None:
    """Why a run does not meet its service level at this load; None if it does. Without a level it need only keep up."""
    if stalled:
        return "stalls: a replica stops making progress"
    found = _missed(summary)
    if not keeps_up(summary):
        grown = int(summary["backlog.end"] - summary["backlog.middle"])
        more = f"{grown:,} more requests in flight after {int(summary['backlog.arrivals']):,} arrivals"
        return f"{f'{found} and ' if found else ''}does not keep up: {more}"
    unserved = int(summary["requests"] - summary["completed"])
    if unserved and "slo.met" not in summary:
        return f"{unserved:,} requests are not served"
    if found is None:
        return None
    because = f" ({unserved:,} of {int(summary['requests']):,} requests not served)" if unserved else ""
    return f"{found}{because}"


def _missed(summary: Mapping[str, float]) -> str | None:
    """What of the service level is missed; None without one."""
    if summary.get("slo.met", True):
        return None
    wanted = [key.removesuffix(".met") for key, met in summary.items() if key.startswith("slo.") and not met]
    broken = [key.removeprefix("slo.") for key in wanted if key != "slo"]
    return f"misses {', '.join(broken) if broken else 'the attainment'}"


def meets(run: Ran) -> bool:
    return shortcoming(run.summary, stalled=run.stalled) is None
