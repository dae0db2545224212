"""`servetwin profile`: times operators on hardware of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..profile.plan import Limits, Task

app = typer.Typer(no_args_is_help=True, help="Time a model's operators on your own hardware.")


@app.callback()
def profile() -> None:
    """Keeps each device a command of its own, however few there are."""


@app.command()
def gpu(
    model: Annotated[str, typer.Option(metavar="NAME", help="By name, or by the path of its config.json.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A new folder for the table: meta.yaml and tpN/*.csv.")
    ] = None,
    tensor: Annotated[int, typer.Option(min=1, help="As one of so many tensor-parallel ranks.")] = 1,
    max_tokens: Annotated[int, typer.Option(min=16, help="Largest pass, in tokens.")] = 8192,
    max_rows: Annotated[int, typer.Option(min=1, help="Largest batch, in requests.")] = 256,
    max_length: Annotated[int, typer.Option(min=64, help="Longest request, in tokens.")] = 32768,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be timed, and stop.")] = False,
) -> None:
    """Time a model's operators on the GPU at hand, with torch's kernels, and write them as a table.

    `timing: {kind: table, path: FOLDER}` uses it. Exit codes: 0 done; 2 no torch, no GPU, a model that is not timed
    here, or a folder that cannot be written.
    """
    from ..catalog import model as find
    from ..errors import InputError
    from ..profile.plan import Limits, plan
    from ..report.console import print_wide
    from ..report.profile import plan_table

    found = find(model, Path(model).expanduser())
    limits = Limits(max_tokens, max_rows, min(max_length, found.max_positions))
    tasks = plan(found, tensor, limits)
    if dry_run:
        print_wide(plan_table(found, tensor, limits, tasks))
        return
    if out is None:
        raise InputError("missing: --out FOLDER, where the table is written to", wanted="it, or --dry-run")
    _measure(found.name, tensor, limits, tasks, out)


def _measure(model: str, tensor: int, limits: Limits, tasks: list[Task], out: Path) -> None:
    from rich.progress import Progress

    from .. import __version__
    from ..profile.gpu import TorchClock
    from ..profile.run import measure
    from ..profile.write import check_folder, meta, write

    check_folder(out)
    clock = TorchClock()
    with Progress(transient=True) as progress:
        bar = progress.add_task("timing", total=len(tasks))
        measured = measure(tasks, clock, lambda done: progress.update(bar, completed=done))
    write(out, tensor, measured, meta(model, tensor, limits, clock.describe(), measured, __version__))
    typer.echo(f"{out}: {len(measured):,} operators; use it with `timing: {{kind: table, path: {out}}}`")
