"""Nothing is lost: studies that are killed, shared by two processes, damaged, or out of room."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from servetwin.errors import InputError
from servetwin.plan.folder import create, resume
from servetwin.plan.ledger import FILE, Ledger
from servetwin.plan.make import plan
from servetwin.plan.runs import Outcome, Run
from servetwin.simulation import simulate
from servetwin.spec import vary

from .worlds import folder, spec

SCRIPT = """
import sys
import time
from pathlib import Path
from servetwin.plan.folder import resume
from servetwin.plan.make import plan
plan(resume(Path(sys.argv[1])), workers=2)
print("done")
"""


def _process(study: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(study)], stdout=subprocess.PIPE, text=True)


def _runs(study: Path) -> dict[Run, Outcome]:
    ledger = Ledger(study, create=False)
    found = dict(ledger.all())
    ledger.close()
    return found


def _rows(study: Path) -> int:
    database = sqlite3.connect(study / FILE)
    (count,) = database.execute("SELECT COUNT(*) FROM runs").fetchone()
    database.close()
    return int(count)


def test_a_study_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """Killed after random numbers of runs until one gets through: no finished run is lost or repeated, and the answer
    is that of a study left alone."""
    alone = plan(folder(tmp_path / "alone", "frontier"), workers=2)
    study = folder(tmp_path / "killed", "frontier")
    study.ledger.close()
    draws = random.Random(11)
    before: dict[Run, Outcome] = {}
    kills = 0
    while True:
        process = _process(study.path)
        enough = len(before) + draws.randrange(20, 120)
        while process.poll() is None and _rows(study.path) < enough:
            time.sleep(draws.random() / 100)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
        after = _runs(study.path)
        # Times included: a run that was carried out again would have another.
        assert {run: after.get(run) for run in before} == before
        before = after
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
    assert kills >= 3
    again = plan(resume(study.path), workers=2)
    assert [(point.run, point.summary) for point in again.points] == [
        (point.run, point.summary) for point in alone.points
    ]
    assert _runs(study.path) == before


def test_two_processes_share_a_study(tmp_path: Path) -> None:
    study = folder(tmp_path, "goodput_per_gpu")
    study.ledger.close()
    processes = [_process(study.path) for _ in range(2)]
    assert [process.communicate(timeout=120)[0] for process in processes] == ["done\n", "done\n"]
    alone = folder(tmp_path / "alone", "goodput_per_gpu")
    plan(alone, workers=2)
    shared = {run: outcome.summary for run, outcome in _runs(study.path).items()}
    assert shared == {run: outcome.summary for run, outcome in alone.ledger.all()}


def test_a_study_is_not_begun_twice(tmp_path: Path) -> None:
    study = folder(tmp_path, "cheapest")
    with pytest.raises(InputError, match="holds a study already"):
        create(study.path, spec("cheapest"), None)


def test_what_is_no_study_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no study"):
        resume(tmp_path)
    (tmp_path / FILE).write_bytes(b"something else entirely, and long enough to be looked at" * 40)
    with pytest.raises(InputError, match="damaged, or no study"):
        resume(tmp_path)


def test_another_database_is_left_alone(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / FILE)
    database.execute("CREATE TABLE cats (name TEXT)")
    database.commit()
    database.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(InputError, match="not a study of servetwin"):
        resume(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA user_version = 99", "written by a newer servetwin"),
        ("UPDATE study SET value = '\"0.0.0\"' WHERE name = 'servetwin'", "begun by servetwin 0.0.0"),
        ("UPDATE study SET value = '\"0\"' WHERE name = 'workload_sha256'", "its workload has changed"),
        ("UPDATE study SET value = '{\"gpu\": 5}' WHERE name = 'spec'", "its spec cannot be read"),
        ("DELETE FROM study", "was never begun"),
        ("INSERT INTO runs VALUES (0, 1.0, 1.0, 0, 0.1, '{')", "damaged: a run cannot be read"),
    ],
)
def test_a_study_that_does_not_fit_is_refused(tmp_path: Path, statement: str, message: str) -> None:
    study = folder(tmp_path, "cheapest")
    study.ledger.close()
    database = sqlite3.connect(study.path / FILE)
    database.execute(statement)
    database.commit()
    database.close()
    with pytest.raises(InputError, match=message):
        resume(study.path)


def test_a_full_disk_keeps_what_was_finished(tmp_path: Path) -> None:
    study = folder(tmp_path, "frontier")
    study.ledger.put(Run(0, 1.0), Outcome({"requests": 1}, False, 0.1))
    # SQLite's own limit stands in for the disk's: the error is the same.
    study.ledger._database.execute("PRAGMA max_page_count = 1")
    large = Outcome({f"metric {number}": 1.0 for number in range(1000)}, False, 0.1)
    with pytest.raises(InputError, match="finished runs are kept: database or disk is full"):
        study.ledger.put(Run(1, 1.0), large)
    study.ledger.close()
    assert _runs(study.path)[Run(0, 1.0)].summary == {"requests": 1}


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        create(tmp_path / "file" / "study", spec("cheapest"), None)


def test_an_interrupted_write_is_no_run(tmp_path: Path) -> None:
    """A row is there whole or not at all, also if the process dies between a write and its commit."""
    study = folder(tmp_path, "cheapest")
    database = sqlite3.connect(study.path / FILE, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO runs VALUES (1, 1.0, 1.0, 0, 0.1, '{}')")
    database.close()
    study.ledger.close()
    assert _runs(study.path) == {}


def test_a_result_is_not_written_among_a_study(tmp_path: Path) -> None:
    study = folder(tmp_path, "cheapest")
    result = simulate(vary(study.spec, {}), study.trace)
    before = sorted(path.name for path in study.path.iterdir())
    with pytest.raises(InputError, match=r"holds a study of `servetwin plan`; expected another folder"):
        result.write(study.path)
    assert sorted(path.name for path in study.path.iterdir()) == before
