"""`servetwin accuracy`: how wrong the models are, against what others measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..accuracy.silicon.compare import Comparison

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


@app.command()
def silicon(
    data: Systems = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw predicted beside measured times into an SVG file.", readable=False, metavar="FILE"),
    ] = None,
) -> None:
    """Compare whole runs, simulated, with the measured ones that aiconfigurator-core 0.12.0 carries.

    Beside AIConfigurator's own predictions, if what it imports is there. Minutes. Exit codes: 0 shown, whatever the
    errors; 2 no measurements.
    """
    if plot is not None and not plot.absolute().parent.is_dir():
        from ..errors import InputError

        raise InputError("its folder does not exist", file=str(plot))
    _print(_silicon(data))
    if plot is not None:
        from ..files import write_whole
        from ..report.predicted import drawing

        write_whole(plot, [drawing(_compared(data).compared)])


@app.command()
def ranking(data: Systems = None) -> None:
    """Show whether the predictions for the same runs choose the deployments that the measurements would choose.

    Minutes. Exit codes: 0 shown, whatever the regret; 2 no measurements.
    """
    _print(_ranking(data))


def _operators(data: Path | None) -> RenderableType:
    from ..accuracy.operators import operator_errors
    from ..accuracy.timings import data_folder
    from ..report.accuracy import operator_table

    return operator_table(list(operator_errors(data_folder(data))))


@app.command()
def servingsim(
    data: Annotated[
        Path | None,
        typer.Option(
            help="The folder `measured/llmservingsim`, if it is not in SERVETWIN_DATA.",
            readable=False,
            metavar="FOLDER",
        ),
    ] = None,
) -> None:
    """Compare with LLMServingSim's runs of vLLM 0.19, by its own timings of layers.

    Exit codes: 0 shown, whatever the errors; 2 no runs.
    """
    _print(_servingsim(data))


def _servingsim(data: Path | None) -> RenderableType:
    from ..accuracy.servingsim import data_folder, servingsim_errors
    from ..report.console import output
    from ..report.servingsim import servingsim_table

    return servingsim_table(list(servingsim_errors(data_folder(data))), output().width)


def _compared(data: Path | None) -> Comparison:
    from ..accuracy.silicon.compare import compare
    from ..accuracy.timings import data_folder

    return compare(data_folder(data).parent)


def _silicon(data: Path | None) -> RenderableType:
    from ..report.silicon import silicon_table

    return silicon_table(_compared(data))


def _ranking(data: Path | None) -> RenderableType:
    from ..report.silicon import ranking_table

    return ranking_table(_compared(data))


@app.command()
def coverage(data: Systems = None) -> None:
    """Show how often 90 % intervals hold: on the silicon sample, on measured runs, and in worlds whose truth is known.

    The sample comes with aiconfigurator-core 0.12.0; the runs are LLMServingSim's, in the folder that SERVETWIN_DATA
    names. Takes minutes. Exit codes: 0 shown, however often.
    """
    _print(_coverage(data))


def _coverage(data: Path | None) -> RenderableType:
    from ..replication import processors
    from ..report.coverage import coverage_report

    return coverage_report(data, processors())


COMPARISONS: Mapping[str, Callable[[Path | None], RenderableType]] = {
    "operators": _operators,
    "servingsim": lambda systems: _servingsim(None),
    "silicon": _silicon,
    "ranking": _ranking,
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
