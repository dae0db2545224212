"""What the host adds: to each pass, to each of its rows, and to each request on its way in and out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..spec.timing import HostTiming
from ..units import PS_PER_MS, PS_PER_US, nearest_ps

if TYPE_CHECKING:
    from ..catalog.stages import Stage


@dataclass(frozen=True)
class Launches:
    """How long the host takes to launch a layer's kernels, in microseconds: the least a pass can last."""

    eager_us: float
    piecewise_us: float
    """Where all but the attention is replayed from a graph."""


@dataclass(frozen=True)
class Host:
    """Of each pass, in milliseconds, and of each request in it, in microseconds."""

    pass_ms: float
    row_us: float
    launches: Launches

    @property
    def assumptions(self) -> dict[str, float | str]:
        return {
            "host_ms": self.pass_ms,
            "host_row_us": self.row_us,
            "eager_layer_us": self.launches.eager_us,
            "piecewise_layer_us": self.launches.piecewise_us,
        }

    @property
    def pass_ps(self) -> int:
        return nearest_ps(self.pass_ms, PS_PER_MS)

    @property
    def row_ps(self) -> int:
        return nearest_ps(self.row_us, PS_PER_US)


def host(options: HostTiming, stage: Stage | None = None) -> Host:
    """As a spec gives it. The host prepares a pass for later stages while it is in the first, but launches each
    stage's kernels."""
    own = Host(options.host_ms, options.host_row_us, Launches(options.eager_layer_us, options.piecewise_layer_us))
    return own if stage is None or stage.is_first else replace(own, pass_ms=0.0, row_us=0.0)
