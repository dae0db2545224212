"""Arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
