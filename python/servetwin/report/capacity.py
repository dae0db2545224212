"""A capacity in the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from ..plan.curve import Curve, Level
from .columns import Column, fitted
from .columns import level as met
from .console import output


def print_curve(curve: Curve, replicas: int) -> None:
    console = output()
    console.print(Group(*shown(curve, replicas, console.width)))


def shown(curve: Curve, replicas: int, width: int) -> list[RenderableType]:
    """Latency by load and what follows from it, on lines of at most `width` characters."""
    table = fitted(_columns(curve), width)
    left_out = [Text(f"Left out at this width: {', '.join(table.left_out)}.", "dim")] if table.left_out else []
    return [*map(Text, table.said()), table.table, *left_out, *map(Text, said(curve, replicas))]


def _columns(curve: Curve) -> list[Column]:
    def figures(metric: str, places: int) -> list[str]:
        found = (level.summary.get(metric) for level in curve.levels)
        return ["–" if value is None else f"{value:,.{places}f}" for value in found]

    return [
        Column(curve.axis.name, [f"{level.load:.3g}" for level in curve.levels], style="cyan"),
        Column("requests/s", figures("requests_per_s", 2), 2),
        Column("output tokens/s", figures("output_tokens_per_s", 0)),
        Column("TTFT p50 ms", figures("ttft_ms.p50", 0), 3),
        Column("TTFT p95 ms", figures("ttft_ms.p95", 0)),
        Column("TPOT p95 ms", figures("tpot_ms.p95", 1)),
        Column("mean latency ms", figures("e2e_ms.mean", 0), 1),
        Column("service level", [_verdict(curve, level) for level in curve.levels], figures=False),
    ]


def _verdict(curve: Curve, load: Level) -> Text:
    """Whether the level is met; and what else is to be said of this load."""
    notes = [note for note, place in (("knee", curve.knee), ("limit", curve.limit)) if place == load.load]
    verdict = met(load.misses)
    return Text.assemble(verdict, (f"  ← {' and '.join(notes)}", "bold")) if notes else verdict


def said(curve: Curve, replicas: int) -> list[str]:
    """The limit, the headroom, the knee and the other numbers of replicas, in sentences."""
    name = curve.axis.name
    if curve.limit is None:
        assert curve.nearest is not None
        nearest = f"even {name} {curve.nearest.load:.3g} {curve.nearest.misses}"
        return [f"No load meets the service level: {nearest}."]
    headroom = curve.headroom
    assert headroom is not None
    first = f"Takes {name} {curve.limit:.3g}: {headroom:.2f} × the workload as it is"
    limited = f"; the next step {curve.above}" if curve.above else ", the end of what is looked at"
    lines = [f"{first}{limited}."]
    if curve.knee is not None:
        lines.append(f"Most throughput for its latency at {name} {curve.knee:.3g}.")
    if curve.replicas:
        moved = "; ".join(
            f"{count}: " + ("no load" if limit is None else f"{limit:.3g} ({limit / curve.limit:.2f} ×)")
            for count, limit in curve.replicas.items()
        )
        lines.append(f"With other numbers of replicas than {replicas}: {moved}.")
    return lines
