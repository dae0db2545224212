"""The deployment of a study's trial: what was decided on is what is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from servetwin.cli import app
from servetwin.plan.finished import finished
from servetwin.plan.folder import resume
from servetwin.plan.make import plan
from servetwin.simulation import simulate

from .worlds import folder


@pytest.mark.parametrize("objective", ["cheapest", "goodput_per_gpu"])
def test_the_chosen_trial_is_written_with_the_load_it_was_chosen_for(objective: str, tmp_path: Path) -> None:
    chosen = plan(folder(tmp_path, objective, {"replicas": [1, 2, 3, 4]}), workers=2).chosen
    assert chosen is not None
    ran = CliRunner().invoke(app, ["deploy", str(tmp_path / "study"), "--out", str(tmp_path / "out")])
    assert ran.exit_code == 0, ran.output
    again = simulate(tmp_path / "out" / "spec.yaml").summary
    assert {name: again[name] for name in again if name in chosen.summary} == {
        name: chosen.summary[name] for name in again if name in chosen.summary
    }
    number = finished(resume(tmp_path / "study")).trial(chosen.candidate.number).number
    ran = CliRunner().invoke(app, ["deploy", str(tmp_path / "study"), str(number)])
    assert f"count=${{2:-{chosen.candidate.spec.replicas}}}" in ran.output
    ran = CliRunner().invoke(app, ["deploy", str(tmp_path / "study"), "99"])
    assert ran.exit_code == 2
    assert "no such trial" in ran.output
