"""Where tables are printed."""

from __future__ import annotations

from rich.console import Console, RenderableType


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
