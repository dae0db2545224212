"""A study in the terminal: the ranking, the frontier, the choice and the account of what was looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..plan.make import Answer, reason_of
from ..plan.space import Dropped, Space, described
from ..plan.study import Account, Point
from .console import print_wide
from .scatter import scatter

ROWS = 15
"""Of the ranking."""

MARKS = "123456789abcdefghijklmnopqrstuvwxyz"


def print_answer(answer: Answer) -> None:
    parts: list[RenderableType] = [_ranking(answer, "load" if answer.axis.users is None else "users")]
    if answer.objective == "frontier" and answer.points:
        marked = [(point.speed, point.throughput, _mark(index)) for index, point in enumerate(answer.points)]
        parts += [Text(line) for line in _frontier(marked)]
    parts += [Text(""), Text(verdict(answer), "bold"), *map(Text, account(answer.account, answer.space))]
    print_wide(Group(*parts))


def _frontier(marked: Sequence[tuple[float, float, str]]) -> list[str]:
    return ["", *scatter(marked, (), x_title="output tokens/s/user (median)", y_title="output tokens/s/GPU")]


def _mark(index: int) -> str:
    return MARKS[min(index, len(MARKS) - 1)]


def _ranking(answer: Answer, load_name: str) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("")
    table.add_column("Deployment", style="cyan", overflow="fold")
    for title in (
        "GPUs",
        "$/h",
        load_name,
        "tokens/s/GPU",
        "tokens/s/user",
        "p95 TTFT ms",
        "p95 TPOT ms",
        "$/M tokens",
    ):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("Service level")
    for index, point in enumerate(answer.points[:ROWS]):
        table.add_row(_mark(index), described(point.candidate.settings), *_figures(point), _level(point))
    if len(answer.points) > ROWS:
        table.add_row("", f"and {len(answer.points) - ROWS:,} more")
    return table


def _figures(point: Point) -> Iterable[str]:
    summary = point.summary
    yield str(point.candidate.gpus)
    yield _number(point.candidate.cost_per_hour, 2)
    yield f"{point.load:.3g}"
    yield f"{point.throughput:,.0f}"
    yield f"{point.speed:,.1f}"
    for metric, places in (("ttft_ms.p95", 0), ("tpot_ms.p95", 1), ("cost_per_million_output_tokens", 2)):
        yield _number(summary.get(metric), places)


def _number(value: float | None, places: int) -> str:
    return "–" if value is None else f"{value:,.{places}f}"


def _level(point: Point) -> Text:
    if "slo.met" not in point.summary:
        return Text("–" if point.misses is None else point.misses)
    return Text("met", "green") if point.misses is None else Text(point.misses, "red")


def verdict(answer: Answer) -> str:
    """The choice in a sentence, and why it is none of the others."""
    chosen = answer.chosen
    if chosen is None:
        return _nothing(answer)
    name = described(chosen.candidate.settings)
    if answer.objective == "cheapest":
        return (
            f"Run {name}: {_price(chosen)}, the least at which any deployment meets the service level.{_doubt(answer)}"
        )
    figure = f"{chosen.throughput:,.0f} output tokens/s/GPU at {chosen.load:.3g} × the workload"
    if answer.objective == "frontier":
        fastest = answer.points[0]
        return (
            f"Most throughput: {name}, {figure} and {chosen.speed:,.0f} tokens/s for the median user. "
            f"Fastest: {described(fastest.candidate.settings)}, {fastest.speed:,.0f} tokens/s/user."
        )
    others = [point for point in answer.points if point is not chosen]
    ahead = ""
    if others and others[0].throughput:
        ahead = f", {chosen.throughput / others[0].throughput - 1:+.0%} against the next"
    return f"Run {name}: {figure}{ahead}."


def _price(point: Point) -> str:
    cost = point.candidate.cost_per_hour
    return f"{point.candidate.gpus} GPUs" if cost is None else f"{point.candidate.gpus} GPUs, {cost:,.2f} $ an hour"


def _doubt(answer: Answer) -> str:
    assert answer.chosen is not None
    cheaper = len(answer.account.screened)
    return f" {cheaper:,} others at most as dear were only screened." if cheaper else ""


def _nothing(answer: Answer) -> str:
    if not answer.points:
        return "Nothing meets the service level, not even nearly alone; the account below says how far each was."
    nearest = answer.points[0]
    return f"Nothing meets the service level. Nearest: {described(nearest.candidate.settings)}, which {nearest.misses}."


def account(account: Account, space: Space) -> list[str]:
    """What became of the combinations, each with how well that is known."""
    decided = account.combinations - len(account.dropped) - len(account.pruned) - len(account.screened) - account.unseen
    lines = [
        f"{account.combinations:,} combinations of {', '.join(space.axes)}: {len(account.dropped):,} cannot be, "
        f"{len(account.pruned):,} pruned (proof), {len(account.screened):,} screened out (on parts of the workload: no "
        f"proof), {decided:,} decided on the whole workload.",
        f"{account.whole_runs:,} simulations of the whole workload, {account.part_runs:,} of parts.",
    ]
    if account.unseen:
        lines[0] = lines[0].replace(": ", f": {account.unseen:,} never asked for, ", 1)
    return lines


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
    counts = Counter(reason_of(one) for one in dropped)
    examples: Mapping[str, Any] = {reason_of(one): one for one in reversed(dropped)}
    for reason, count in counts.most_common():
        one = examples[reason]
        table.add_row(f"{count:,}", reason, f"{described(one.settings)}: {one.reason}")
    return table
