"""Errors of the models in the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..accuracy.operators import TARGETS, Errors
from ..timing.operators import provenance


def operator_table(errors: Sequence[Errors]) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in ("operator", "kind", "GPU"):
        table.add_column(column, no_wrap=True)
    for column in ("shapes", "median", "p90", "unmeasured"):
        table.add_column(column, justify="right", no_wrap=True)
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
