"""A finished study: its trials, and their table."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from servetwin import simulate
from servetwin.cli import app
from servetwin.errors import InputError
from servetwin.plan.assurance import assured
from servetwin.plan.finished import Finished, finished
from servetwin.plan.folder import resume
from servetwin.plan.ledger import Ledger
from servetwin.plan.make import plan
from servetwin.plan.runs import WHOLE
from servetwin.plan.table import FILE, trial_table, write_trials
from servetwin.report.plan import said

from .worlds import folder, spec


@pytest.mark.parametrize("objective", ["cheapest", "frontier"])
def test_a_finished_study_is_read_without_running_anything(tmp_path: Path, objective: str) -> None:
    study = folder(tmp_path, objective)
    answer = plan(study, workers=2)
    before = study.ledger.all()
    study.ledger.close()
    read = finished(resume(study.path))
    assert [point.run for point in read.answer.points] == [point.run for point in answer.points]
    assert read.folder.ledger.all() == before
    assert read.chosen is not None
    assert answer.chosen is not None
    assert read.chosen.number == answer.chosen.candidate.number
    fates = [trial.fate for trial in read.trials()]
    assert fates.count("screened") == len(answer.account.screened)
    assert fates.count("pruned") == len(answer.account.pruned)
    assert fates.count("decided") == len(fates) - fates.count("screened") - fates.count("pruned") > 0


def test_a_point_is_what_its_question_gives(tmp_path: Path) -> None:
    study = folder(tmp_path, "frontier")
    read = Finished(study, plan(study, workers=2))
    point = read.answer.points[0]
    spec, trace = read.question(point)
    assert simulate(spec, trace).summary == point.summary
    assert point.load in [own.load for own in read.trial(point.candidate.number).points]


def test_an_unfinished_study_says_how_to_go_on(tmp_path: Path) -> None:
    study = folder(tmp_path, "cheapest")
    with pytest.raises(InputError, match=r"is not finished; expected `servetwin plan --resume"):
        finished(study)


def test_a_trial_that_is_none_is_named(tmp_path: Path) -> None:
    study = folder(tmp_path, "cheapest", {"replicas": [1, 2, 8]}, max_gpus=4)
    read = Finished(study, plan(study, workers=2))
    with pytest.raises(InputError, match="no such trial"):
        read.trial(3)
    with pytest.raises(InputError, match="was never run: more than 4 GPUs"):
        read.trial(2)


def test_the_table_has_every_run_and_is_the_same_with_any_number_of_threads(tmp_path: Path) -> None:
    tables = []
    for workers in (1, 3):
        study = folder(tmp_path / str(workers), "goodput_per_gpu")
        read = Finished(study, plan(study, workers=workers))
        write_trials(read)
        tables.append(pq.read_table(study.path / FILE))
    assert tables[0].equals(tables[1])
    rows = tables[0].to_pylist()
    runs = {(row["trial"], row["load"], row["share"]) for row in rows}
    assert runs == {(run.candidate, run.load, run.share) for run, _ in study.ledger.all()}
    assert [(row["trial"], row["load"]) for row in rows if row["chosen"]] == [
        (point.candidate.number, point.load) for point in [read.answer.chosen] if point is not None
    ]
    assert all(row["share"] == WHOLE for row in rows if row["answer"])


def test_a_table_that_cannot_be_written_leaves_the_ledger(tmp_path: Path) -> None:
    study = folder(tmp_path, "cheapest")
    read = Finished(study, plan(study, workers=2))
    (study.path / FILE).mkdir()
    with pytest.raises(InputError, match=r"trials\.parquet: is a folder"):
        write_trials(read)
    assert [entry.name for entry in study.path.iterdir() if entry.name.startswith(".")] == []
    assert len(Ledger(study.path, create=False).all()) == len(read.answer.outcomes)


def test_a_trial_pruned_unrun_is_in_the_table(tmp_path: Path) -> None:
    study = folder(tmp_path, "cheapest")
    read = Finished(study, plan(study, workers=2))
    pruned = [row for row in trial_table(read).to_pylist() if row["fate"] == "pruned"]
    assert {row["trial"] for row in pruned} == set(read.answer.account.pruned)
    assert all(row["load"] is None and row["reason"] for row in pruned)


def test_how_sure_a_choice_is(tmp_path: Path) -> None:
    vary = {"replicas": [1], "engine.max_num_seqs": [4, 16, 17]}
    study = folder(tmp_path, "goodput_per_gpu", vary, screening=False)
    read = Finished(study, plan(study, workers=2))
    sure = assured(read, 8, workers=2)
    assert sure is not None
    assert 0 < sure.met < 8  # at the highest load that meets the level, some samples of the workload miss it
    first, second, _ = read.answer.points
    assert (read.answer.chosen, sure.rival) == (first, second.candidate.number)
    # Its limit is a rung higher, and both meet the same draws.
    assert sure.ahead == 8
    assert said(sure) == (
        f"In 8 replications it meets the level in {sure.met}, and does more than trial {sure.rival} in {sure.ahead}."
    )
    kept = study.ledger.facts()["assurance"]
    assert assured(read, 8, workers=2) == sure
    assert study.ledger.facts()["assurance"] == kept
    again = assured(read, 6, workers=1)
    assert again is not None
    assert again.replications == 6


def test_a_trial_is_judged_by_the_highest_load_at_which_it_meets_the_level(tmp_path: Path) -> None:
    study = folder(tmp_path, "goodput_per_gpu")
    read = Finished(study, plan(study, workers=2))
    assert read.chosen is not None
    chosen, point = read.shown(None)
    assert (chosen, point) == (read.chosen, read.answer.chosen)
    assert read.shown(chosen.number) == (chosen, point)
    assert chosen.points[-1].misses is not None, "the next load, which it misses, was run as well"
    unrun = [trial for trial in read.trials() if not trial.points]
    assert unrun
    assert {trial.best for trial in unrun} == {None}


def test_a_study_that_ended_is_one_file_and_its_tables(tmp_path: Path) -> None:
    path = tmp_path / "study"
    question = tmp_path / "spec.yaml"
    question.write_text(yaml.safe_dump(spec("cheapest").source.data))
    ran = CliRunner().invoke(app, ["plan", str(question), "--out", str(path)])
    assert ran.exit_code == 0, ran.output
    assert {file.name for file in path.iterdir()} == {"study.sqlite", "trials.parquet", "plan.html"}
    finished(resume(path))
    assert not list(path.glob("study.sqlite-*"))


def test_an_explanation_says_of_which_trial_and_load(tmp_path: Path) -> None:
    study = folder(tmp_path, "cheapest", {"replicas": [1, 2, 3, 4]})
    chosen = plan(study, workers=2).chosen
    assert chosen is not None
    ran = CliRunner().invoke(app, ["explain", str(study.path)])
    assert ran.exit_code == 0, ran.output
    name = f"Trial {chosen.candidate.number} (replicas {chosen.candidate.spec.replicas})"
    assert ran.output.startswith(f"{name} at 1 × the workload\n")
