"""`servetwin bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(
    case: Annotated[
        list[str] | None, typer.Option(help="Which cases, such as a or e-rush,tier; e is all of e. All if absent.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each case; medians are told.")] = 5,
    peer_command: Annotated[
        str | None,
        typer.Option(
            help="Runs a peer in turn. {trace} and {replicas} are filled in; options of dynamo.replay that a case "
            "needs go to {arguments}, or to the end. Its last line must be JSON with tool_s, process_s, completed "
            "and simulated_s.",
            metavar="CMD",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A JSON file for every run's figures.", metavar="FILE.json", show_default=False)
    ] = None,
) -> None:
    """Measure time and memory on the cases of bench/README.md, each run in a process of its own.

    Exit codes: 0 done, whether or not targets are met; 2 bad input or a run that failed.
    """
    import tempfile

    from ..bench.cases import select
    from ..bench.report import comparison_table, notes, runs_table, write_json
    from ..bench.session import CaseReport, run_case

    chosen = select(case or [])
    reports: list[CaseReport] = []
    with tempfile.TemporaryDirectory(prefix="servetwin-bench-") as folder:
        for one in chosen:
            reports.append(run_case(one, repeats=repeats, peer=peer_command, folder=Path(folder), tell=_tell))
            # After each case: what has been measured outlives a failure or an interrupt.
            if out is not None:
                write_json(out, reports, repeats=repeats, peer=peer_command)

    from ..report.console import Output

    console = Output()
    console.print(runs_table(reports, repeats))
    if any(report.compared or report.verdicts for report in reports):
        console.print(comparison_table(reports))
    for note in notes(reports):
        console.print(note)


def _tell(what: str) -> None:
    typer.echo(what, err=True)
