"""The load of a deployment as one number that can be turned: a speedup of the arrivals, or a number of users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..spec import Spec
from .load import Loads, ladder, with_users

if TYPE_CHECKING:
    from .._core import Trace


@dataclass(frozen=True)
class LoadAxis:
    """Rungs of a ladder around the workload as it is, which is rung 0."""

    users: int | None
    """Of a closed loop."""
    loads: Loads

    @classmethod
    def of(cls, spec: Spec, trace: Trace) -> LoadAxis:
        return cls(spec.users, Loads(trace))

    @property
    def name(self) -> str:
        return "speedup" if self.users is None else "users"

    def load(self, rung: int) -> float:
        """The speedup, or the number of users; neighbouring rungs may have the same number."""
        if self.users is None:
            return ladder(rung)
        return float(max(round(self.users * ladder(rung)), 1))

    def of_now(self, load: float) -> float:
        """A load as a multiple of the workload's own."""
        return load if self.users is None else load / self.users

    def at(self, spec: Spec, load: float) -> tuple[Spec, Trace]:
        """What to run for `spec` under this load."""
        if self.users is None:
            return spec, self.loads.trace(load)
        return with_users(spec, int(load)), self.loads.trace(1.0)
