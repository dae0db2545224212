"""A study in the terminal: the ranking, the frontier, the choice and the account of what was looked at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..plan.assurance import Assurance
from ..plan.make import Answer
from ..plan.runs import WHOLE
from ..plan.space import Dropped, Space, described, labels, names_of, reasons
from ..plan.study import Account, Point
from .columns import Column, fitted, level
from .console import output, print_wide
from .scatter import scatter

ROWS = 15
"""Of the ranking."""

WIDEST = 100
"""Of the plot, with its axis."""

AT_ONE_LOAD = ("TTFT p95 ms", "$/h", "GPUs", "TPOT p95 ms", "tokens/s /GPU", "tokens/s /user", "$/M tokens")
OVER_LOADS = ("tokens/s /GPU", "tokens/s /user", "TTFT p95 ms", "GPUs", "TPOT p95 ms", "$/h", "$/M tokens")
"""The figures that stay longest where not all fit come first; the very first always does."""

MARKS = "123456789abcdefghijklmnopqrstuvwxyz"


def print_answer(answer: Answer) -> None:
    console = output()
    console.print(Group(*shown(answer, console.width)))


def shown(answer: Answer, width: int) -> list[RenderableType]:
    """The ranking, the frontier, the choice and the account, on lines of at most `width` characters."""
    parts: list[RenderableType] = []
    if answer.points:
        ranking = fitted(_columns(answer), width)
        parts += [*map(Text, ranking.said()), ranking.table]
        notes = [] if len(answer.points) <= ROWS else [f"{len(answer.points) - ROWS:,} more in the study's page."]
        notes += [f"Left out at this width: {', '.join(ranking.left_out)}."] if ranking.left_out else []
        parts += [Text(" ".join(notes), "dim")] if notes else []
    if answer.objective == "frontier" and answer.points:
        parts += [Text(line) for line in _frontier(answer, width)]
    return [*parts, Text(""), Text(verdict(answer), "bold"), Text(""), *account(answer.account)]


def _frontier(answer: Answer, width: int) -> list[str]:
    """The points of the frontier by their marks, among all others that meet the level."""
    marked = [(point.speed, point.throughput, _mark(index)) for index, point in enumerate(answer.points)]
    on = {point.run for point in answer.points}
    whole = (answer.point(run) for run in answer.outcomes if run.share == WHOLE and run not in on)
    others = [(point.speed, point.throughput) for point in whole if point.misses is None]
    return scatter(
        marked, others, x_title="output tokens/s/user (median)", y_title="output tokens/s/GPU", width=min(width, WIDEST)
    )


def _mark(index: int) -> str:
    return MARKS[min(index, len(MARKS) - 1)]


def _columns(answer: Answer) -> list[Column]:
    points = answer.points[:ROWS]
    names = labels(answer.space.axes)
    columns = []
    if answer.objective == "frontier":
        columns.append(Column("", [_mark(index) for index in range(len(points))], figures=False, style="cyan"))
    columns += [
        Column("trial", [str(point.candidate.number) for point in points], style="cyan"),
    ]
    for path, values in answer.space.axes.items():
        if len(values) > 1:
            named = names_of(values)
            cells = [named[values.index(point.candidate.settings[path])] for point in points]
            columns.append(
                Column(names[path], cells, figures=not any(isinstance(value, (str, dict)) for value in values))
            )
    wanted = AT_ONE_LOAD if answer.objective == "cheapest" else OVER_LOADS
    for title, cells in _figures(points, "load" if answer.axis.users is None else "users"):
        if set(cells) != {"–"}:
            columns.append(Column(title, cells, wanted.index(title) if title in wanted else 0))
    if any("slo.met" in point.summary or point.misses for point in points):
        columns.append(Column("service level", [level(point.misses) for point in points], figures=False))
    return columns


def _figures(points: Sequence[Point], load: str) -> Iterable[tuple[str, list[str]]]:
    yield "GPUs", [str(point.candidate.gpus) for point in points]
    yield "$/h", [_number(point.candidate.cost_per_hour, 2) for point in points]
    yield load, [f"{point.load:.3g}" for point in points]
    yield "tokens/s /GPU", [f"{point.throughput:,.0f}" for point in points]
    yield "tokens/s /user", [f"{point.speed:,.1f}" for point in points]
    for title, metric, places in (
        ("TTFT p95 ms", "ttft_ms.p95", 0),
        ("TPOT p95 ms", "tpot_ms.p95", 1),
        ("$/M tokens", "cost_per_million_output_tokens", 2),
    ):
        yield title, [_number(point.summary.get(metric), places) for point in points]


def _number(value: float | None, places: int) -> str:
    return "–" if value is None else f"{value:,.{places}f}"


def verdict(answer: Answer) -> str:
    """The choice in a sentence, and why it is none of the others."""
    chosen = answer.chosen
    if chosen is None:
        return _nothing(answer)
    name = _named(chosen, answer)
    if answer.objective == "cheapest":
        least = f"{_price(chosen)}, the least at which any deployment meets the service level"
        alike = sum(point.misses is None for point in answer.points)
        return f"Run {name}: {least}{f' (the best of {alike:,})' if alike > 1 else ''}.{_doubt(answer)}"
    figure = f"{chosen.throughput:,.0f} output tokens/s/GPU at {_load(chosen, answer)}"
    if answer.objective == "frontier":
        fastest = answer.points[0]
        most = f"Most throughput: {name}, {figure} and {chosen.speed:,.0f} tokens/s for the median user"
        ends = f"Fastest: {_named(fastest, answer)}, {fastest.speed:,.0f} tokens/s/user"
        return f"{most}{_beyond(chosen, answer)}. {ends}."
    others = [point for point in answer.points if point is not chosen]
    ahead = ""
    if others and others[0].throughput:
        ahead = f", {chosen.throughput / others[0].throughput - 1:+.0%} against the next"
    return f"Run {name}: {figure}{ahead}{_beyond(chosen, answer)}."


def said(sure: Assurance) -> str:
    """How sure the choice is."""
    text = f"In {sure.replications:,} replications it meets the level in {sure.met:,}"
    if sure.rival is not None:
        text += f", and does more than trial {sure.rival} in {sure.ahead:,}"
    return f"{text}."


def _beyond(point: Point, answer: Answer) -> str:
    """What keeps a deployment from a higher load; nothing where none was tried."""
    runs = (run for run in answer.outcomes if run.candidate == point.candidate.number and run.share == WHOLE)
    following = min((run for run in runs if run.load > point.load), default=None)
    missed = None if following is None else answer.point(following).misses
    return "" if missed is None or following is None else f"; at {following.load:.3g} it {level(missed)}"


def point_said(point: Point, answer: Answer) -> str:
    """A trial and its load, to stand above what is said of them."""
    name = _named(point, answer)
    return f"{name[0].upper()}{name[1:]} at {_load(point, answer)}"


def _load(point: Point, answer: Answer) -> str:
    return f"{point.load:.3g} {'× the workload' if answer.axis.users is None else 'users'}"


def _named(point: Point, answer: Answer) -> str:
    """The trial, and what was chosen where there was a choice."""
    names = labels(answer.space.axes)
    chosen = [
        f"{names[path]} {names_of(values)[values.index(point.candidate.settings[path])]}"
        for path, values in answer.space.axes.items()
        if len(values) > 1
    ]
    return f"trial {point.candidate.number}" + (f" ({', '.join(chosen)})" if chosen else "")


def _price(point: Point) -> str:
    cost = point.candidate.cost_per_hour
    return f"{point.candidate.gpus} GPUs" if cost is None else f"{point.candidate.gpus} GPUs, {cost:,.2f} $ an hour"


def _doubt(answer: Answer) -> str:
    assert answer.chosen is not None
    cheaper = len(answer.account.screened)
    return f" {cheaper:,} at most as dear were screened out, without proof." if cheaper else ""


def _nothing(answer: Answer) -> str:
    if not answer.points:
        return "Nothing meets the service level, not even nearly alone; the account below says how far each was."
    nearest = answer.points[0]
    missed = f"Nothing meets the service level. Nearest: {_named(nearest, answer)}, which {nearest.misses}"
    needed = answer.remedy
    if needed is None:
        return f"{missed}."
    times = f"{needed.times_over:.2g} × over its limits" if math.isfinite(needed.times_over) else "far from it"
    ways = [] if needed.load is None else [f"at {needed.load:.2g} × the load"]
    ways += [] if needed.replicas is None else [f"with {needed.replicas:,} replicas ({needed.gpus:,} GPUs)"]
    return f"{missed}, {times}. It meets the level {' or '.join(ways) or 'at no load, and with no number of replicas'}."


def account(account: Account) -> list[RenderableType]:
    """What became of the combinations, each with how well that is known."""
    ends = [
        (account.combinations, "combinations, of which"),
        (len(account.dropped), "cannot be, or equal another"),
        (account.unseen, "were never asked for by the sampler"),
        (len(account.pruned), "were pruned, with proof"),
        (len(account.screened), "were screened out on parts of the workload, without proof"),
        (account.decided, "were decided on the whole workload"),
    ]
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right")
    table.add_column()
    for count, end in ends:
        if count:
            table.add_row(f"{count:,}", end)
    return [table, Text(f"Simulations: {account.whole_runs:,} of the whole workload, {account.part_runs:,} of parts.")]


def print_space(space: Space) -> None:
    """Every value, and why combinations of them were dropped."""
    looked = list(space.all())
    dropped = [one for one in looked if isinstance(one, Dropped)]
    values = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    values.add_column("Varies", style="cyan")
    values.add_column("Values", overflow="fold")
    for path, choices in space.axes.items():
        values.add_row(path, ", ".join(described({"": choice}).strip() for choice in choices))
    print_wide(
        Group(values, _reasons(dropped), Text(f"{space.size:,} combinations, {len(looked) - len(dropped):,} can be."))
    )


def _reasons(dropped: Sequence[Dropped]) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("Dropped", justify="right")
    table.add_column("Why", overflow="fold")
    table.add_column("For example", overflow="fold")
    for reason, count, one in reasons(dropped):
        table.add_row(f"{count:,}", reason, f"{described(one.settings)}: {one.reason}")
    return table
