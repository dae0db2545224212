"""`servetwin` in this process: one of its own takes half a second longer, and is what tests/unit/test_cli.py is for."""

from __future__ import annotations

from subprocess import CompletedProcess

from typer.testing import CliRunner

from servetwin.cli import app


def servetwin(*arguments: object) -> CompletedProcess[str]:
    """What it printed, and its exit code. Raises whatever a process would have ended with a traceback for."""
    ran = CliRunner().invoke(app, list(map(str, arguments)))
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return CompletedProcess(arguments, ran.exit_code, ran.stdout, ran.stderr)
