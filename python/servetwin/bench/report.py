"""What a session found, for the terminal and for a file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .measure import medians
from .session import CaseReport

if TYPE_CHECKING:
    from rich.table import Table

FIGURES = {
    "simulate_ratio": "simulate, peer / ours",
    "process_ratio": "process, peer / ours",
    "cpu_ratio": "CPU of the process, peer / ours",
    "peak_mb": "peak memory, MB",
    "process_s": "process, s",
    "cost_growth": "cost a request, × that on 8 replicas",
    "plain_ratio": "times the plain run",
    "router_own_us": "the router's own code, µs a decision",
    "router_us": "a decision beyond it, µs",
}


def runs_table(reports: Sequence[CaseReport], repeats: int) -> Table:
    from rich.table import Table

    table = Table(title=f"Medians of {repeats}", title_justify="left", box=None)
    table.add_column("case")
    for title in ("simulate s", "parse s", "process s", "CPU s", "peak MB", "passes", "leaps"):
        table.add_column(title, justify="right")
    for report in reports:
        ours = medians(report.ours)
        times = (f"{value:.3f}" for value in (ours.simulate_s, ours.parse_s, ours.process_s, ours.cpu_s))
        table.add_row(report.case.name, *times, f"{ours.peak_mb:.0f}", f"{ours.passes:,}", f"{ours.leaps:,}")
        if report.peer:
            peer = medians(report.peer)
            times = (f"{value:.3f}" for value in (peer.process_s, peer.cpu_s))
            table.add_row("  peer", f"{peer.tool_s:.3f}", "", *times, f"{peer.peak_mb:.0f}", "", "")
    return table


def comparison_table(reports: Sequence[CaseReport]) -> Table:
    from rich.table import Table

    table = Table(title="Compared", title_justify="left", box=None)
    table.add_column("case")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("target", justify="right")
    table.add_column("")
    for report in reports:
        judged = {target.figure: (target, value) for target, value in report.verdicts}
        for figure in dict.fromkeys([*report.compared, *judged]):
            if figure in judged:
                target, value = judged[figure]
                sign = "≥" if target.at_least else "≤"
                verdict = (f"{sign} {target.bound:g}", "met" if target.met(value) else "missed")
            else:
                value, verdict = report.compared[figure], ("", "")
            table.add_row(report.case.name, FIGURES[figure], f"{value:,.2f}", *verdict)
    return table


def notes(reports: Sequence[CaseReport]) -> list[str]:
    """What a reader must know beside the numbers."""
    told = []
    for report in reports:
        if report.stand_in:
            told.append(f"{report.case.name}: the trace is not here; a generated one of its size stands in")
        if report.peer:
            ours, peer = medians(report.ours), medians(report.peer)
            if ours.completed != peer.completed:
                told.append(f"{report.case.name}: {ours.completed:,} requests completed here, {peer.completed:,} there")
    return told


def write_json(file: Path, reports: Sequence[CaseReport], *, repeats: int, peer: str | None) -> None:
    """Raises InputError where it cannot."""
    from .._core import __version__

    session = {
        "date": datetime.now(UTC).date().isoformat(),
        "servetwin": __version__,
        "python": platform.python_version(),
        "machine": {"architecture": platform.machine(), "cores": os.cpu_count()},
        "repeats": repeats,
        "peer_command": peer,
        "cases": [report.to_json() for report in reports],
    }
    try:
        file.write_text(json.dumps(session, indent=1) + "\n")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=str(file)) from None
