"""How often intervals hold, in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import sqrt
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from ..accuracy.coverage.measured import Figure, figures
from ..accuracy.coverage.silicon import Group as Architecture
from ..accuracy.coverage.silicon import groups
from ..accuracy.coverage.worlds import METRICS, REPLICATIONS, Held, coverage
from ..accuracy.timings import data_folder
from ..errors import MissingDataError
from ..timing.curves_model import COMPOSED
from .console import plain_table

CONFIDENCE = 0.9
WANTED = (0.85, 0.95)


def coverage_report(systems: Path | None, workers: int) -> RenderableType:
    """Of 90 % intervals: on the silicon sample and on measured runs, if they are there, and in worlds whose truth is
    known."""
    parts: list[RenderableType] = []
    sections: dict[str, Callable[[], RenderableType]] = {
        "silicon sample": lambda: silicon_table(groups(data_folder(systems).parent)),
        "measured runs": lambda: measured_table(list(figures())),
        "worlds": lambda: worlds_table(list(coverage(workers))),
    }
    for what, shown in sections.items():
        try:
            parts.append(shown())
        except MissingDataError as error:
            parts.append(Text(f"{what}: not compared: {error}\n"))
    return Group(*parts)


def silicon_table(found: Sequence[Architecture]) -> RenderableType:
    title = "silicon sample: time per output token"
    table = plain_table(title, "deployments", "held", "without it: spread", "held", words=2)
    for one in found:
        table.add_row(one.name, f"{one.rows:,}", _styled(one.held), f"{one.composed:.1%}", _styled(one.held_out))
    rows = sum(one.rows for one in found)
    held, held_out = (
        sum(share * one.rows for share, one in zip(shares, found, strict=True)) / rows
        for shares in ([one.held for one in found], [one.held_out for one in found])
    )
    note = (
        f"Of {rows:,} deployments, {held:.1%} lie in their {CONFIDENCE:.0%} intervals. Without it: the spread of "
        f"putting passes together ({COMPOSED:.0%} is used) as the other architectures have it, and how often it holds "
        f"on this one: {held_out:.1%} over all. Nothing else was fitted to these rows."
    )
    return Group(table, Text(note, "dim"))


def worlds_table(kinds: Sequence[Held]) -> RenderableType:
    table = plain_table("worlds whose truth is known", "drawn", *METRICS, "all", words=2)
    for kind in kinds:
        cells = [_share(kind.held.get(metric), kind.worlds) for metric in METRICS]
        table.add_row(kind.name, str(kind.worlds), *cells, _styled(kind.share))
    worlds = sum(kind.worlds for kind in kinds)
    total = sum(kind.share * kind.worlds for kind in kinds) / worlds
    one = sqrt(CONFIDENCE * (1 - CONFIDENCE) / kinds[0].worlds)
    note = (
        f"Shares of worlds in which a {CONFIDENCE:.0%} interval of {REPLICATIONS} replications held the truth: another "
        f"sample of the traffic, on a system with another error of its pass times. Over all {worlds} worlds and their "
        f"metrics: {total:.1%}; wanted: {WANTED[0]:.0%} to {WANTED[1]:.0%}. One share is known to {one:.0%}."
    )
    return Group(table, Text(note, "dim"))


def measured_table(found: Sequence[Figure]) -> RenderableType:
    table = plain_table("measured runs", "metric", "measured", "simulated", "low", "high", "held", words=2)
    for one in found:
        numbers = (f"{value:,.1f}" for value in (one.measured, one.simulated, one.low, one.high))
        table.add_row(one.run, one.metric, *numbers, "yes" if one.held else "no", style="" if one.held else "yellow")
    held = sum(one.held for one in found)
    note = (
        f"{held} of {len(found)} figures lie in their {CONFIDENCE:.0%} intervals. Those of one run are far from "
        "independent: a GPU that is slower than modelled moves all of them."
    )
    return Group(table, *_lines(found), Text(note, "dim"))


def _lines(found: Sequence[Figure]) -> Iterator[Text]:
    for run in dict.fromkeys(one.run for one in found):
        of_run = [one for one in found if one.run == run]
        yield Text(f"{run}: {sum(one.held for one in of_run)} of {len(of_run)} held")


def _share(held: int | None, worlds: int) -> str:
    return "" if held is None else _styled(held / worlds)


def _styled(share: float) -> str:
    return f"{share:.0%}" if share >= WANTED[0] else f"[yellow]{share:.0%}[/]"
