"""Everything a page shows of a result, as JSON."""

from __future__ import annotations

from typing import Any

from ...result.result import Result
from ..terminal import said
from . import groups, replicas, slowest
from .quantiles import CURVE
from .rows import Rows, window
from .time import Bins

MOST_STALLED = 200
"""Names of hanging requests; the page says how many more there are."""


def view(result: Result, *, detail: bool = True) -> dict[str, Any]:
    """What `page.js` draws.

    Args:
        detail: with each replica's and class's own figures and single requests; without, only those of all
            requests, for pages that hold several results.
    """
    rows = Rows.of(result)
    bins = Bins.over(rows.length_s, len(rows))
    split = groups.splits(rows) if detail else groups.splits(rows)[:1]
    shown = [group for one in split for group in groups.describe(rows, one, bins)]
    found: dict[str, Any] = {
        "status": result.status,
        "summary": result.summary,
        "rejections": result.rejections,
        "stalled": {"count": len(result.stalled), "names": result.stalled[:MOST_STALLED]},
        "provenance": result.provenance,
        "spec_yaml": spec_yaml(result),
        "said": [[label, text] for label, text, _ in said(result)],
        "curve": list(CURVE),
        "bins": bins.described() | {"seconds": bins.seconds()},
        "window_s": [None if ps is None else ps / 1e12 for ps in window(result)],
        "replicas": replicas.over_time(result, rows),
        "blocks": blocks(result),
        "groups": shown,
    }
    if detail:
        ranked = slowest.ranks(rows, split)
        for group, rank in zip(shown, ranked, strict=True):
            group["slowest"] = rank
        chosen = sorted({row for rank in ranked for part in rank.values() for row in part})
        found |= {
            "requests": {entry["row"]: entry for entry in slowest.requests(rows, chosen)},
            "replica_totals": replicas.totals(rows),
            "classes": rows.classes,
        }
    return found


def spec_yaml(result: Result) -> str:
    import yaml

    return str(yaml.safe_dump(result.provenance["spec"], sort_keys=False, allow_unicode=True, width=100))


def blocks(result: Result) -> int | None:
    """The cache blocks of a replica that requests can use: all but the null block."""
    given = result.provenance["engine"].get("num_gpu_blocks")
    return given - 1 if isinstance(given, int) and given > 1 else None
