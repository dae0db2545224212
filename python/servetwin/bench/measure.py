"""One process, from its start to its end: seconds, memory, and what it says of itself."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from ..errors import ServetwinError

# ru_maxrss: bytes on macOS, KiB elsewhere.
_RSS_UNITS_A_MB = 1e6 if sys.platform == "darwin" else 1e6 / 1024


class BenchError(ServetwinError):
    """A run that was to be measured did not end well."""


@dataclass(frozen=True)
class Process:
    """What the system saw of a process and those it waited for.

    `peak_mb`, in 10^6 bytes, is the greatest resident set of any one of them. The system counts the parent's at
    the start of a process into it: bench imports little and stays below what it measures.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    stdout: str


@dataclass(frozen=True)
class OurRun:
    """One run of `servetwin simulate --out`. Also the medians of several, figure by figure."""

    simulate_s: float
    parse_s: float
    process_s: float
    cpu_s: float
    peak_mb: float
    passes: int
    leaps: int
    completed: int
    preemptions: int
    simulated_s: float


@dataclass(frozen=True)
class PeerRun:
    """One run of the peer: the first four by its own account. Also the medians of several."""

    tool_s: float
    process_s: float
    completed: int
    simulated_s: float
    cpu_s: float
    peak_mb: float


Measured = TypeVar("Measured", OurRun, PeerRun)


def run_ours(spec: Mapping[str, Any], trace: Path | None) -> OurRun:
    """As a user would, tables and files included. Raises BenchError."""
    with tempfile.TemporaryDirectory(prefix="servetwin-bench-") as folder:
        file, out = Path(folder, "spec.yaml"), Path(folder, "out")
        file.write_text(json.dumps(spec))  # JSON is YAML
        command = [sys.executable, "-m", "servetwin", "simulate", str(file), "--out", str(out)]
        process = _run([*command, *(["--trace", str(trace)] if trace is not None else [])])
        result = json.loads((out / "result.json").read_bytes())
    timings, summary = result["timings"], result["summary"]
    return OurRun(
        simulate_s=timings["simulate_s"],
        parse_s=timings["parse_s"],
        process_s=process.wall_s,
        cpu_s=process.cpu_s,
        peak_mb=process.peak_mb,
        passes=timings["passes"],
        leaps=timings["leaps"],
        completed=int(summary["completed"]),
        preemptions=int(summary["preemptions"]),
        simulated_s=summary["duration_s"],
    )


def run_peer(command: str, trace: Path, replicas: int, arguments: Sequence[str]) -> PeerRun:
    """`command` with {trace} and {replicas} filled in and the arguments at {arguments}, else at its end.

    Its last line of output must be a JSON object with tool_s, process_s, completed and simulated_s.
    Raises BenchError.
    """
    words: list[str] = []
    for word in shlex.split(command if "{arguments}" in command else command + " {arguments}"):
        if word == "{arguments}":
            words.extend(arguments)
        else:
            words.append(word.replace("{trace}", str(trace)).replace("{replicas}", str(replicas)))
    process = _run(words)
    try:
        said = json.loads(process.stdout.splitlines()[-1])
        return PeerRun(
            tool_s=said["tool_s"],
            process_s=said["process_s"],
            completed=said["completed"],
            simulated_s=said["simulated_s"],
            cpu_s=process.cpu_s,
            peak_mb=process.peak_mb,
        )
    except (IndexError, ValueError, KeyError, TypeError):
        raise BenchError(f"the peer printed no line of JSON with its times: {process.stdout[-200:]!r}") from None


def medians(runs: Sequence[Measured]) -> Measured:
    """The median of each figure; counts are the same in all runs, and stay whole."""
    kind = type(runs[0])
    columns = {name: [getattr(run, name) for run in runs] for name in vars(runs[0])}
    return kind(
        **{name: type(values[0])(median(values)) for name, values in columns.items()},
    )


def _run(command: Sequence[str]) -> Process:
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        # An installed package has its bytecode; a checkout gets it in the first run, and keeps it.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        started = time.perf_counter()
        try:
            process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=environment)
        except OSError as error:
            raise BenchError(f"{command[0]}: {error.strerror}") from None
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        wall_s = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        if process.returncode != 0:
            last = stderr.read().decode(errors="replace").strip()[-1000:]
            raise BenchError(f"{shlex.join(command)} ended with {process.returncode}: {last}")
        text = stdout.read().decode(errors="replace")
    return Process(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / _RSS_UNITS_A_MB, text)
