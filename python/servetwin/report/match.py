"""A trace and its look-alike, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..errors import printable
from ..workload.like import Figure, match
from .console import Output
from .terminal import WIDTH

if TYPE_CHECKING:
    from .._core import Trace

FAR = 0.1
"""A difference from here on is pointed out."""


def print_match(original: Trace, generated: Trace, file: str) -> None:
    console = Output(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(render(match(original, generated), generated.notes["fit"], file))


def render(figures: list[Figure], fit: dict[str, Any], file: str) -> RenderableType:
    grid = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    grid.add_column(printable(file), style="cyan")
    for name in ("original", "generated", "difference"):
        grid.add_column(name, justify="right", no_wrap=True)
    far = []
    for figure in figures:
        if figure.generated is None:
            continue
        difference = "" if figure.kind == "count" else _difference(figure)
        if difference and abs(figure.difference or 0) >= FAR:
            far.append(figure.name)
        style = "yellow" if far[-1:] == [figure.name] else ""
        grid.add_row(
            figure.name, _written(figure, figure.original), _written(figure, figure.generated), Text(difference, style)
        )
    lines = [Text(f"  {line}") for line in _fit(fit)]
    told = f"differs by {FAR:.0%} or more: {', '.join(far)}" if far else f"all within {FAR:.0%}"
    return Group(grid, *lines, Text(f"  {told}", "yellow" if far else "green"))


def _written(figure: Figure, value: float | None) -> str:
    if value is None:
        return "–"
    if figure.kind == "share":
        return f"{value:.1%}"
    return f"{value:,.0f}" if figure.kind == "count" or value >= 1000 else f"{value:.3g}"


def _difference(figure: Figure) -> str:
    if figure.difference is None:
        return ""
    if figure.kind == "score":
        return f"{figure.difference:+.3f}"
    return f"{100 * figure.difference:+.1f} {'points' if figure.kind == 'share' else '%'}"


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _fit(fit: dict[str, Any]) -> Iterator[str]:
    families = f"{fit['families']:,} families, of {fit['requests_per_family']:.2f} requests on average"
    yield f"fitted: {families} and {fit['largest_family']:,} at most, {fit['alone']:,} of one"
    if fit["common_blocks"]:
        blocks = f"{fit['common_blocks']:,} block{'s' if fit['common_blocks'] > 1 else ''}"
        yield f"shared by all: {blocks} of common beginnings, {fit['common_share']:.1%} of all blocks' uses"
    if fit["cycle_s"] is None:
        yield "all sessions start at once, as in the trace"
        return
    times = f"drawn in stretches of {_seconds(fit['stretch_s'])} s from within {_seconds(fit['near_s'])} s"
    ticks = f", on {fit['ticks']:,} ticks of its clock" if fit["ticks"] else ""
    yield f"times: {times}{ticks}; rates repeat every {fit['cycle_s']:,.0f} s"
    if fit["rate_factor"] != 1:
        yield f"rates: {fit['rate_factor']:.4g} times the trace's"
