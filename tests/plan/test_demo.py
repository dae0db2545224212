"""The demo: what it asks, what it leaves behind, and what it refuses."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from servetwin.cli import app
from servetwin.cli.demo import FOLDER, SPEC
from servetwin.plan.finished import Finished, finished
from servetwin.plan.folder import resume
from servetwin.plan.space import Candidate
from servetwin.plan.study import Point
from servetwin.simulation import simulate
from servetwin.spec import load_spec
from servetwin.workload import open_workload

pytestmark = pytest.mark.xdist_group("demo")
"""On one worker: another would carry the study out again."""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["demo", *arguments])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """The demo, without a network."""

    def refused(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("the demo reaches out")

    out = tmp_path_factory.mktemp("demo") / "new" / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refused)
        return run("--out", str(out)), out


def test_it_finds_a_deployment_and_shows_it(done: tuple[Result, Path]) -> None:
    result, out = done
    assert result.exit_code == 0, result.output
    study: Finished = finished(resume(out))
    assert study.answer.objective == "frontier"
    assert study.chosen is not None
    assert study.chosen.spec.gpus <= 8
    told = " ".join(result.output.split())
    assert f"Most throughput: trial {study.chosen.number}" in told
    assert f"{len(study.folder.trace):,} requests" in told
    assert (out / "plan.html").stat().st_size > 50_000
    assert str(out / "plan.html") in told.replace(" ", "") or "plan.html" in told
    assert (out / "trials.parquet").is_file()


def test_it_leaves_its_question(done: tuple[Result, Path]) -> None:
    _, out = done
    assert (out / "spec.yaml").read_text() == SPEC.read_text()


def test_no_other_takes_the_next_load(done: tuple[Result, Path]) -> None:
    """Screening must not cost the demo its answer: every deployment is tried at the next load of the ladder."""
    study = finished(resume(done[1]))
    chosen, axis = study.answer.chosen, study.answer.axis
    assert chosen is not None
    following = next(load for rung in range(200) if (load := axis.load(rung)) > chosen.load * 1.4)
    others = [one for one in study.answer.space.all() if isinstance(one, Candidate)]
    better = {}
    for candidate in others:
        spec, trace = axis.at(candidate.spec, following)
        result = simulate(spec, trace, deployment=candidate.deployment)
        point = Point(candidate, following, result.summary, stalled=False)
        if point.misses is None and point.throughput > chosen.throughput * 1.03:
            better[candidate.number] = point.throughput
    assert better == {}


def test_an_hour_of_chat_and_agents() -> None:
    spec = load_spec(SPEC)
    trace = open_workload(spec)
    assert 3500 < trace.profile()["last_s"] <= 3600
    assert spec.model == "llama-3.1-70b"
    assert spec.search is not None
    assert spec.search.max_gpus == 8


def test_what_is_there_is_left_alone(
    done: tuple[Result, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = run("--out", str(done[1]))
    assert again.exit_code == 2
    assert f"servetwin plan --resume {done[1]}" in again.stderr
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "note").write_text("mine")
    monkeypatch.chdir(tmp_path)
    other = run()
    assert other.exit_code == 2
    assert "--resume" not in other.stderr
    assert [file.name for file in (tmp_path / FOLDER).iterdir()] == ["note"]
    blocked = run("--out", str(tmp_path / FOLDER / "note" / "below"))
    assert blocked.exit_code == 2
    assert "cannot be made" in blocked.stderr
