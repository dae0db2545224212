"""Curves of a pass with the host and the CUDA graphs of an engine: a model that can be lowered."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from .base import Evidence, Lowered, PassLimits
from .composed import Composed
from .graphs import Captured
from .host import Host
from .tabulate import error_share, tabulate


@dataclass(frozen=True)
class ComposedModel:
    curves: Composed
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
        layers = ceil(self.curves.model.layers / self.curves.ranks.pipeline)
        return tables.lower(self.host, self.captured, layers, limits, share)
