"""`servetwin conformance`: replays recordings of real schedulers, and says where it departs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import tell

if TYPE_CHECKING:
    from rich.table import Table

    from ..conformance import ScenarioResult, Subject

app = typer.Typer(no_args_is_help=True, help="Compare with recordings of the real schedulers.")


class Engine(StrEnum):
    """Which implementation replays."""

    NATIVE = "native"
    REFERENCE = "reference"


Folder = Annotated[
    # One that cannot be read fails the check, which is for us to say.
    Path, typer.Argument(help="Holds NAME.scenario.json and NAME.oracle.json or .json.gz.", readable=False)
]
Implementation = Annotated[Engine, typer.Option(help="Which implementation replays.")]


@app.command()
def vllm(folder: Folder, engine: Implementation = Engine.NATIVE) -> None:
    """Replay recordings of vLLM's scheduler and compare every step.

    Exits 0 if all agree; 1 if any differs, cannot be read or is not supported, or there is none.
    """
    from ..conformance import VLLM

    check(folder, VLLM, engine)


@app.command()
def sglang(folder: Folder, engine: Implementation = Engine.NATIVE) -> None:
    """Replay recordings of SGLang's scheduler and compare every step.

    Exits 0 if all agree; 1 if any differs, cannot be read or is not supported, or there is none.
    """
    from ..conformance import SGLANG

    check(folder, SGLANG, engine)


def check(folder: Path, subject: Subject[Any, Any], engine: Engine) -> None:
    from ..conformance import check_folder
    from ..errors import ExitCode, ServetwinError
    from ..report.console import Output

    console = Output()
    try:
        results = list(check_folder(folder, subject, subject.replayers[engine]))
    except ServetwinError as error:
        tell(str(error))
        raise typer.Exit(ExitCode.DIFFERS) from None
    console.print(table(results))
    for result in results:
        if result.problem is not None:
            tell(f"{result.name}: {result.problem}")
    first = next((result.first for result in results if result.first is not None), None)
    if first is not None:
        typer.echo(f"First difference: {first}")
    if not all(result.agrees for result in results):
        raise typer.Exit(ExitCode.DIFFERS)


def table(results: list[ScenarioResult]) -> Table:
    from rich.table import Table

    failed = sum(not result.agrees for result in results)
    shown = Table(box=None, show_footer=True)
    shown.add_column("scenario", f"{len(results)} scenarios, {failed} failed")
    for title, values in (
        ("steps", [result.steps for result in results]),
        ("differences", [result.differences for result in results]),
    ):
        shown.add_column(title, f"{sum(values):,}", justify="right")
    for result in results:
        differences = f"{result.differences:,}" if result.problem is None else "not compared"
        shown.add_row(result.name, f"{result.steps:,}", differences)
    return shown
