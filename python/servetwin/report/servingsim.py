"""The comparison with LLMServingSim's runs in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..accuracy.servingsim import KV_TARGET, PUBLISHED, TARGETS, Row

TITLES = {"ttft": "TTFT", "tpot": "TPOT", "latency": "latency"}


def servingsim_table(rows: Sequence[Row]) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("run", style="cyan", no_wrap=True)
    table.add_column("simulated with")
    for title in (*TITLES.values(), "of those that waited", "KV use"):
        table.add_column(title, justify="right", no_wrap=True)
    run = ""
    for row in sorted(rows, key=lambda row: row.run):
        waited = "" if row.waited is None else " ".join(f"{row.waited[name]:+.1%}" for name in TITLES)
        table.add_row(
            row.run if row.run != run else "",
            row.how,
            *(_shown(name, row.errors) for name in TITLES),
            waited,
            "" if row.kv is None else Text(f"{row.kv:.1%}", "" if row.kv <= KV_TARGET else "yellow"),
        )
        run = row.run
    wanted = ", ".join(f"{title} {TARGETS[name]:.1%}" for name, title in TITLES.items())
    note = (
        f"Errors of the means of 300 requests, as shares; of those that waited: {', '.join(TITLES.values())}. KV use: "
        f"mean distance over time, in points of the cache. Wanted: {wanted}, KV {KV_TARGET:.0%}. LLMServingSim of "
        f"itself, {PUBLISHED}."
    )
    return Group(table, Text(note, "dim"))


def _shown(name: str, errors: Mapping[str, float]) -> Text:
    if name not in errors:
        return Text("")
    return Text(f"{errors[name]:+.1%}", "" if abs(errors[name]) <= TARGETS[name] else "yellow")
