"""A comparison in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ...errors import printable
from ..console import Output
from ..intervals import sides
from ..terminal import WIDTH
from .comparison import Comparison
from .metrics import Metric, Row
from .paired import Pairs

STYLES = {"better": "green", "worse": "red"}
PLAIN = 2
"""Results up to which absolute differences have a column of their own."""


def print_comparison(comparison: Comparison) -> None:
    console = Output(highlight=False)
    if not console.is_terminal:
        replicated = any(result.replications for result in comparison.results)
        console.width = max(WIDTH, 40 + (48 if replicated else 24) * len(comparison.names))
    console.print(render(comparison))


def render(comparison: Comparison) -> RenderableType:
    parts: list[RenderableType] = [
        Text.assemble(("warning: ", "bold yellow"), Text(printable(warning), "yellow"))
        for warning in comparison.warnings()
    ]
    parts += [_inputs(comparison), _metrics(comparison)]
    parts += _paired(comparison)
    return Group(*parts)


def _inputs(comparison: Comparison) -> RenderableType:
    if not comparison.differences:
        return Text("The specs are the same.\n", "dim")
    table = _table("What differs in the specs", "field", comparison.names)
    for difference in comparison.differences:
        values = ("–" if value is None else str(value) for value in difference.values)
        table.add_row(_safe(difference.field), *(_safe(value) for value in values))
    return table


def _metrics(comparison: Comparison) -> Table:
    names = comparison.names
    table = _table("What came of it", "metric", [names[0]])
    for name in names[1:]:
        table.add_column(_safe(name), justify="right")
        if len(names) <= PLAIN:
            table.add_column("Δ", justify="right")
        table.add_column("Δ %", justify="right")
    for row in comparison.rows:
        cells = [_with_interval(row, 0)]
        for place in range(1, len(names)):
            style = STYLES.get(row.verdict(place) or "", "dim")
            cells.append(_with_interval(row, place))
            if len(names) <= PLAIN:
                cells.append(f"[{style}]{difference_text(row, place)}[/]{_range_text(row, place)}")
            cells.append(f"[{style}]{share_text(row, place)}[/]")
        table.add_row(row.metric.title, *cells)
    return table


def _paired(comparison: Comparison) -> Iterator[RenderableType]:
    first = comparison.names[0]
    for name, pairs in zip(comparison.names[1:], comparison.paired, strict=False):
        if not pairs:
            continue
        title = f"Each request in {name}, against itself in {first}"
        table = _table(title, "change", ["requests", "mean", "p5", "p50", "p95", "faster", "slower"])
        for one in pairs:
            table.add_row(f"{one.metric.removesuffix('_ms').upper()} (ms)", *pair_texts(one))
        yield table


def pair_texts(pairs: Pairs) -> list[str]:
    changes = [pairs.mean, *pairs.percentiles.values()]
    return [f"{pairs.count:,}", *(_signed(change) for change in changes), f"{pairs.faster:.1%}", f"{pairs.slower:.1%}"]


def value_text(metric: Metric, value: float | None) -> str:
    if value is None:
        return "–"
    if metric.kind == "flag":
        return "yes" if value else "no"
    if metric.kind == "share":
        return f"{value:.2%}"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}" if abs(value) < 100_000 else f"{value:,.0f}"


def difference_text(row: Row, place: int) -> str:
    difference = row.difference(place)
    if difference is None or row.metric.kind == "flag":
        return ""
    if difference == 0:
        return "0"
    if row.metric.kind == "share":
        return f"{difference * 100:+.2f} points".replace("-", "−")
    return _signed(difference, whole=isinstance(row.values[place], int))


def _with_interval(row: Row, place: int) -> str:
    value, interval = row.values[place], row.interval(place)
    text = value_text(row.metric, value)
    if value is None or interval is None or interval.low == interval.high:
        return text
    return f"{text} [dim]{sides(value, interval, 100 if row.metric.kind == 'share' else 1)}[/]"


def _range_text(row: Row, place: int) -> str:
    """What the difference may be, by its replications."""
    change = row.change(place)
    if change is None or change.low == change.high:
        return ""
    scale = 100 if row.metric.kind == "share" else 1
    return f" [dim]{_signed(change.low * scale)} to {_signed(change.high * scale)}[/]"


def share_text(row: Row, place: int) -> str:
    share = row.share(place)
    if share is None:
        return ""
    # No difference is "=", not a small one that is rounded away.
    return "=" if share == 0 else f"{share:+,.1%}".replace("-", "−")


def _signed(value: float, whole: bool = False) -> str:
    text = f"{value:+,.0f}" if whole or abs(value) >= 100_000 else f"{value:+,.2f}"
    if 0 < abs(value) < 0.005:
        # What two decimals would hide.
        text = f"{Decimal(f'{value:.1g}'):+f}"
    return text.replace("-", "−")


def _table(title: str, first: str, columns: list[str]) -> Table:
    table = Table(
        title=_safe(title),
        box=SIMPLE_HEAD,
        title_style="bold",
        title_justify="left",
        header_style="bold",
        pad_edge=False,
    )
    table.add_column(first, style="cyan", no_wrap=True)
    for name in columns:
        table.add_column(_safe(name), justify="right")
    return table


def _safe(text: str) -> str:
    return escape(printable(text))
