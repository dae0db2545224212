"""`servetwin report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[
        Path, typer.Argument(help="A result, as simulate --out wrote it.", metavar="FOLDER", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The page; report.html in the folder if absent.", metavar="FILE", show_default=False
        ),
    ] = None,
) -> None:
    """Write a result as one page that opens in any browser, offline.

    Exit codes: 0 done, 2 bad input.
    """
    from ..files import write_whole
    from ..report.page.document import report_page
    from ..report.text import size_text
    from ..result.store import PAGE, load

    page = report_page(load(folder))
    file = folder / PAGE if out is None else out
    typer.echo(f"{file}: {size_text(write_whole(file, [page]))}")
