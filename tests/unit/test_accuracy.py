"""`servetwin accuracy`: what runs, and what says that it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.text import Text
from typer.testing import CliRunner

from servetwin.cli import accuracy, app
from servetwin.errors import MissingDataError


def absent(_: Path | None) -> Text:
    raise MissingDataError("the moon is not installed")


def present(_: Path | None) -> Text:
    return Text("it is right")


def test_what_lacks_its_data_says_so_and_the_rest_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "COMPARISONS", {"moon": absent, "sun": present})
    run = CliRunner().invoke(app, ["accuracy"])
    assert run.exit_code == 0
    assert "not compared: the moon is not installed" in run.output
    assert "it is right" in run.output


def test_nothing_to_compare_with_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "COMPARISONS", {"moon": absent})
    run = CliRunner().invoke(app, ["accuracy"])
    assert run.exit_code == 2


def test_the_folder_belongs_to_the_comparison() -> None:
    run = CliRunner().invoke(app, ["accuracy", "--data", "/nowhere", "operators"])
    assert run.exit_code == 2
