"""A trace in the terminal: figures, and small pictures of rates and lengths."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..errors import printable
from .console import Output
from .terminal import NOTED, WIDTH, Line

if TYPE_CHECKING:
    from .._core import Trace

EIGHTHS = " ▁▂▃▄▅▆▇█"
HEIGHT = 5
"""Rows of the picture of rates."""
BINS = 24
"""Columns of the picture of lengths, from the shortest to the longest in equal factors."""
INDENT = 11
COLUMNS = ("mean", "p50", "p90", "p95", "p99", "min", "max")
ROUNDED = 0.5
"""Share of requests at the very time of another beyond which gaps say more about clocks than about traffic."""
SMOOTH, BURSTY = 0.9, 1.5
"""Coefficients of variation that are below, or above, what a Poisson process of this size shows."""
MOST_CLASSES = 8


def figures(trace: Trace, file: str) -> dict[str, Any]:
    """What `describe --json` prints: the trace's profile, what it was read from, and what the reader noted."""
    profile = trace.profile()
    rates = profile["rates_per_s"]
    mean = sum(rates) / len(rates) if rates else None
    profile["peak_to_mean"] = max(rates) / mean if mean else None
    return {"file": file, "sha256": trace.sha256, **profile, "notes": trace.notes}


def print_trace(trace: Trace, file: str) -> None:
    console = Output(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(render(trace, figures(trace, file)))


def render(trace: Trace, known: dict[str, Any]) -> RenderableType:
    notes = known["notes"]
    title = Text.assemble((printable(known["file"]), "bold"), f"  {notes.get('format', 'trace')}")
    title.append(f"  {_count(known['requests'], 'request')}, sha256 {known['sha256'][:12]}", "dim")
    picture = _picture(known) if known["rates_per_s"] else ()
    return Group(
        title, Text(), *picture, _labelled(_arrivals(known)), Text(), _lengths(trace, known), _labelled(_lines(known))
    )


def _labelled(lines: Iterable[Line]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", style="dim", width=INDENT, no_wrap=True)
    grid.add_column()
    for label, text, style in lines:
        grid.add_row(label, Text(printable(text), style))
    return grid


def _picture(known: dict[str, Any]) -> Iterator[Text]:
    rates = known["rates_per_s"]
    yield from _bars(rates, max(rates))
    end = _duration(known["last_s"] - known["first_s"])
    yield Text(f"{'':{INDENT}}  0{end:>{len(rates) - 1}}", "dim")


def _arrivals(known: dict[str, Any]) -> Iterator[Line]:
    rates = known["rates_per_s"]
    if not rates:
        found = known["trajectories"]
        what = f"{found['count']:,} trajectories" if found else f"{known['sessions']:,} sessions"
        yield "arrivals", f"all {what} start at once" if known["starts"] > 1 else "a single one", ""
        return
    what = "sessions" if known["think_time_s"] else "requests"
    if known["trajectories"]:
        what = "starts"
    part = _duration((known["last_s"] - known["first_s"]) / len(rates))
    peak = f"{_figure(max(rates))} at most in {part} ({known['peak_to_mean']:.1f} × the mean)"
    yield "arrivals", f"{_figure(known['rate_per_s'])} {what}/s on average, {peak}", ""
    variation, together = known["gap_cv"], known["simultaneous"]
    kind = "bursty" if variation > BURSTY else "even" if variation < SMOOTH else "about a Poisson process"
    if together > ROUNDED:
        kind = f"{together:.0%} come at the very time of another, so times are rounded"
    yield "burstiness", f"gaps vary by {variation:.2f} (standard deviation / mean): {kind}", ""


def _bars(values: Sequence[float], peak: float) -> Iterator[Text]:
    """Columns of eighths, the greatest as high as the picture."""
    for row in range(HEIGHT - 1, -1, -1):
        label = {HEIGHT - 1: f"{_figure(peak)}/s", 0: "0"}.get(row, "")
        levels = (value / peak * HEIGHT - row for value in values)
        bar = "".join(EIGHTHS[max(0, min(8, math.ceil(level * 8)))] for level in levels)
        yield Text.assemble((f"{label:>{INDENT}}  ", "dim"), (bar, "magenta"))


def _lengths(trace: Trace, known: dict[str, Any]) -> Table:
    grid = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    grid.add_column("Tokens", style="cyan", min_width=INDENT)
    for name in COLUMNS:
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("shortest to longest", style="magenta", no_wrap=True)
    rows = {"input": "input_tokens", "output": "output_tokens"}
    if known["max_output_tokens"] != known["output_tokens"]:
        rows["output limit"] = "max_output_tokens"
    for title, name in rows.items():
        numbers = (f"{known[name][column]:,.0f}" for column in COLUMNS)
        grid.add_row(title, *numbers, _histogram(trace, name))
    return grid


def _histogram(trace: Trace, name: str) -> str:
    import pyarrow as pa
    import pyarrow.compute as pc

    from ..workload.columns import array

    values = pc.max_element_wise(array(trace, name).cast(pa.float64()), 1.0)
    least, most = pc.min(values).as_py(), pc.max(values).as_py()
    if least == most:
        return EIGHTHS[-1]
    scaled = pc.multiply(pc.log2(pc.divide(values, least)), BINS / math.log2(most / least))
    bins = pc.min_element_wise(pc.floor(scaled).cast(pa.int64()), BINS - 1)
    counts = [0] * BINS
    for entry in pc.value_counts(bins).to_pylist():
        counts[max(entry["values"], 0)] = entry["counts"]
    return "".join(EIGHTHS[math.ceil(count / max(counts) * 8)] for count in counts)


def _lines(known: dict[str, Any]) -> Iterator[Line]:
    notes, requests = known["notes"], known["requests"]
    if known["ideal_prefix_hit"] > 0:
        hit = f"{known['ideal_prefix_hit']:.1%} of prompts was there before, for a cache that forgets nothing"
        finding = f"{known['requests_with_hit']:.1%} of requests find some"
        yield "reuse", f"{hit} (blocks of {known['block_tokens']}); {finding}", ""
    else:
        yield "reuse", "nothing is known to be shared between prompts", ""
    think, turns = known["think_time_s"], known["turns"]
    if think:
        spread = ", ".join(f"{name} {turns[name]:,.0f}" for name in ("p50", "p99", "max"))
        between = f"p50 {_figure(think['p50'])}, mean {_figure(think['mean'])}, p99 {_figure(think['p99'])}"
        yield "sessions", f"{known['sessions']:,}, of {turns['mean']:,.1f} turns on average ({spread})", ""
        yield "think times", f"{between} seconds", ""
    if (found := known["trajectories"]) is not None:
        size, sessions = found["requests"], found["sessions"]
        text = f"{found['count']:,}, of {size['mean']:,.1f} requests on average (p99 {size['p99']:,.0f}, "
        text += f"max {size['max']:,.0f}) in up to {_count(int(sessions['max']), 'session')}"
        yield "trajectory", text, ""
        called = f"{_count(found['called_sessions'], 'session')} called by others"
        yield "", f"{called}, {_count(found['joins'], 'request')} waiting for several", ""
    classes = sorted(known["classes"], key=lambda one: -one[1])
    for place, (name, count) in enumerate(classes[:MOST_CLASSES]):
        yield "" if place else "classes", f"{count / requests:>6.1%}  {name} ({count:,})", ""
    if len(classes) > MOST_CLASSES:
        yield "", f"and {len(classes) - MOST_CLASSES:,} more", ""
    if known["failed"]:
        failed = f"{known['failed']:,} ({known['failed'] / requests:.2%}) when they were recorded; they are kept"
        yield "failed", failed, "yellow"
    noted = [f"{notes[name]:,} {name.replace('_', ' ')}" for name in NOTED if 0 < notes.get(name, 0) < requests]
    if notes.get("columns_without_effect"):
        noted.append(f"columns without effect: {', '.join(notes['columns_without_effect'])}")
    if noted:
        yield "noted", "; ".join(noted), ""
    if notes.get("starts_at"):
        yield "from", str(notes["starts_at"]), ""


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{_figure(seconds / size)} {unit}"
    return f"{_figure(seconds)} s"
