"""Arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError

SpecFile = Annotated[Path, typer.Argument(help="The spec, a YAML file.", readable=False, show_default=False)]

TraceFile = Annotated[
    str | None,
    typer.Option(
        "--trace", help="A trace to replay in place of the spec's workload.", metavar="FILE", show_default=False
    ),
]

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set a field, such as engine.max_num_seqs=128.", metavar="PATH=VALUE"),
]

StudyOrSpec = Annotated[
    Path, typer.Argument(help="A study's folder, or a spec.", metavar="STUDY|SPEC", readable=False, show_default=False)
]

Trial = Annotated[int | None, typer.Argument(help="Of the study; the one it chose if left out.", show_default=False)]


def no_trial(trial: int | None) -> None:
    """Raises InputError for a trial of a spec."""
    if trial is not None:
        raise InputError("never read: a spec has no trials", field="trial", found=str(trial))
