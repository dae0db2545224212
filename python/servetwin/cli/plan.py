"""`servetwin plan`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ExitCode, InputError
from .options import TraceFile

if TYPE_CHECKING:
    from ..plan.folder import Folder
    from ..plan.make import Answer


def plan(
    spec: Annotated[
        Path | None, typer.Argument(help="The spec, a YAML file with a `search`.", readable=False, show_default=False)
    ] = None,
    trace: TraceFile = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the study.", metavar="FOLDER", show_default=False)] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Go on with the study in this folder; nothing is repeated.", metavar="FOLDER", show_default=False
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set a field, such as search.max_gpus=16.", metavar="PATH=VALUE"),
    ] = None,
    explain_space: Annotated[
        bool, typer.Option("--explain-space", help="Say what would be tried, and why the rest cannot be; run nothing.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Simulations at a time; as many as processors.", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Find the deployment to run for a workload and a service level.

    Exit codes: 0 found, 1 nothing meets the service level, 2 bad input.
    """
    from ..plan.folder import create
    from ..plan.folder import resume as go_on
    from ..plan.space import space_of
    from ..report.plan import print_space
    from ..simulation import with_trace
    from ..spec import load_spec
    from ..workload import open_workload

    if (spec is None) == (resume is None):
        raise InputError("needs either a spec or --resume FOLDER", field="plan")
    if resume is not None:
        for option, value in (("--trace", trace), ("--out", out), ("--set", set_), ("--explain-space", explain_space)):
            if value:
                raise InputError("has no effect on a study that was begun", file=option, wanted="it left out")
        folder = go_on(resume)
    else:
        assert spec is not None
        loaded = load_spec(spec, set_ or ())
        if explain_space:
            if trace is not None:
                loaded = with_trace(loaded, str(Path(trace).absolute()))
            print_space(space_of(loaded, open_workload(loaded)))
            return
        if out is None:
            raise InputError("missing: a study is kept in a folder", field="--out", wanted="--out FOLDER")
        folder = create(out, loaded, trace)
    answer = carry_out(folder, threads=threads, quiet=quiet)
    raise typer.Exit(int(ExitCode.DONE if answer.chosen is not None else ExitCode.DIFFERS))


def carry_out(folder: Folder, *, threads: int | None = None, quiet: bool = False) -> Answer:
    """Carries the study out, writes its table and its page, and prints the answer."""
    from ..plan.finished import Finished
    from ..plan.make import plan as search
    from ..plan.table import write_trials
    from ..report.plan import print_answer
    from ..report.progress import Counter
    from ..report.study.page import write_page

    with Counter("runs", shown=not quiet) as progress:
        answer = search(folder, workers=threads or os.cpu_count() or 1, progress=progress)
    study = Finished(folder, answer)
    write_trials(study)
    page = write_page(study)
    if not quiet:
        print_answer(answer)
        typer.echo(f"Every trial, to look at: {page}")
    return answer
