"""A model with the terms of a profile: `timing: {profile: …}`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .base import Evidence, Lowered, PassLimits, TimingModel
from .draws import MEDIAN_OF_NORMAL, TIME, ErrorDraw, Scaled
from .tables import Measured
from .terms import HOST, REQUEST, with_terms, without_host

if TYPE_CHECKING:
    from .profile import Profile


@dataclass(frozen=True)
class Calibrated:
    """`terms`: the profile's, or others drawn from what is known of their errors."""

    model: TimingModel
    profile: Profile
    terms: Mapping[str, float]
    host_ms: float
    """Of the model."""
    balance: float
    """Of the GPU, in tokens."""
    is_later: bool = False
    """Of a pipeline, a stage after the first: the host's part is in that one."""

    @property
    def evidence(self) -> Evidence:
        return Evidence.CALIBRATED

    @property
    def layers(self) -> int:
        """Whose launches the model knows."""
        return getattr(self.model, "layers", 0)

    @property
    def assumptions(self) -> dict[str, float | str]:
        fitted = {name: round(value, 4) for name, value in self.terms.items()}
        over = {name: value for name, value in self.model.assumptions.items() if name not in fitted}
        return {**fitted, "fitted_to": ", ".join(source.file for source in self.profile.sources), **over}

    @property
    def spread(self) -> float:
        return self.profile.spread

    def lower(self, limits: PassLimits) -> Lowered:
        terms = without_host(self.terms) if self.is_later else self.terms
        lowered = with_terms(self.model.lower(limits), terms, self.host_ms, self.balance)
        known = lowered.description.get("measured")
        measured = self.profile.domain.measured(None if known is None else Measured(**known))
        return replace(lowered, description=lowered.description | {"measured": vars(measured)})

    def drawn(self, draw: ErrorDraw) -> TimingModel:
        """With the terms' errors, as they hang together, and what is left of held-out measurements after them."""
        names = list(self.profile.terms)
        independent = [draw.normal(name) for name in names]
        terms = dict(self.terms)
        for name, row in zip(names, cholesky(self.profile.correlation), strict=True):
            if name == REQUEST:
                continue  # of the front end, not of a pass
            term = self.profile.terms[name]
            off = term.std * sum(share * normal for share, normal in zip(row, independent, strict=True))
            moved = term.value + off if name == HOST else term.value * math.exp(off)
            terms[name] = min(max(moved, term.low), term.high)
        drawn = replace(self, terms=terms)
        if not self.spread:
            return drawn
        return Scaled(drawn, math.exp(self.spread / MEDIAN_OF_NORMAL * draw.normal(TIME)))


def cholesky(matrix: list[list[float]]) -> list[list[float]]:
    """Of a correlation matrix: its lower triangle L, L · Lᵀ the matrix. What rounding made negative counts as 0."""
    size = len(matrix)
    lower = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            left = matrix[i][j] - sum(lower[i][k] * lower[j][k] for k in range(j))
            if i == j:
                lower[i][i] = math.sqrt(max(left, 0.0))
            elif lower[j][j] > 0:
                lower[i][j] = left / lower[j][j]
    return lower
