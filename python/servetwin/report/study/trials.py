"""Trials, their runs and their specs, as a study's page carries them: runs by columns, specs by what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...plan.finished import Finished, Trial
from ...plan.load import shortcoming
from ...plan.runs import WHOLE, Run
from ...plan.screen import part
from ...spec import Spec
from ..compare.metrics import Metric
from ..page.numbers import short, shorts
from .metrics import MAIN, METRICS

MOST_PARTS = 6000
"""Runs on parts of the workload that a page carries; of more it carries none, and says so."""

MOST_DETAILED = 4000
"""Runs on the whole workload that have all their figures; of more there are the main ones."""

MOST_RUNS = 20_000
"""Runs on the whole workload; of more, those of the answer's trials, and each other's highest load that meets."""


def trials(study: Finished) -> dict[str, Any]:
    """Every trial by number, every run on the whole workload, and of those that were given up the last look."""
    answer = study.answer
    found = list(study.trials())
    whole = [run for run in sorted(answer.outcomes) if run.share == WHOLE]
    parts = _last_looks(study, found)
    left_out = []
    if len(parts) > MOST_PARTS:
        left_out.append(f"{len(parts):,} runs on parts of the workload")
        parts = []
    if len(whole) > MOST_RUNS:
        before = len(whole)
        whole = _telling(study, found)
        left_out.append(f"{before - len(whole):,} runs of trials that are not in the answer")
    metrics = METRICS
    if len(whole) > MOST_DETAILED:
        metrics = tuple(metric for metric in METRICS if metric.key in MAIN)
        left_out.append(f"{len(METRICS) - len(metrics)} figures of each run")
    shown = whole + parts
    place = {run: index for index, run in enumerate(shown)}
    base = _plain(found[0].spec) if found else {}
    return {
        "metrics": [asdict(metric) for metric in metrics],
        "trials": [_trial(trial, base, answer.space.axes) for trial in found],
        "base": base,
        "fields": list(Spec.model_fields),
        "runs": _columns(study, shown, metrics),
        "shares": {str(short(share)): part(share) for share in sorted({run.share for run in shown})},
        "left_out": left_out,
        "answer": [place[point.run] for point in answer.points],
        "chosen": None if answer.chosen is None else place[answer.chosen.run],
    }


def _telling(study: Finished, found: list[Trial]) -> list[Run]:
    """All runs of the answer's trials; of each other the highest load that meets the level, or the lowest there is."""
    answers = {point.candidate.number for point in study.answer.points}
    kept = []
    for trial in found:
        points = trial.points if trial.number in answers or trial.best is None else (trial.best,)
        kept += [point.run for point in points]
    return kept


def _last_looks(study: Finished, found: list[Trial]) -> list[Run]:
    """Of each trial without a run on the whole workload, its runs on the largest part it was looked at on."""
    undecided = {trial.number for trial in found if not trial.points}
    of: dict[int, list[Run]] = {}
    for run in sorted(study.answer.outcomes):
        if run.candidate in undecided:
            of.setdefault(run.candidate, []).append(run)
    return [run for runs in of.values() for run in runs if run.share == max(one.share for one in runs)]


def _columns(study: Finished, shown: list[Run], metrics: Sequence[Metric]) -> dict[str, Any]:
    outcomes = [study.answer.outcomes[run] for run in shown]
    return {
        "trial": [run.candidate for run in shown],
        "load": [short(run.load) for run in shown],
        "share": [short(run.share) for run in shown],
        "misses": [shortcoming(outcome.summary, stalled=outcome.stalled) for outcome in outcomes],
        "figures": {
            metric.key: shorts(outcome.summary.get(metric.key) for outcome in outcomes)
            for metric in metrics
            if any(metric.key in outcome.summary for outcome in outcomes)
        },
    }


def _trial(trial: Trial, base: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    settings = trial.candidate.settings
    return {
        "number": trial.number,
        "at": [values.index(settings[path]) for path, values in axes.items()],
        "gpus": trial.candidate.gpus,
        "cost_per_hour": short(trial.candidate.cost_per_hour),
        "fate": trial.fate,
        "reason": trial.reason,
        "spec": _changes(base, _plain(trial.spec)),
    }


def _plain(spec: Spec) -> dict[str, Any]:
    """What the spec was built from."""
    return {name: value for name, value in spec.source.data.items() if value is not None}


def _changes(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What turns `base` into `other`: values to set by path, and paths to take away."""
    before, after = dict(_leaves(base)), dict(_leaves(other))
    return {
        "set": [[path, value] for path, value in after.items() if path not in before or before[path] != value],
        "unset": [path for path in before if path not in after],
    }


def _leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from _leaves(value, (*path, str(name)))
    else:
        yield path, node
