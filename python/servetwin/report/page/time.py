"""The bins of time in which the page counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

MOST_BINS = 120

REQUESTS_A_BIN = 20
"""Wanted on average: percentiles of fewer say little."""


@dataclass(frozen=True)
class Bins:
    """`count` bins of `width_s`, from the first arrival on.

    The last one ends with the run, and is half as long as the others at least: rates of a moment are noise.
    """

    width_s: float
    count: int
    length_s: float

    @classmethod
    def over(cls, length_s: float, requests: int) -> Bins:
        """For a run of `length_s`, in which so many requests arrive. A run of no length has one bin of a second."""
        if length_s <= 0:
            return cls(1.0, 1, 1.0)
        wanted = min(MOST_BINS, max(requests // REQUESTS_A_BIN, 10))
        width_s = round_up(length_s / wanted)
        return cls(width_s, max(math.floor(length_s / width_s + 0.5), 1), length_s)

    def of(self, seconds: pa.Array) -> pa.Array:
        """The bin of each time, int32; null remains null."""
        import pyarrow as pa
        import pyarrow.compute as pc

        bins = pc.floor(pc.divide(seconds, self.width_s)).cast(pa.int32(), safe=False)
        return pc.min_element_wise(bins, pa.scalar(self.count - 1, pa.int32()), skip_nulls=False)

    def seconds(self) -> list[float]:
        """How long each one is."""
        last = self.length_s - self.width_s * (self.count - 1)
        return [self.width_s] * (self.count - 1) + [last if last > 0 else self.width_s]

    def described(self) -> dict[str, Any]:
        return {"width_s": self.width_s, "count": self.count, "length_s": self.length_s}


DAY_S = 86_400
CLOCK_S = (10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, DAY_S)


def round_up(width_s: float) -> float:
    """To a length that people count time in: 1, 2 or 5 of some power of ten up to 10 s, then as on a clock."""
    least = width_s * (1 - 1e-9)
    if width_s > DAY_S:
        return float(math.ceil(least / DAY_S) * DAY_S)
    if width_s > CLOCK_S[0]:
        return float(next(step for step in CLOCK_S if step >= least))
    power = 10.0 ** math.floor(math.log10(width_s))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least)
