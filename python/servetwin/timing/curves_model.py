"""Curves of a pass, with the host and the CUDA graphs of an engine: a model that can be lowered."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ..catalog.stages import Stage
from .base import Evidence, Lowered, PassCurves, PassLimits
from .cache import once
from .graphs import Captured
from .host import Host
from .sends import send_s
from .tables import PassTables
from .tabulate import error_share, tabulate

COMPOSED = 0.12
"""The median error of passes beside that of their operators: engines run other kernels than were timed, in other
orders, behind other hosts. With it, nine tenths of the times per output token of AIConfigurator's silicon sample lie in
their 90 % intervals; see `accuracy.coverage.silicon`."""


class Curves(PassCurves, Protocol):
    """Their `repr` tells apart whatever gives other times."""

    @property
    def evidence(self) -> Evidence: ...

    @property
    def assumptions(self) -> dict[str, float | str]: ...


@dataclass(frozen=True)
class OfStage:
    """Curves of whole passes, divided among pipeline stages by their layers."""

    whole: Curves
    stage: Stage
    share: float
    """Of the layers, those of the stage."""
    hidden: int
    tensor: int

    @property
    def evidence(self) -> Evidence:
        return self.whole.evidence

    @property
    def assumptions(self) -> dict[str, float | str]:
        return self.whole.assumptions

    @property
    def spread(self) -> float:
        return self.whole.spread

    def tokens_s(self, tokens: int) -> float:
        return self.whole.tokens_s(tokens) * self.share + send_s(self.stage, tokens, self.hidden, self.tensor)

    def decode_s(self, rows: int, context: int) -> float:
        return self.whole.decode_s(rows, context) * self.share

    def prompt_s(self, tokens: int, work: int) -> float:
        return self.whole.prompt_s(tokens, work) * self.share

    def head_s(self, sequences: int) -> float:
        return self.whole.head_s(sequences) if self.stage.is_last else 0.0

    def distance(self, prefill: int, work: int, rows: int, context: int) -> float:
        return self.whole.distance(prefill, work, rows, context)


@dataclass(frozen=True)
class CurvesModel:
    curves: Curves
    host: Host
    captured: Captured
    layers: int
    """Of one pipeline stage, whose kernels are launched."""

    @property
    def evidence(self) -> Evidence:
        return self.curves.evidence

    @property
    def assumptions(self) -> dict[str, float | str]:
        return self.curves.assumptions | self.host.assumptions | {"cuda_graphs": self.captured.summary}

    @property
    def spread(self) -> float:
        """Of passes: that of their operators, and what comes to it when they are put together."""
        operators = self.curves.spread
        return math.hypot(operators, COMPOSED) if operators else 0.0

    def lower(self, limits: PassLimits) -> Lowered:
        rounded = _rounded(limits)
        tables, error = once(f"{self.curves!r} {rounded!r}", lambda: self._tabulated(rounded), _read)
        return tables.lower(self.host, self.captured, self.layers, limits, error)

    def _tabulated(self, limits: PassLimits) -> dict[str, Any]:
        tables = tabulate(self.curves, limits)
        return {"tables": asdict(tables), "error_share": error_share(self.curves, tables, limits)}


def _read(made: dict[str, Any]) -> tuple[PassTables, float]:
    return PassTables.of(made["tables"]), made["error_share"]


def _rounded(limits: PassLimits) -> PassLimits:
    """Up to powers of two, so that engines which differ a little share their tables."""
    return PassLimits(**{name: 1 << (value - 1).bit_length() for name, value in asdict(limits).items()})
