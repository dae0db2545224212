"""`servetwin accuracy`: how wrong the models are, against what others measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Show how wrong the models are.")


@app.callback()
def accuracy() -> None:
    """Keeps each comparison a command of its own, however few there are."""


@app.command()
def operators(
    data: Annotated[
        Path | None,
        typer.Option(
            help="The folder `systems` of aiconfigurator-core, if it is not installed.",
            readable=False,
            metavar="FOLDER",
        ),
    ] = None,
) -> None:
    """Compare the curves of single operators with timings that were kept from their fit.

    Reads the timings that aiconfigurator-core 0.12.0 carries. Exit codes: 0 shown, whatever the errors; 2 no timings.
    """
    from ..accuracy.operators import operator_errors
    from ..accuracy.timings import data_folder
    from ..report.accuracy import operator_table
    from ..report.console import print_wide

    print_wide(operator_table(list(operator_errors(data_folder(data)))))
