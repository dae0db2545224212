"""The command line: one module a command or group of commands, which imports what it needs when it runs."""

from __future__ import annotations

import gc
import importlib
import os
import sys

import typer

from ..errors import ExitCode, ServetwinError

COMMANDS = ("simulate", "bench")
"""Modules of this package that hold one command, a function of the same name."""

GROUPS = ("spec", "conformance")
"""Modules that hold several, in a `typer.Typer` named `app`."""

EPILOG = (
    "Exit codes: 0 done, 1 differs or fails a check, 2 bad input, "
    "3 stalled (a replica stopped making progress) or nothing completed."
)

app = typer.Typer(
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
    app.command(_name)(getattr(importlib.import_module(f".{_name}", __name__), _name))
for _name in GROUPS:
    app.add_typer(importlib.import_module(f".{_name}", __name__).app, name=_name)


def main() -> None:
    """Runs the command line; an error that is the user's is one message, without a traceback."""
    # What imports and models leave behind lives on: looking through it for cycles takes a tenth of a short run.
    gc.set_threshold(100_000)
    # Our models have no plugins; looking for some reads the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        app()
    except ServetwinError as error:
        print(f"servetwin: {error}", file=sys.stderr)
        for note in getattr(error, "__notes__", ()):
            print(f"  {note}", file=sys.stderr)
        sys.exit(int(error.exit_code))
    except BrokenPipeError:
        # The reader of a pipe has left; what it did not want is no error.
        sys.stderr.close()
        sys.exit(int(ExitCode.DONE))
    finally:
        # The interpreter looks again as it ends, which would take a fifth of it.
        gc.freeze()
