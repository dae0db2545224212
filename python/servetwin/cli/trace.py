"""`servetwin trace`: what is in a trace, the same in another format, and public ones from where they are."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .trace_generate import generate

if TYPE_CHECKING:
    from .._core import Trace

app = typer.Typer(no_args_is_help=True, help="Describe, convert, generate and fetch traces.")
app.command()(generate)


class Turns(StrEnum):
    """What rows of a session mean."""

    CUMULATIVE = "cumulative"
    DELTA = "delta"
    SEPARATE = "separate"


class Unit(StrEnum):
    """Of a column of times that names none."""

    S = "s"
    MS = "ms"
    US = "us"
    NS = "ns"
    PS = "ps"


File = Annotated[Path, typer.Argument(help="A trace of any format.", readable=False, show_default=False)]
Format = Annotated[str, typer.Option(help="Its format, where the content does not tell.", metavar="NAME")]
BlockTokens = Annotated[
    int | None, typer.Option(min=1, help="Tokens an id stands for, where the file does not say.", show_default=False)
]
Rows = Annotated[Turns | None, typer.Option(help="What rows of a session mean, where it does not.", show_default=False)]
TimeUnit = Annotated[Unit | None, typer.Option(help="Of a column of times that names no unit.", show_default=False)]
Steps = Annotated[
    list[str] | None,
    typer.Option("--transform", help="A step such as speedup=2, limit=1000; in order.", metavar="NAME=VALUE"),
]


@app.command()
def describe(
    file: File,
    format: Format = "auto",  # noqa: A002 - the option's name
    block_tokens: BlockTokens = None,
    turns: Rows = None,
    time_unit: TimeUnit = None,
    transform: Steps = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures as JSON, for programs.")] = False,
) -> None:
    """Tell rates, burstiness, lengths, sessions, and what an endless prefix cache could save.

    Exit codes: 0 done, 2 bad input.
    """
    import json

    trace = _read(file, format, block_tokens, turns, time_unit, transform)
    if as_json:
        from ..report.trace import figures

        typer.echo(json.dumps(figures(trace, str(file)), indent=1, ensure_ascii=False, allow_nan=False))
        return
    from ..report.trace import print_trace

    print_trace(trace, str(file))


@app.command()
def convert(
    file: File,
    out: Annotated[
        Path,
        typer.Argument(
            help="Ends in .parquet (holds everything), .jsonl (Mooncake's) or .csv; the latter two also with .gz or "
            ".zst.",
            show_default=False,
        ),
    ],
    format: Format = "auto",  # noqa: A002 - the option's name
    block_tokens: BlockTokens = None,
    turns: Rows = None,
    time_unit: TimeUnit = None,
    transform: Steps = None,
) -> None:
    """Write a trace in another format, whole or not at all.

    What the new format has no words for is told. Exit codes: 0 done, 2 bad input.
    """
    from ..workload import write_trace
    from .failures import tell

    trace = _read(file, format, block_tokens, turns, time_unit, transform)
    if out.exists() and out.samefile(file):
        raise InputError("is the trace itself, which would be lost", file=str(out), wanted="another name")
    lost = write_trace(trace, out)
    typer.echo(f"{out}: {len(trace):,} request{'s' * (len(trace) != 1)}")
    if lost:
        tell(f"{out} does not hold: {'; '.join(lost)}")


@app.command()
def fetch(
    name: Annotated[
        str | None, typer.Argument(help="Which public trace; left out, all are listed.", show_default=False)
    ] = None,
    to: Annotated[Path, typer.Option(help="The folder for it.", metavar="FOLDER")] = Path(),
) -> None:
    """Download a public trace from where it was published, and check it.

    A download that broke off goes on where it was. Exit codes: 0 done, 2 bad input, or no network.
    """
    from ..workload.public import PUBLIC

    if name is None:
        for known, trace in PUBLIC.items():
            typer.echo(f"{known:<22} {trace.about} ({trace.licence})")
        return
    from ..report.progress import ProgressBar
    from ..workload.fetch import fetch as download

    with ProgressBar("fetching") as progress:
        fetched = download(name, to, progress=progress)
    known_as = "as it should be" if fetched.known else "for the record: none is known to compare it with"
    typer.echo(f"{fetched.file}: {'fetched' if fetched.new else 'is there already'}")
    typer.echo(f"sha256 {fetched.sha256}, {known_as}")


def _read(
    file: Path,
    format: str,  # noqa: A002 - as above
    block_tokens: int | None,
    turns: Turns | None,
    time_unit: Unit | None,
    steps: list[str] | None,
) -> Trace:
    from ..workload import read_trace

    options: dict[str, Any] = {"block_tokens": block_tokens, "turns": turns, "time_unit": time_unit}
    trace = read_trace(file, format, need_times=False, **options)
    if steps:
        from ..workload.transform import transform

        try:
            trace = transform(trace, steps)
        except InputError as error:
            if error.file is not None:
                raise
            place, _, field = (error.field or "0").partition(".")
            raise InputError(
                error.message,
                file=f"--transform {steps[int(place)]}",
                field=field,
                found=error.found,
                wanted=error.wanted,
            ) from None
    return trace
