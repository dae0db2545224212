"""Trials, their runs and their specs, as a study's page carries them: runs by columns, specs by what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...plan.finished import Finished, Trial
from ...plan.load import shortcoming
from ...plan.runs import WHOLE, Run
from ...plan.screen import part
from ...spec import Spec
from ..page.numbers import short, shorts
from .metrics import METRICS

MOST_PARTS = 6000
"""Runs on parts of the workload that a page carries; of more it carries none, and says so."""


def trials(study: Finished) -> dict[str, Any]:
    """Every trial by number, every run on the whole workload, and of those that were given up the last look."""
    answer = study.answer
    found = list(study.trials())
    runs = [run for run in sorted(answer.outcomes) if run.share == WHOLE]
    parts = _last_looks(study, found)
    shown = runs + (parts if len(parts) <= MOST_PARTS else [])
    place = {run: index for index, run in enumerate(shown)}
    base = _plain(found[0].spec) if found else {}
    return {
        "trials": [_trial(trial, base, answer.space.axes) for trial in found],
        "base": base,
        "fields": list(Spec.model_fields),
        "runs": _columns(study, shown),
        "shares": {str(short(share)): part(share) for share in sorted({run.share for run in shown})},
        "parts_left_out": len(runs) + len(parts) - len(shown),
        "answer": [place[point.run] for point in answer.points],
        "chosen": None if answer.chosen is None else place[answer.chosen.run],
    }


def _last_looks(study: Finished, found: list[Trial]) -> list[Run]:
    """Of each trial without a run on the whole workload, its runs on the largest part it was looked at on."""
    undecided = {trial.number for trial in found if not trial.points}
    of: dict[int, list[Run]] = {}
    for run in sorted(study.answer.outcomes):
        if run.candidate in undecided:
            of.setdefault(run.candidate, []).append(run)
    return [run for runs in of.values() for run in runs if run.share == max(one.share for one in runs)]


def _columns(study: Finished, shown: list[Run]) -> dict[str, Any]:
    outcomes = [study.answer.outcomes[run] for run in shown]
    return {
        "trial": [run.candidate for run in shown],
        "load": [short(run.load) for run in shown],
        "share": [short(run.share) for run in shown],
        "misses": [shortcoming(outcome.summary, stalled=outcome.stalled) for outcome in outcomes],
        "figures": {
            metric.key: shorts(outcome.summary.get(metric.key) for outcome in outcomes)
            for metric in METRICS
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
