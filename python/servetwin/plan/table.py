"""`trials.parquet`: every run of a study as a row, the same whoever carried it out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import whole_file
from .finished import Finished
from .runs import WHOLE
from .space import described

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "trials.parquet"


def trial_table(study: Finished) -> pa.Table:
    """A row for each run, by trial, load and share of the workload; a trial that was pruned without a run has one row
    without a load. Metrics are columns by their names, null where a run has no such metric."""
    import pyarrow as pa

    answer = study.answer
    known = {trial.number: trial for trial in study.trials()}
    runs = [(run.candidate, run) for run in sorted(answer.outcomes)]
    runs_of = {number for number, _ in runs}
    places = sorted(
        [
            *((number, run.load, run.share, run) for number, run in runs),
            *((n, 0.0, 0.0, None) for n in known if n not in runs_of),
        ],
        key=lambda place: place[:3],
    )
    trials = [known[number] for number, *_ in places]
    outcomes = [None if run is None else answer.outcomes[run] for *_, run in places]
    front = {(point.candidate.number, point.load) for point in answer.points}
    chosen = None if answer.chosen is None else answer.chosen.run
    names = list(dict.fromkeys(name for outcome in outcomes if outcome is not None for name in outcome.summary))
    columns: dict[str, Any] = {
        "trial": pa.array([trial.number for trial in trials], pa.int64()),
        "deployment": pa.array([described(trial.candidate.settings) for trial in trials], pa.string()),
        "settings": pa.array([json.dumps(dict(trial.candidate.settings)) for trial in trials], pa.string()),
        "gpus": pa.array([trial.candidate.gpus for trial in trials], pa.int64()),
        "cost_per_hour": pa.array([trial.candidate.cost_per_hour for trial in trials], pa.float64()),
        "fate": pa.array([trial.fate for trial in trials], pa.string()),
        "reason": pa.array([trial.reason for trial in trials], pa.string()),
        "load": pa.array([None if run is None else run.load for *_, run in places], pa.float64()),
        "share": pa.array([None if run is None else run.share for *_, run in places], pa.float64()),
        "answer": pa.array(
            [run is not None and run.share == WHOLE and (run.candidate, run.load) in front for *_, run in places],
            pa.bool_(),
        ),
        "chosen": pa.array([run is not None and run == chosen for *_, run in places], pa.bool_()),
        "stalled": pa.array([None if outcome is None else outcome.stalled for outcome in outcomes], pa.bool_()),
    }
    for name in names:
        values = [None if outcome is None else outcome.summary.get(name) for outcome in outcomes]
        columns[f"summary.{name}"] = pa.array(
            [None if value is None else float(value) for value in values], pa.float64()
        )
    return pa.table(columns)


def write_trials(study: Finished) -> Path:
    """Puts the table into the study's folder, whole or not at all. Raises InputError if it cannot."""
    import pyarrow.parquet as pq

    path = study.folder.path / FILE
    with whole_file(path) as draft:
        pq.write_table(trial_table(study), draft)
    return path
