"""`servetwin deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ExitCode, InputError
from .options import StudyOrSpec, Trial, no_trial

if TYPE_CHECKING:
    from .._core import Trace
    from ..spec import Spec


WHOLE = "workload.parquet"
"""The requests as `spec.yaml` replays them; AIPerf's rows have no words for some of it."""


def deploy(
    what: StudyOrSpec,
    trial: Trial = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="vllm, sglang, trtllm, dynamo, llm-d, kserve or ray; the engine's own if left out.",
            metavar="TARGET",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="A new folder; left out, files are printed.", metavar="FOLDER", show_default=False
        ),
    ] = None,
    diff: Annotated[
        Path | None,
        typer.Option(
            help="Instead, say what changes beside this script or manifest.",
            metavar="FILE",
            readable=False,
            show_default=False,
        ),
    ] = None,
    container: Annotated[
        str | None,
        typer.Option(help="Of --diff's manifest, where several run an engine.", metavar="NAME", show_default=False),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the deployment; of the model if left out.", show_default=False)
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="What engines load; where the model is published if left out.", show_default=False),
    ] = None,
    draft_model: Annotated[
        str | None, typer.Option(help="The head that drafts, for EAGLE.", show_default=False)
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Of containers; the maker's if left out.", show_default=False)
    ] = None,
) -> None:
    """Write what starts a deployment, its spec and requests, and the AIPerf command that would verify it.

    Exit codes: 0 written, or nothing changes; 1 --diff found changes; 2 bad input.
    """
    from ..deploy import differences, write

    spec, trace = _chosen(what, trial)
    if diff is not None:
        given = {
            "--to": to,
            "--out": out,
            "--name": name,
            "--weights": weights,
            "--draft-model": draft_model,
            "--image": image,
        }
        for option in [option for option, value in given.items() if value is not None]:
            raise InputError("never read beside --diff", file=option, wanted="it left out")
        changes = differences(spec, diff, container=container)
        for change in changes:
            flag = "" if change.flag is None else f"  ({change.flag})"
            typer.echo(f"{change.field}: {_written(change.now)} → {_written(change.then)}{flag}")
        if not changes:
            typer.echo(f"{diff}: runs so already, as far as flags tell")
        raise typer.Exit(int(ExitCode.DIFFERS if changes else ExitCode.DONE))
    if container is not None:
        raise InputError("never read without --diff", file="--container", wanted="it left out")
    made = write(spec, to or spec.engine.name, name=name, weights=weights, draft_model=draft_model, image=image)
    if out is None:
        for file, text in made.files.items():
            typer.echo(f"=== {file}\n{text}")
    else:
        _save(out, made.files, spec, trace)
    for note in made.notes:
        typer.echo(f"note: {note}", err=True)


def _chosen(what: Path, trial: int | None) -> tuple[Spec, Trace | None]:
    """The deployment, and its workload where a study knows it."""
    from ..plan.finished import finished
    from ..plan.folder import resume
    from ..spec import load_spec

    if not what.is_dir():
        no_trial(trial)
        return load_spec(what), None
    study = finished(resume(what))
    one, point = study.shown(trial)
    return (one.spec, None) if point is None else study.question(point)


def _save(out: Path, files: dict[str, str], spec: Spec, trace: Trace | None) -> None:
    """Whole or not at all."""
    import yaml

    from ..deploy.verify import WORKLOAD
    from ..files import whole_folder
    from ..spec.workload import TraceWorkload
    from ..workload import open_workload, write_trace

    if out.exists():
        raise InputError("is there already", file=str(out), wanted="a new folder")
    trace = trace or open_workload(spec)
    replayed = spec.with_workload(TraceWorkload(trace=WHOLE, users=spec.users))
    data = {key: value for key, value in replayed.source.data.items() if key != "search"}
    files["spec.yaml"] = yaml.dump(data, Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True)
    with whole_folder(out) as draft:
        for name, text in files.items():
            (draft / name).write_text(text, encoding="utf-8")
            if name.endswith(".sh"):
                (draft / name).chmod(0o755)
        write_trace(trace, draft / WORKLOAD)
        write_trace(trace, draft / WHOLE)
    typer.echo(f"{out}: {', '.join([*files, WORKLOAD, WHOLE])}")


def _written(value: object) -> str:
    return "default" if value is None else str(value)
