"""`servetwin simulate`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ExitCode, InputError
from .failures import tell
from .options import Settings, SpecFile, TraceFile

if TYPE_CHECKING:
    from ..result.result import Result

DEFAULT_CONFIDENCE = 0.9


def simulate(
    spec: SpecFile,
    trace: TraceFile = None,
    out: Annotated[
        str | None,
        typer.Option(
            help="Folder for result.json and the tables, whole or not at all.", metavar="FOLDER", show_default=False
        ),
    ] = None,
    set_: Settings = None,
    router: Annotated[
        str | None,
        typer.Option(
            help="A router's name, or module:Class or file.py:Class.", metavar="NAME|FILE:CLASS", show_default=False
        ),
    ] = None,
    allow_extrapolation: Annotated[
        bool,
        typer.Option("--allow-extrapolation", help="Price what nothing was measured of by assumption, and say so."),
    ] = False,
    html: Annotated[
        bool, typer.Option("--html", help="Also write report.html into the folder: the result as a page.")
    ] = False,
    replications: Annotated[
        int | None,
        typer.Option(
            help="Run it so many times more, with other errors of the pass times and other samples of the workload: "
            "metrics get intervals. 20 is usual.",
            metavar="N",
            show_default=False,
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(help="Of the intervals; 0.9 if left out.", metavar="SHARE", show_default=False),
    ] = None,
    point_requests: Annotated[
        bool,
        typer.Option("--point-requests", help="Leave the requests of replications out of requests.parquet."),
    ] = False,
    no_leap: Annotated[
        bool, typer.Option("--no-leap", help="Step through every pass. The result is the same.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Replay a workload through a deployment.

    Exit codes: 0 done, 2 bad input, 3 stalled or nothing completed.
    """
    from ..spec import load_spec

    for option, path in (("--trace", trace), ("--out", out)):
        if path == "":
            raise InputError("names nothing", file=option, wanted="a path")
    if html and out is None:
        raise InputError("has no effect without --out", file="--html", wanted="--out FOLDER beside it")
    _check_replications(replications, confidence, point_requests, out)
    if out is not None:
        from ..result.store import check_writable, write

        check_writable(Path(out))
    allowed = ["timing.allow_extrapolation=true"] if allow_extrapolation else []
    loaded = load_spec(spec, [*_router_override(router, set_ or ()), *(set_ or ()), *allowed])

    def run(progress: Callable[[float], None] | None = None) -> Result:
        if replications is None:
            from ..simulation import simulate

            return simulate(loaded, trace, leap=not no_leap, progress=progress)
        from ..replication import replicate

        return replicate(
            loaded,
            trace,
            replications=replications,
            confidence=DEFAULT_CONFIDENCE if confidence is None else confidence,
            requests=out is not None and not point_requests,
            leap=not no_leap,
            progress=progress,
        )

    if quiet:
        result = run()
    else:
        from ..report.progress import ProgressBar

        with ProgressBar() as progress:
            result = run(progress)
    if out is not None:
        page = None
        if html:
            from ..report.page.document import report_page

            page = report_page(result)
        write(result, Path(out), page)
    if not quiet:
        from ..report.terminal import print_result

        print_result(result)
    raise typer.Exit(int(_verdict(result)))


def _check_replications(
    replications: int | None, confidence: float | None, point_requests: bool, out: str | None
) -> None:
    if replications is not None:
        from ..replication import check_counts

        check_counts(replications, DEFAULT_CONFIDENCE if confidence is None else confidence)
    for option, given in (("--confidence", confidence is not None), ("--point-requests", point_requests)):
        if given and replications is None:
            raise InputError("has no effect without --replications", file=option, wanted="--replications 20 beside it")
    if point_requests and out is None:
        raise InputError("has no effect without --out", file="--point-requests", wanted="--out FOLDER beside it")


def _router_override(router: str | None, sets: Sequence[str]) -> list[str]:
    """These come before `--set`, which may give the router's options."""
    if router is None:
        return []
    for one in sets:
        if one.partition("=")[0].strip() in ("router", "router.kind", "router.object"):
            raise InputError(f"names a router beside --router {router}", file=f"--set {one}", wanted="one of the two")
    if ":" not in router:
        return [f"router={router}"]
    # As YAML quotes, which reads it again.
    return ["router.kind=python", f"router.object={json.dumps(router, ensure_ascii=False)}"]


def _verdict(result: Result) -> ExitCode:
    """Tells what went wrong, --quiet or not."""
    from ..report.text import stalled_requests

    if result.status == "stalled":
        tell(f"stalled, without progress: {stalled_requests(result)}")
        return ExitCode.STALLED
    if result.completed == 0:
        reasons = [f"{count:,} × {reason}" for reason, count in result.rejections.items()]
        outside = "no request arrived between metrics.warmup and the end of metrics.window"
        tell(f"nothing completed: {'; '.join(reasons) or outside}")
        return ExitCode.STALLED
    return ExitCode.DONE
