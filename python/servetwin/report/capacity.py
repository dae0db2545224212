"""A capacity in the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..plan.curve import Curve
from .console import print_wide


def print_curve(curve: Curve, replicas: int) -> None:
    parts: list[RenderableType] = [_table(curve), *map(Text, said(curve, replicas))]
    print_wide(Group(*parts))


def _table(curve: Curve) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    columns = ("requests/s", "output tokens/s", "p50 TTFT ms", "p95 TTFT ms", "p95 TPOT ms", "mean latency ms")
    for title in (curve.axis.name.capitalize(), *columns):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("Service level")
    for level in curve.levels:
        summary = level.summary
        figures = [
            f"{summary[name]:,.{places}f}" if name in summary else "–"
            for name, places in (
                ("requests_per_s", 2),
                ("output_tokens_per_s", 0),
                ("ttft_ms.p50", 0),
                ("ttft_ms.p95", 0),
                ("tpot_ms.p95", 1),
                ("e2e_ms.mean", 0),
            )
        ]
        notes = [note for note, load in (("knee", curve.knee), ("limit", curve.limit)) if load == level.load]
        verdict = Text(level.misses, "red") if level.misses else Text("met", "green")
        if notes:
            verdict = Text.assemble(verdict, (f"  ← {' and '.join(notes)}", "bold"))
        table.add_row(f"{level.load:.3g}", *figures, verdict)
    return table


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
