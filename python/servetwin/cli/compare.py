"""`servetwin compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .failures import tell


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="Results, as simulate --out wrote them; the first is what the others are measured against.",
            metavar="FOLDER FOLDER...",
            show_default=False,
        ),
    ],
    html: Annotated[
        Path | None, typer.Option(help="Also write a page with charts.", metavar="FILE", show_default=False)
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.")] = False,
) -> None:
    """Set results side by side: what differs in their specs, in their figures, and for each request.

    Requests are paired where the results are of the same trace; where they are not, a warning says so.

    Exit codes: 0 done, 2 bad input.
    """
    from ..report.compare.comparison import Comparison

    comparison = Comparison.load(folders)
    if html is not None:
        from ..files import write_whole
        from ..report.compare.page import comparison_page
        from ..report.text import size_text

        size = size_text(write_whole(html, [comparison_page(comparison)]))
    if json_:
        import json

        typer.echo(json.dumps(comparison.as_json(), indent=1, ensure_ascii=False))
        for warning in comparison.warnings():
            tell(f"warning: {warning}")
    else:
        from ..report.compare.terminal import print_comparison

        print_comparison(comparison)
    if html is not None:
        typer.echo(f"{html}: {size}", err=json_)
