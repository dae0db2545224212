"""A calibration in the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..calibrate import Calibration
from ..calibrate.groups import METRICS, MetricError
from ..calibrate.ranges import TermRange
from ..errors import printable
from .console import print_wide

TITLES = {"ttft": "Time to First Token", "tpot": "Time per Output Token", "latency": "Request Latency"}


def print_calibration(found: Calibration, out: Path) -> None:
    print_wide(Group(_measured(found), _terms(found), _errors(found), *_notes(found, out)))


def _grid(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", style="" if number else "cyan")
    return table


def _measured(found: Calibration) -> RenderableType:
    table = _grid("measured", "format", "requests", "left out")
    for one in found.measurements:
        requests = len(one.requests) or sum(point.requests for point in one.points)
        gone = "; ".join(f"{count:,}: {reason}" for reason, count in one.left_out.items())
        table.add_row(printable(one.name), one.format, f"{requests:,}", Text(gone, "yellow"))
    return table


def _terms(found: Calibration) -> RenderableType:
    table = _grid("term", "fitted", "before", "may be", "")
    for one in found.ranges:
        unit = "" if one.factor else " ms"
        if one.name in found.fit.terms:
            fitted = f"{found.fit.terms[one.name]:.3f} ± {_error(found, one):.3f}{unit}"
            bound = found.fit.at_bounds.get(one.name)
            note = Text(f"at its bound: {bound}", "yellow") if bound else Text()
        else:
            fitted, note = "", Text(f"fixed: {found.fit.fixed[one.name]}", "yellow")
        table.add_row(one.name, fitted, f"{one.start:g}{unit}", f"{one.low:.3g} to {one.high:g}{unit}", note)
    return table


def _error(found: Calibration, one: TermRange) -> float:
    """One standard deviation, in the term's own unit."""
    std = found.fit.stds[one.name]
    return std * found.fit.terms[one.name] if one.factor else std


def _errors(found: Calibration) -> RenderableType:
    table = _grid("error of the mean (median over groups)", "before", "fitted", "held out")
    for name in METRICS:
        columns = [errors.get(name) for errors in (found.before, found.after, found.judged.errors)]
        if any(columns):
            table.add_row(TITLES[name], *(_shown(one) for one in columns))
    return table


def _shown(one: MetricError | None) -> str:
    return "" if one is None else f"{one.mean:+.1%} ({one.median_group:.1%})"


def _notes(found: Calibration, out: Path) -> list[Text]:
    profile, domain = found.profile, found.profile.domain
    lines = [f"held out: {found.judged.by}; the terms are fitted to all, in {found.fit.runs:,} simulations"]
    for name, (count, errors) in found.waited.items():
        shown = ", ".join(f"{TITLES[metric]} {error:+.1%}" for metric, error in errors.items())
        lines.append(f"of {printable(name)}, the {count:,} requests that waited: {shown}")
    lines += [
        f"domain: batches to {domain.batch:,}, mean contexts to {domain.context_tokens:,}, prompts of "
        f"{_range(*domain.prompt_tokens)} tokens, {_range(*domain.requests_per_s)} requests a second",
        f"written: {printable(str(out))}; a spec reads it with `timing: {{profile: {printable(out.name)}}}`",
    ]
    if not profile.terms:
        lines.insert(0, "nothing was fitted: the measurements tell no term")
    return [Text(line) for line in lines]


def _range(low: float, high: float) -> str:
    """From and to; one figure where both are shown alike."""
    shown = [f"{one:,}" if isinstance(one, int) else f"{one:g}" for one in (low, high)]
    return " to ".join(dict.fromkeys(shown))
