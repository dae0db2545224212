"""A comparison as a page, in the manner of a single result's."""

from __future__ import annotations

from typing import Any

from ...result.result import Result
from ..page import replicas
from ..page.document import COMMON, HERE, page
from ..page.numbers import short
from ..page.view import view
from .comparison import Comparison
from .paired import CHANGES

COMPARE = (*COMMON, HERE / "compare.js")


def comparison_page(comparison: Comparison) -> str:
    """The page, as HTML that needs nothing else. The same for the same results."""
    curves = [{pairs.metric: pairs.curve for pairs in one} for one in comparison.paired]
    data = {
        **comparison.as_json(),
        "views": [_view(result) for result in comparison.results],
        "changes": {"shares": list(CHANGES), "curves": curves},
    }
    return page(" and ".join(comparison.names), COMPARE, data)


def _view(result: Result) -> dict[str, Any]:
    """Without single replicas, but with what they come to together."""
    found = view(result, detail=False)
    series = found.pop("replicas")
    usable = found["blocks"]
    found["load"] = {
        "width_s": series["width_s"],
        "running": _together(series, "running"),
        "waiting": _together(series, "waiting"),
        "kv_use": None if not usable else _together(series, "used_blocks", len(series["replicas"]) * usable),
    }
    return found


def _together(series: dict[str, Any], name: str, unit: int = 1) -> list[float | None]:
    """The sum over all replicas in each bin; one that is no longer observed has nothing left to do."""
    assert name in replicas.MEASURES
    columns = zip(*series[name], strict=True)
    return [short(sum(value or 0.0 for value in column) / unit) for column in columns]
