"""`servetwin plan`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ..errors import ExitCode, InputError
from .options import TraceFile

if TYPE_CHECKING:
    from ..plan.cluster import Cluster
    from ..plan.folder import Folder
    from ..plan.make import Answer


class Command(TyperCommand):
    """`--ray` alone is `--ray auto`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        found: list[str] = []
        for arg, following in zip(args, [*args, "-"][1:], strict=True):
            found += [arg, "auto"] if arg == "--ray" and following.startswith("-") else [arg]
        return super().parse_args(ctx, found)


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
        int | None,
        typer.Option(min=1, help="Runs at a time; as many as there are processors.", show_default=False),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Carry runs out on a Ray cluster: its host:port; `local` starts one here; without an address, the one "
            "that RAY_ADDRESS names or that runs here.",
            metavar="[ADDRESS]",
            show_default=False,
        ),
    ] = None,
    replications: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Then run the choice so often under other errors of its pass times and other samples of the workload.",
            metavar="N",
            show_default=False,
        ),
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
        cluster = _cluster(ray, threads)
        folder = go_on(resume)
    else:
        assert spec is not None
        loaded = load_spec(spec, set_ or ())
        if explain_space:
            if trace is not None:
                loaded = with_trace(loaded, trace)
            print_space(space_of(loaded, open_workload(loaded)))
            return
        if out is None:
            raise InputError("missing: a study is kept in a folder", field="--out", wanted="--out FOLDER")
        cluster = _cluster(ray, threads)
        folder = create(out, loaded, trace)
    answer = carry_out(folder, threads=threads, cluster=cluster, replications=replications, quiet=quiet)
    raise typer.Exit(int(ExitCode.DONE if answer.chosen is not None else ExitCode.DIFFERS))


def _cluster(address: str | None, workers: int | None) -> Cluster | None:
    """Connected before anything is written."""
    if address is None:
        return None
    from ..plan.cluster import Cluster

    return Cluster(address, workers)


def carry_out(
    folder: Folder,
    *,
    threads: int | None = None,
    cluster: Cluster | None = None,
    replications: int | None = None,
    quiet: bool = False,
) -> Answer:
    """Carries the study out, writes its table and its page, and prints the answer."""
    from ..plan.assurance import assured
    from ..plan.finished import Finished
    from ..plan.make import plan as search
    from ..plan.table import write_trials
    from ..replication import processors
    from ..report.plan import print_answer, said
    from ..report.progress import Counter
    from ..report.study.page import write_page

    workers = threads or processors()
    executor = None if cluster is None else cluster.hold(folder)
    with closing(folder.ledger):
        with Counter("runs", shown=not quiet) as progress:
            answer = search(folder, workers=workers, executor=executor, progress=progress)
        study = Finished(folder, answer)
        write_trials(study)
        sure = None if replications is None else assured(study, replications, workers)
    page = write_page(study)
    if not quiet:
        print_answer(answer)
        if sure is not None:
            typer.echo(said(sure))
        typer.echo(f"Page:    {page}")
        if answer.chosen is not None:
            typer.echo(f"Why:     servetwin explain {folder.path}")
            typer.echo(f"Launch:  servetwin deploy {folder.path} --out launch")
    return answer
