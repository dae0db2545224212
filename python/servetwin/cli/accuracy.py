"""`servetwin accuracy`: how wrong the models are, against what others measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(help="Show how wrong the models are.")

Systems = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="The folder `systems` of aiconfigurator-core, if it is not installed.",
        readable=False,
        metavar="FOLDER",
    ),
]


@app.callback(invoke_without_command=True)
def accuracy(context: typer.Context, data: Systems = None) -> None:
    """Show how wrong the models are: every comparison, or one of them.

    Where the data of a comparison is missing, it says so by name and the rest runs. Exit codes: 0 shown, whatever the
    errors; 2 no data at all.
    """
    if context.invoked_subcommand is None:
        _all(data)
    elif data is not None:
        raise typer.BadParameter(f"give it after {context.invoked_subcommand}", param_hint="--data")


@app.command()
def operators(data: Systems = None) -> None:
    """Compare the curves of single operators with timings that were kept from their fit.

    Reads the timings that aiconfigurator-core 0.12.0 carries. Exit codes: 0 shown, whatever the errors; 2 no timings.
    """
    _print(_operators(data))


def _operators(data: Path | None) -> RenderableType:
    from ..accuracy.operators import operator_errors
    from ..accuracy.timings import data_folder
    from ..report.accuracy import operator_table

    return operator_table(list(operator_errors(data_folder(data))))


@app.command()
def coverage() -> None:
    """Show how often intervals of replications hold: on measured runs, and in worlds whose truth is known.

    Measured runs are LLMServingSim's, read where SERVETWIN_DATA names the folder. Takes about a minute. Exit codes:
    0 shown, however often.
    """
    _print(_coverage(None))


def _coverage(_systems: Path | None) -> RenderableType:
    from ..replication import processors
    from ..report.coverage import coverage_report

    return coverage_report(None, processors())


COMPARISONS: Mapping[str, Callable[[Path | None], RenderableType]] = {
    "operators": _operators,
    "coverage": _coverage,
}
"""By the names of their commands, in the order shown; each raises MissingDataError without its data."""


def _all(data: Path | None) -> None:
    from rich.text import Text

    from ..errors import MissingDataError

    missing: list[MissingDataError] = []
    for name, compare in COMPARISONS.items():
        try:
            shown = compare(data)
        except MissingDataError as error:
            missing.append(error)
            shown = Text(f"not compared: {error}")
        _print(Text(f"\n{name}", "bold"))
        _print(shown)
    if len(missing) == len(COMPARISONS):
        raise missing[0]


def _print(what: RenderableType) -> None:
    from ..report.console import print_wide

    print_wide(what)
