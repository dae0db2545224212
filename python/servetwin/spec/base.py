"""What every part of a spec has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ..units import HORIZON_PS, PS_PER_S

MAX_COUNT = 2**31 - 1
"""Tokens, blocks and rows are 32-bit numbers in the core."""

MAX_REPLICAS = 1_000_000
"""Of a pool, their data ranks and stages counted."""

MAX_STAGES = 1024
"""More than any model has layers."""

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
CountOrZero = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
HORIZON_S = HORIZON_PS // PS_PER_S
"""No span of simulated time need be longer than the longest run."""
HORIZON_MS = 1000 * HORIZON_S
Milliseconds = Annotated[NotNegative, Field(le=HORIZON_MS)]
Microseconds = Annotated[NotNegative, Field(le=1e9)]
"""Of what happens often: for each token, row, layer or message."""
GbytesPerS = Annotated[float, Field(ge=1e-3, le=1e6)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]


class SpecModel(BaseModel):
    """Frozen; unknown keys are refused, and nothing is converted in silence (no "8" for 8, no true for 1)."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        defer_build=True,  # once, as part of the whole, rather than each alone as well
    )
