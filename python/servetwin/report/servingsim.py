"""The comparison with LLMServingSim's runs in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from ..accuracy.servingsim import KV_TARGET, PUBLISHED, TARGETS, Row
from .columns import Column, fitted

TITLES = {"ttft": "TTFT", "tpot": "TPOT", "latency": "latency"}


def servingsim_table(rows: Sequence[Row], width: int) -> RenderableType:
    """On lines of at most `width` characters."""
    rows = sorted(rows, key=lambda row: row.run)
    runs = [row.run for row in rows]
    names = [run if run != before else "" for run, before in zip(runs, ["", *runs], strict=False)]
    columns = [
        Column("run", names, figures=False, style="cyan"),
        Column("simulated with", [row.how for row in rows], figures=False),
        *(Column(title, [_shown(name, row.errors) for row in rows]) for name, title in TITLES.items()),
        *(
            Column(
                f"{title} of those that waited",
                [f"{row.waited[name]:+.1%}" if row.waited else "" for row in rows],
                rank=2,
            )
            for name, title in TITLES.items()
        ),
        Column("KV use", [_use(row) for row in rows], rank=1),
    ]
    found = fitted(columns, width)
    left_out = [f"Left out at this width: {', '.join(found.left_out)}. "] if found.left_out else []
    wanted = ", ".join(f"{title} {TARGETS[name]:.1%}" for name, title in TITLES.items())
    note = (
        f"Errors of the means of 300 requests, as shares. KV use: "
        f"mean distance over time, in points of the cache. Wanted: {wanted}, KV {KV_TARGET:.0%}. LLMServingSim of "
        f"itself, {PUBLISHED}."
    )
    return Group(*map(Text, found.said()), found.table, Text("".join([*left_out, note]), "dim"))


def _use(row: Row) -> Text:
    if row.kv is None:
        return Text("")
    return Text(f"{row.kv:.1%}", "" if row.kv <= KV_TARGET else "yellow")


def _shown(name: str, errors: Mapping[str, float]) -> Text:
    if name not in errors:
        return Text("")
    return Text(f"{errors[name]:+.1%}", "" if abs(errors[name]) <= TARGETS[name] else "yellow")
