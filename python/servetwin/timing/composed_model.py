"""Curves of a pass with the host and the CUDA graphs of an engine: a model that can be lowered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .base import Evidence, Lowered, PassCurves, PassLimits
from .graphs import Captured
from .host import Host
from .tabulate import error_share, tabulate


class KnownCurves(PassCurves, Protocol):
    """That say how they are known."""

    @property
    def evidence(self) -> Evidence: ...

    @property
    def assumptions(self) -> dict[str, float | str]: ...

    @property
    def stage_layers(self) -> int:
        """Layers of the fullest pipeline stage, which are launched one after the other."""
        ...


@dataclass(frozen=True)
class ComposedModel:
    curves: KnownCurves
    host: Host
    captured: Captured

    @property
    def evidence(self) -> Evidence:
        return self.curves.evidence

    @property
    def assumptions(self) -> dict[str, float | str]:
        return self.curves.assumptions | self.host.assumptions | {"cuda_graphs": self.captured.summary}

    def lower(self, limits: PassLimits) -> Lowered:
        tables = tabulate(self.curves, limits)
        share = error_share(self.curves, tables, limits)
        return tables.lower(self.host, self.captured, self.curves.stage_layers, limits, share)
