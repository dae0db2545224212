"""Recordings of the real scheduler, replayed and compared.

`check_folder` is the way in: `recording.py` and `scenario.py` read the files, an implementation
of the engine is run on them, `compare.py` says where it departs. What differs from engine to
engine is a `Subject`: the packages `vllm` and `sglang`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError, ServetwinError
from .compare import Comparison, Difference, compare
from .recording import Recording, load_recording
from .scenario import Scenario
from .sglang import SGLANG
from .subject import Config, Rendered, Run, Subject
from .vllm import VLLM

__all__ = ["SGLANG", "VLLM", "Difference", "ScenarioResult", "Subject", "check_folder"]

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


def check_folder(
    folder: Path, subject: Subject[Config, Run], replayer: Callable[[Scenario[Config]], Run]
) -> Iterator[ScenarioResult]:
    """Replays every recording of a folder, in the order of names, one result each.

    `replayer` is one of the subject's, or anything else that replays. What cannot be read or
    replayed yields a result with its problem. Raises InputError if there is no such folder, no
    recording in it, or one of them twice.
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
        yield check_files(name, scenarios.get(name), oracles.get(name), subject, replayer)


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


def check_files(
    name: str,
    scenario: Path | None,
    oracle: Path | None,
    subject: Subject[Config, Run],
    replayer: Callable[[Scenario[Config]], Run],
) -> ScenarioResult:
    if scenario is None or oracle is None:
        missing = SCENARIO if scenario is None else ORACLE
        return ScenarioResult(name, problem=f"{name}{missing} is missing")

    def replay(one: Scenario[Config]) -> Rendered:
        return subject.render(one, replayer(one))

    try:
        comparison = check_recording(load_recording(scenario, oracle, name, subject), replay)
    except ServetwinError as error:
        return ScenarioResult(name, problem=str(error))
    return ScenarioResult(name, comparison.steps, comparison.differences, comparison.first)


def check_recording(recording: Recording[Config], replay: Callable[[Scenario[Config]], Rendered]) -> Comparison:
    """Replays a recording and compares.

    The recorder's clock is a sum of binary floats: where a request arrives exactly at the end of
    a pass, that clock may be a hair before it, and the request then misses the next pass. So
    where a replay departs at such a coincidence, the arrival is tried again just after it.
    """
    run = replay(recording.scenario)
    comparison = compare(recording, run)
    untried = ties(recording, run, comparison)
    while untried:
        delayed = with_arrivals_delayed(recording, untried.pop(0))
        run_delayed = replay(delayed.scenario)
        comparison_delayed = compare(delayed, run_delayed)
        if departs_at(comparison_delayed) > departs_at(comparison):
            recording, run, comparison = delayed, run_delayed, comparison_delayed
            untried = ties(recording, run, comparison)
    return comparison


def departs_at(comparison: Comparison) -> float:
    """The first step that differs."""
    first = comparison.first
    return float("inf") if first is None or first.step is None else first.step


def ties(recording: Recording[Config], run: Rendered, comparison: Comparison) -> list[int]:
    """When the differing step was decided, or the next one, if requests arrived right then.

    Under async scheduling, a step's last field is recorded after the next step is decided.
    """
    first = comparison.first
    if first is None or first.step is None:
        return []
    arrivals = {request.arrival for request in recording.scenario.requests}
    return [time for time in dict.fromkeys(run.decided[first.step : first.step + 2]) if time in arrivals]


def with_arrivals_delayed(recording: Recording[Config], time: int) -> Recording[Config]:
    """Delays the requests that arrive at `time` by one tick."""
    scenario = recording.scenario
    requests = tuple(
        replace(request, arrival=time + 1) if request.arrival == time else request for request in scenario.requests
    )
    return replace(recording, scenario=replace(scenario, requests=requests))
