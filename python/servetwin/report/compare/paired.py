"""How each single request fares in another result: the same trace has the same requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..page.numbers import shorts
from ..page.quantiles import CURVE, Groups, quantile
from ..page.rows import Rows

PAIRED = ("ttft_ms", "tpot_ms", "e2e_ms")
SHARES = {"p5": 0.05, "p50": 0.5, "p95": 0.95}

CHANGES = tuple(sorted({*CURVE, *(1 - share for share in CURVE)}))
"""Where the distribution of changes is drawn: it has two tails."""


@dataclass(frozen=True)
class Pairs:
    """Of one latency: the change from the first result to another, request by request, in milliseconds.

    Attributes:
        count: requests that completed in both and have this latency.
        faster: the share of them for which it is shorter in the other result, by any amount.
        slower: the share for which it is longer.
    """

    metric: str
    count: int
    mean: float
    percentiles: dict[str, float]
    faster: float
    slower: float
    curve: list[float]

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "curve"}


def pair(first: Rows, other: Rows) -> list[Pairs]:
    """The two must be of the same trace. A latency that no request has in both is left out."""
    found = [_pairs(name, first, other) for name in PAIRED]
    return [pairs for pairs in found if pairs is not None]


def _pairs(name: str, first: Rows, other: Rows) -> Pairs | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    changes = pc.drop_null(pc.subtract(other.latencies[name], first.latencies[name]))
    if not len(changes):
        return None
    (ordered,) = Groups(changes, pa.array([0] * len(changes), pa.int32()), 1)
    return Pairs(
        metric=name,
        count=len(changes),
        mean=pc.mean(changes).as_py(),
        percentiles={label: quantile(ordered, share) for label, share in SHARES.items()},
        faster=pc.sum(pc.less(changes, 0)).as_py() / len(changes),
        slower=pc.sum(pc.greater(changes, 0)).as_py() / len(changes),
        curve=[value for value in shorts(quantile(ordered, share) for share in CHANGES) if value is not None],
    )
