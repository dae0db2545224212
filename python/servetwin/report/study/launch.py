"""Launch files of a study's answer, as its page carries them."""

from __future__ import annotations

from typing import Any

from ...deploy import TARGETS, write
from ...errors import ServetwinError
from ...plan.finished import Finished
from ...spec import Spec
from ...spec.engine import TITLES

MOST_LAUNCHED = 24
"""Trials of the answer whose files a page carries; `servetwin deploy` writes any other's."""


def launched(study: Finished) -> dict[int, dict[str, Any]]:
    """By trial and target, the files and what has to be known of them; nothing where a target has no words for one."""
    answer = study.answer
    first = [] if answer.chosen is None else [answer.chosen]
    numbers = dict.fromkeys(point.candidate.number for point in [*first, *answer.points])
    found = {number: _files(study.trial(number).spec) for number in list(numbers)[:MOST_LAUNCHED]}
    return {number: files for number, files in found.items() if files}


def _files(spec: Spec) -> dict[str, Any]:
    targets = {}
    for target in TARGETS:
        if target in TITLES and target != spec.engine.name:
            continue
        try:
            written = write(spec, target)
        except ServetwinError:
            continue
        targets[target] = {"files": written.files, "notes": written.notes}
    return targets
