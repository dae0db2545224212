"""Where tables are printed."""

from __future__ import annotations

from rich.console import Console


class Output(Console):
    """Standard output; a reader that has left is for the command line to judge."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError
