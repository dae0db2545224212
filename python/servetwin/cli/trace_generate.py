"""`servetwin trace generate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, SpecError

if TYPE_CHECKING:
    from .._core import Trace


def generate(
    spec: Annotated[
        Path | None,
        typer.Argument(help="A spec whose workload is generated, a YAML file.", readable=False, show_default=False),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(help="Instead, a trace of any format to generate look-alikes of.", metavar="TRACE"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="The file, .parquet, .jsonl or .csv; left out, only figures are printed.",
            metavar="FILE",
        ),
    ] = None,
    requests: Annotated[
        int | None, typer.Option(min=1, help="With --like: how many, at the trace's own rates.", show_default=False)
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            help="With --like: seconds of traffic; beside --requests, they take about so long.", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="With --like: of what is drawn; 0 if left out.", show_default=False)
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set a field of the spec, such as workload.requests=100.", metavar="PATH=VALUE"),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        str, typer.Option(help="Of the trace, where its content does not tell.", metavar="NAME")
    ] = "auto",
    block_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens an id of the trace stands for, where it does not say.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures as JSON, for programs.")] = False,
) -> None:
    """Generate requests: of a spec's workload, or like those of a trace, with the match printed.

    Exit codes: 0 done, 2 bad input.
    """
    from ..workload import write_trace
    from .failures import tell

    if (spec is None) == (like is None):
        raise InputError("one of a spec and --like TRACE is needed", wanted="one of them")
    original: Trace | None = None
    if like is not None:
        if set_:
            raise InputError("never read beside --like: there is no spec", file="--set", wanted="it left out")
        original, trace = _look_alike(like, format, block_tokens, requests, duration, seed or 0)
    else:
        given = {"--requests": requests, "--duration": duration, "--seed": seed, "--block-tokens": block_tokens}
        for option in [name for name, value in given.items() if value is not None] + ["--format"] * (format != "auto"):
            raise InputError("never read beside a spec", file=option, wanted="--set PATH=VALUE")
        assert spec is not None
        trace = _of_spec(spec, set_ or [])
    lost = write_trace(trace, out) if out is not None else []
    _show(original, trace, str(like or spec), as_json)
    if out is not None and not as_json:
        typer.echo(f"{out}: {len(trace):,} requests")
    if lost:
        tell(f"{out} does not hold: {'; '.join(lost)}")


def _look_alike(
    file: Path,
    format: str,  # noqa: A002 - as above
    block_tokens: int | None,
    requests: int | None,
    duration: float | None,
    seed: int,
) -> tuple[Trace, Trace]:
    from ..spec.base import HORIZON_S
    from ..workload import like, read_trace

    if requests is None and duration is None:
        raise InputError("how many is not said", file="--like", wanted="--requests or --duration, or both")
    if duration is not None and not 0 < duration <= HORIZON_S:
        raise InputError("not above 0 and at most 100 days", file="--duration", found=str(duration))
    original = read_trace(file, format, block_tokens=block_tokens)
    try:
        return original, like(original, requests=requests, duration_s=duration, seed=seed)
    except InputError as error:
        option = {"requests": "--requests", "duration_s": "--duration"}.get(error.field or "", "--like")
        raise InputError(error.message, file=option) from None


def _of_spec(file: Path, overrides: list[str]) -> Trace:
    from ..spec import load_spec
    from ..spec.workload import TraceWorkload
    from ..workload import open_workload

    spec = load_spec(file, overrides)
    if isinstance(spec.workload, TraceWorkload):
        problem: SpecError = spec.source.problem(
            ("workload", "kind"), "a trace is not generated", wanted="another kind, or servetwin trace convert"
        )
        raise problem
    return open_workload(spec)


def _show(original: Trace | None, trace: Trace, name: str, as_json: bool) -> None:
    import json

    if as_json:
        from ..report.trace import figures
        from ..workload.like import as_json as both

        shown: dict[str, Any] = figures(trace, name) if original is None else both(original, trace)
        typer.echo(json.dumps(shown, indent=1, ensure_ascii=False, allow_nan=False))
    elif original is None:
        from ..report.trace import print_trace

        print_trace(trace, name)
    else:
        from ..report.match import print_match

        print_match(original, trace, name)
