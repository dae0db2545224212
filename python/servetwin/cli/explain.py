"""`servetwin explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import Settings, StudyOrSpec, TraceFile, Trial, no_trial

if TYPE_CHECKING:
    from ..plan.finished import Finished


def explain(
    what: StudyOrSpec,
    trial: Trial = None,
    trace: TraceFile = None,
    set_: Settings = None,
    replications: Annotated[int, typer.Option(help="Of each run that is compared; 19 or more.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, for programs.")] = False,
) -> None:
    """Why a deployment does what it does: where the time goes, what binds, and what single changes would do.

    Of a study it is kept in its folder, and shown on its page. Exit codes: 0 explained, 2 bad input.
    """
    import json

    from ..explain import CONFIDENCE
    from ..explain import explain as run
    from ..explain.kept import keep
    from ..plan.finished import finished
    from ..plan.folder import resume
    from ..report.explain import print_explanation
    from ..report.plan import point_said
    from ..report.study.page import write_page
    from ..result.intervals import least_replications
    from ..simulation import with_trace
    from ..spec import load_spec

    least = least_replications(CONFIDENCE)
    if replications < least:
        raise InputError(
            f"too few for intervals of {CONFIDENCE:.0%}",
            file="--replications",
            found=str(replications),
            wanted=f"at least {least}; 20 is usual",
        )
    study: Finished | None = None
    said: str | None = None
    about: dict[str, Any] = {}
    axes: dict[str, list[Any]] | None = None
    workload = None
    if what.is_dir():
        for option, value in (("--trace", trace), ("--set", set_)):
            if value:
                raise InputError("has no effect on a study that was made", file=option, wanted="it left out")
        study = finished(resume(what))
        one, point = study.shown(trial)
        if point is None:
            raise InputError(f"was never run on the whole workload: {one.reason}", field="trial", found=str(trial))
        spec, workload = study.question(point)
        axes = {path: list(values) for path, values in study.answer.space.axes.items()}
        about = {"trial": one.number, "load": point.load}
        said = point_said(point, study.answer)
    else:
        no_trial(trial)
        spec = load_spec(what, set_ or ())
        if trace is not None:
            spec = with_trace(spec, trace)
    explanation = run(spec, workload, axes=axes, replications=replications)
    told = explanation.as_json()
    if as_json:
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        if said is not None:
            typer.echo(said)
        print_explanation(explanation)
    if study is not None:
        keep(study.folder.path, about | told)
        write_page(study)
