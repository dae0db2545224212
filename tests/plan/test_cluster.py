"""The same study on a Ray cluster of two workers, started here."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from servetwin.cli import app
from servetwin.errors import InputError
from servetwin.plan import cluster as cluster_module
from servetwin.plan.cluster import Cluster, Study
from servetwin.plan.finished import Finished
from servetwin.plan.folder import resume
from servetwin.plan.make import plan
from servetwin.plan.runs import Outcome, Run
from servetwin.plan.table import trial_table
from servetwin.spec import make_spec
from servetwin.workload import open_workload
from servetwin.workload.columns import pack, unpack

from .worlds import BASE, folder

ONE_AT_A_TIME = pytest.mark.xdist_group("ray")
"""On one worker: two clusters that start together may take each other's ports."""


@ONE_AT_A_TIME
def test_the_trial_table_is_the_same_as_of_threads(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    tables = []
    for name in ("threads", "ray"):
        study = folder(tmp_path / name, "goodput_per_gpu")
        executor = Cluster("local", 2).hold(study) if name == "ray" else None
        tables.append(trial_table(Finished(study, plan(study, workers=2, executor=executor))))
    assert tables[0].num_rows > 50
    assert tables[0].equals(tables[1])


class Killed:
    """An executor that loses its workers after some runs."""

    def __init__(self, executor: Cluster, after: int) -> None:
        self._executor = executor
        self._left = after

    def results(self, runs: Sequence[Run]) -> Iterator[tuple[Run, Outcome]]:
        for found in self._executor.results(runs):
            yield found
            self._left -= 1
            if not self._left:
                for worker in self._executor._workers:
                    self._executor._ray.kill(worker)

    def close(self) -> None:
        self._executor.close()


@ONE_AT_A_TIME
def test_lost_workers_lose_no_finished_run(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    study = folder(tmp_path, "goodput_per_gpu")
    with pytest.raises(InputError, match="a worker was lost, finished runs are kept"):
        plan(study, workers=2, executor=Killed(Cluster("local", 2).hold(study), 20))
    before = dict(study.ledger.all())
    assert len(before) >= 20
    study.ledger.close()
    again = resume(study.path)
    plan(again, workers=2)
    after = dict(again.ledger.all())
    assert len(after) > len(before)
    assert {run: after[run] for run in before} == before


def test_a_worker_with_another_version_is_refused(tmp_path: Path) -> None:
    study = folder(tmp_path, "cheapest")
    facts = {"servetwin": "0.0.0", "spec": study.spec.source.data, "file": None, "directory": None}
    with pytest.raises(RuntimeError, match=r"where the study is of 0\.0\.0"):
        Study(facts, pack(study.trace))


def test_a_run_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = folder(tmp_path, "cheapest")
    facts = {"servetwin": cluster_module.__version__, "spec": study.spec.source.data, "file": None, "directory": None}
    worker = Study(facts, pack(study.trace))
    fine = worker.carry_out([Run(0, 1.0)])[0]
    assert isinstance(fine, Outcome)

    def failing(run: Run) -> Outcome:
        if run.candidate:
            raise InputError("lasts over 100 days")
        return fine

    monkeypatch.setattr(worker, "_runner", failing)
    assert worker.carry_out([Run(0, 1.0), Run(1, 1.0), Run(2, 1.0)]) == [fine, "lasts over 100 days"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "--ray: no cluster is reached: .*; found 127.0.0.1:1; expected host:port"),
        ("ray://127.0.0.1:1", "--ray: no cluster is reached"),
        ("somewhere", "--ray: no address; found somewhere"),
    ],
)
def test_a_cluster_that_is_not_there_is_named_and_nothing_is_begun(tmp_path: Path, address: str, message: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(InputError, match=message):
        Cluster(address)
    spec = tmp_path / "plan.yaml"
    spec.write_text(
        "model: llama-3.1-8b\ngpu: h100\nworkload: {kind: poisson, requests: 10, rate_per_s: 1, "
        "input_tokens: 10, output_tokens: 2}\nsearch: {max_gpus: 1}\n"
    )
    ran = CliRunner().invoke(app, ["plan", str(spec), "--out", str(tmp_path / "study"), "--ray", address])
    assert ran.exit_code == 2
    assert not (tmp_path / "study").exists()


def test_ray_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"ray: is not installed; expected `pip install servetwin\[ray\]`"):
        Cluster("local")


def test_ray_alone_is_the_cluster_that_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refused(address: str, workers: int | None) -> Cluster:
        asked.append((address, workers))
        raise InputError("enough")

    study = folder(tmp_path, "cheapest")
    monkeypatch.setattr(cluster_module, "Cluster", refused)
    resumed = ["plan", "--resume", str(study.path)]
    for options in (["--ray", "--threads", "3"], ["--threads", "3", "--ray"], ["--ray", "local"]):
        assert CliRunner().invoke(app, [*resumed, *options]).exit_code == 2
    assert asked == [("auto", 3), ("auto", 3), ("local", None)]


@pytest.mark.parametrize(
    "workload",
    [
        BASE["workload"],
        {
            "kind": "gamma",
            "rate_per_s": 4,
            "cv": 2,
            "duration_s": 20,
            "classes": {
                name: {
                    "share": 0.5,
                    "input_tokens": 300,
                    "output_tokens": 30,
                    "sessions": {"turns": {"values": [1, 3], "weights": [1, 1]}, "new_tokens": 10, "think_time_s": 2},
                }
                for name in ("chat", "agents")
            },
        },
    ],
)
def test_a_trace_is_the_same_on_the_other_side(workload: dict[str, object]) -> None:
    trace = open_workload(make_spec({**BASE, "workload": workload}))
    assert pack(unpack(pack(trace))) == pack(trace)
