"""Recordings of the real scheduler, replayed and compared.

`check_folder` is the way in: `recording.py` and `scenario.py` read the files, `replay.py` runs an
engine on them, `compare.py` says where it departs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError, ServetwinError
from ..reference import RunRecord
from .compare import Comparison, Difference, compare
from .recording import Recording, load_recording
from .replay import REPLAYERS, Replayer

__all__ = ["REPLAYERS", "Difference", "Replayer", "ScenarioResult", "check_folder"]

SCENARIO = ".scenario.json"
ORACLE = ".oracle.json"


@dataclass(frozen=True)
class ScenarioResult:
    """How one recording compared."""

    name: str
    steps: int = 0
    differences: int = 0
    first: Difference | None = None
    problem: str | None = None
    """Why there was nothing to compare."""

    @property
    def agrees(self) -> bool:
        return self.problem is None and self.differences == 0


def check_folder(folder: Path, replayer: Replayer) -> Iterator[ScenarioResult]:
    """Replays every recording of a folder, in the order of names, one result each.

    What cannot be read or replayed yields a result with its problem. Raises InputError if there
    is no such folder, no recording in it, or one of them twice.
    """
    try:
        if not folder.is_dir():
            raise InputError("is not a folder", file=str(folder))
        scenarios = files_by_name(folder, SCENARIO)
        oracles = files_by_name(folder, ORACLE)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(folder)) from None
    if not scenarios and not oracles:
        raise InputError(f"holds no {SCENARIO} and no {ORACLE}", file=str(folder))
    for name in sorted(scenarios.keys() | oracles.keys()):
        yield check_files(name, scenarios.get(name), oracles.get(name), replayer)


def files_by_name(folder: Path, ending: str) -> dict[str, Path]:
    """Raises InputError if a file is there both packed and not."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        unpacked = path.name.removesuffix(".gz")
        if unpacked.endswith(ending):
            name = unpacked.removesuffix(ending)
            if name in files:
                raise InputError(f"holds both {files[name].name} and {path.name}", file=str(folder))
            files[name] = path
    return files


def check_files(name: str, scenario: Path | None, oracle: Path | None, replayer: Replayer) -> ScenarioResult:
    if scenario is None or oracle is None:
        missing = SCENARIO if scenario is None else ORACLE
        return ScenarioResult(name, problem=f"{name}{missing} is missing")
    try:
        comparison = check_recording(load_recording(scenario, oracle, name), replayer)
    except ServetwinError as error:
        return ScenarioResult(name, problem=str(error))
    return ScenarioResult(name, comparison.steps, comparison.differences, comparison.first)


def check_recording(recording: Recording, replayer: Replayer) -> Comparison:
    """Replays a recording and compares.

    The recorder's clock is a sum of binary floats: where a request arrives exactly at the end of
    a pass, that clock may be a hair before it, and the request then misses the next pass. So
    where a replay departs at such a coincidence, the arrival is tried again just after it.
    """
    run = replayer(recording.scenario)
    comparison = compare(recording, run)
    untried = ties(recording, run, comparison)
    while untried:
        delayed = with_arrivals_delayed(recording, untried.pop(0))
        run_delayed = replayer(delayed.scenario)
        comparison_delayed = compare(delayed, run_delayed)
        if departs_at(comparison_delayed) > departs_at(comparison):
            recording, run, comparison = delayed, run_delayed, comparison_delayed
            untried = ties(recording, run, comparison)
    return comparison


def departs_at(comparison: Comparison) -> float:
    """The first step that differs."""
    first = comparison.first
    return float("inf") if first is None or first.step is None else first.step


def ties(recording: Recording, run: RunRecord, comparison: Comparison) -> list[int]:
    """When the differing step was scheduled, or the next one, if requests arrived right then.

    Under async scheduling, a step's last field is recorded after the next step is scheduled.
    """
    first = comparison.first
    if first is None or first.step is None:
        return []
    arrivals = {request.arrival for request in recording.scenario.requests}
    scheduled = [record.scheduled_at_ps for record in run.passes[first.step : first.step + 2]]
    return [time for time in dict.fromkeys(scheduled) if time in arrivals]


def with_arrivals_delayed(recording: Recording, time: int) -> Recording:
    """Delays the requests that arrive at `time` by one tick."""
    scenario = recording.scenario
    requests = tuple(
        replace(request, arrival=time + 1) if request.arrival == time else request for request in scenario.requests
    )
    return replace(recording, scenario=replace(scenario, requests=requests))
