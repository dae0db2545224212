"""Where tables are printed."""

from __future__ import annotations

from rich.console import Console, RenderableType


class Output(Console):
    """Standard output; a reader that has left is for the command line to judge."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def print_wide(what: RenderableType) -> None:
    """With no line cut or broken where the output is no terminal."""
    console = Output(highlight=False)
    if not console.is_terminal:
        console.width = 200
    console.print(what)
