"""Errors of the models in the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from ..accuracy.operators import TARGETS, Errors
from ..timing.operators import provenance
from .console import plain_table


def operator_table(errors: Sequence[Errors]) -> RenderableType:
    table = plain_table("operator", "kind", "GPU", "shapes", "median", "p90", "unmeasured", words=3)
    for one in errors:
        style = "" if one.median <= TARGETS[one.operator] else "yellow"
        other = "" if one.sibling_median is None else f"{one.sibling_median:.1%} by {one.sibling}"
        table.add_row(
            one.operator,
            one.kind,
            one.gpu,
            f"{one.shapes:,}",
            f"{one.median:.1%}",
            f"{one.p90:.1%}",
            other,
            style=style,
        )
    lines = [Text(_summary(operator, errors)) for operator in TARGETS]
    note = (
        f"Relative errors on a fifth of the shapes, kept from the fit; kinds: formats, or ranks. {provenance()}. "
        "unmeasured: median with the curve of another GPU of the generation, over all shapes."
    )
    return Group(table, *lines, Text(note, "dim"))


def _summary(operator: str, errors: Sequence[Errors]) -> str:
    medians = [one.median for one in errors if one.operator == operator]
    if not medians:
        return f"{operator}: no timings"
    within = sum(median <= TARGETS[operator] for median in medians)
    return (
        f"{operator}: median of medians {statistics.median(medians):.1%}, wanted {TARGETS[operator]:.0%}, "
        f"{within} of {len(medians)} within"
    )
