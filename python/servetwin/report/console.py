"""Where tables are printed, and how most of them are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, RenderableType

if TYPE_CHECKING:
    from rich.table import Table


class Output(Console):
    """Standard output; a reader that has left is for the command line to judge."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def output() -> Console:
    """Standard output, so wide where it is no terminal that no line is cut or broken."""
    console = Output(highlight=False)
    if not console.is_terminal:
        console.width = 200
    return console


def print_wide(what: RenderableType) -> None:
    output().print(what)


def plain_table(*columns: str, words: int = 1) -> Table:
    """The first columns for words, to the left; the others for figures, to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < words else "right", no_wrap=True)
    return table
