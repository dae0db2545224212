"""Percentiles of many groups at once, as `docs/metrics.md` defines them, without a Python object a sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

CURVE = (
    *(step / 100 for step in range(90)),
    *(0.9 + step / 500 for step in range(45)),
    *(0.99 + step / 2000 for step in range(19)),
    0.9995,
    1.0,
)
"""The shares at which a distribution function is drawn: closer together towards the tail, which is what is read."""


class Groups:
    """Samples sorted by group and value.

    Args:
        values: float64, without nulls.
        groups: the group of each value, from 0 to `count` - 1.
        count: how many groups there are; any of them may be empty.
    """

    def __init__(self, values: pa.Array, groups: pa.Array, count: int) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        # Both sorts are stable, so the values of a group stay in order. The second counts, for it has few values.
        by_value = pc.array_sort_indices(values)
        by_group = pc.array_sort_indices(groups.take(by_value))
        ordered = values.take(by_value.take(by_group))
        self._buffers = ordered.cast(pa.float64()).buffers()
        self._values: memoryview[float] = memoryview(self._buffers[1] or b"").cast("B").cast("d")
        self.counts = [0] * count
        for entry in pc.value_counts(groups).to_pylist():
            self.counts[entry["values"]] = entry["counts"]

    def __iter__(self) -> Iterator[memoryview[float]]:
        """The values of each group, ascending."""
        first = 0
        for count in self.counts:
            yield self._values[first : first + count]
            first += count

    def quantiles(self, shares: Sequence[float]) -> list[list[float] | None]:
        """Of each group its quantiles; None where it is empty."""
        return [[quantile(values, share) for share in shares] if values else None for values in self]


def quantile(ascending: memoryview[float], share: float) -> float:
    """Between the closest ranks, linearly: at position (n - 1) · share."""
    position = (len(ascending) - 1) * share
    below = int(position)
    low = float(ascending[below])
    rest = position - below
    if rest == 0:
        return low
    return low + rest * (float(ascending[below + 1]) - low)
