"""The command line: one module a command or group of commands, imported when it is asked for."""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

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


PLAIN: Mapping[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}
"""Without colours and frames, which would be imported with rich."""


class ByName(Mapping[str, Any]):
    """Commands by name, each made when it is looked at: most runs look at one of them."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in (*COMMANDS, *GROUPS):
            raise KeyError(name)
        if name not in self._made:
            self._made[name] = _command(name) if name in COMMANDS else _group(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*COMMANDS, *GROUPS))

    def __len__(self) -> int:
        return len(COMMANDS) + len(GROUPS)


def _command(name: str) -> Any:
    module = importlib.import_module(f".{name}", __name__)
    alone = typer.Typer(**PLAIN)
    alone.command(name, cls=getattr(module, "Command", TyperCommand))(getattr(module, name))
    return get_command(alone)


def _group(name: str) -> Any:
    within = typer.Typer(**PLAIN)
    within.add_typer(importlib.import_module(f".{name}", __name__).app, name=name)
    return get_group(within).commands[name]


class Commands(TyperGroup):
    """Says what went wrong in a command; wrong arguments are left to typer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = cast(Any, ByName())

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
    **PLAIN,
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


def main() -> None:
    """Runs the command line; an error that is the user's is one message, without a traceback."""
    # What imports and models leave behind lives on: looking through it for cycles takes a tenth of a short run.
    gc.set_threshold(100_000)
    # pydantic would look for plugins of its own in what every installed package says of itself.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that knows no "×" shows its code.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    finally:
        # The interpreter looks again as it ends, which would take a fifth of it.
        gc.freeze()
