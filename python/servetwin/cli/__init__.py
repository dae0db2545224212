"""The command line: one module a command or group of commands, which imports what it needs when it runs."""

from __future__ import annotations

import gc
import importlib
import io
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from . import failures

COMMANDS = (
    "demo",
    "simulate",
    "plan",
    "capacity",
    "explain",
    "deploy",
    "calibrate",
    "report",
    "compare",
    "timeline",
    "bench",
)
"""Modules of this package that hold one command, a function of the same name; and perhaps its class, `Command`."""

GROUPS = ("spec", "trace", "catalog", "accuracy", "profile", "conformance")
"""Modules that hold several, in a `typer.Typer` named `app`."""

EPILOG = (
    "Exit codes: 0 done, 1 differs or fails a check, 2 bad input, "
    "3 stalled (a replica stopped making progress) or nothing completed, 130 interrupted."
)


class Commands(TyperGroup):
    """Says what went wrong in a command; wrong arguments are left to typer."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BaseException as error:
            code = failures.report(error)
            if code is None:
                raise
            raise typer.Exit(code) from None


app = typer.Typer(
    cls=Commands,
    help="A twin of an LLM serving stack: replays traffic through exact models of the engines.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"servetwin {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


for _name in COMMANDS:
    _module = importlib.import_module(f".{_name}", __name__)
    app.command(_name, cls=getattr(_module, "Command", None))(getattr(_module, _name))
for _name in GROUPS:
    app.add_typer(importlib.import_module(f".{_name}", __name__).app, name=_name)


def main() -> None:
    """Runs the command line; an error that is the user's is one message, without a traceback."""
    # What imports and models leave behind lives on: looking through it for cycles takes a tenth of a short run.
    gc.set_threshold(100_000)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that knows no "×" shows its code.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    finally:
        # The interpreter looks again as it ends, which would take a fifth of it.
        gc.freeze()
