"""`servetwin timeline`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def timeline(
    folder: Annotated[
        Path, typer.Argument(help="A result, as simulate --out wrote it.", metavar="FOLDER", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="A name in .gz is compressed; timeline.json.gz in the folder if absent.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    from_: Annotated[
        float | None, typer.Option("--from", help="Leave out what ended before.", metavar="SECONDS", show_default=False)
    ] = None,
    to: Annotated[
        float | None, typer.Option(help="Leave out what arrived at this time or later.", metavar="SECONDS")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many requests, by arrival.", metavar="REQUESTS")
    ] = None,
) -> None:
    """Write every replica and request on a time axis, to open in Perfetto or chrome://tracing.

    Times are seconds of the trace. Exit codes: 0 done, 2 bad input.
    """
    from ..files import write_whole
    from ..report.text import size_text
    from ..report.timeline.document import timeline as parts
    from ..report.timeline.window import Window
    from ..result.store import TIMELINE, load

    window = Window(from_, to, limit)
    file = folder / TIMELINE if out is None else out
    size = write_whole(file, parts(load(folder), window))
    typer.echo(f"{file}: {size_text(size)}, to open at ui.perfetto.dev or in chrome://tracing")
