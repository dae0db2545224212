"""How fast `servetwin plan` searches: `python bench/plan.py`; one part of it: `python bench/plan.py ray`.

The study is of 1,000 deployments of Llama 3.1 8B on eight H100s under Mooncake's hour of conversations, each replayed
in full. Each measurement is a process of its own. CPU time, which other work on the machine hardly changes, stands
beside the wall clock's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import servetwin.plan.runs as runs_module
from servetwin.plan.cluster import Cluster
from servetwin.plan.folder import Folder, create
from servetwin.plan.make import plan
from servetwin.plan.runs import Run, Runner, Threads
from servetwin.spec import make_spec

DATA = Path(os.environ.get("SERVETWIN_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
TRACE = DATA / "traces" / "mooncake_conversation.jsonl"

STUDY: dict[str, Any] = {
    "model": "llama-3.1-8b",
    "gpu": "h100",
    "replicas": 8,
    "workload": {"trace": str(TRACE)},
    # Out of reach of none, met by none: at one price all are decided on the whole trace.
    "slo": {"ttft_ms": {"p95": 1000}, "tpot_ms": {"p95": 30}},
    "search": {
        "objective": "cheapest",
        "screening": False,
        "vary": {
            "engine.max_num_seqs": [32, 64, 128, 256, 512],
            "engine.max_num_batched_tokens": [2048, 4096, 8192, 12288, 16384],
            "engine.gpu_memory_utilization": [0.8, 0.85, 0.9, 0.95],
            "engine.async_scheduling": [True, False],
            "router": ["round_robin", "least_requests", "power_of_two", "prefix_hash", "kv_aware"],
        },
    },
}

SHORT = {
    "kind": "poisson",
    "requests": 20,
    "rate_per_s": 5,
    "input_tokens": 200,
    "output_tokens": 20,
}
"""So short that what surrounds a simulation is what a trial costs."""

MANY = {"replicas": list(range(1, 11)), "engine.gpu_memory_utilization": [0.8 + share / 1000 for share in range(100)],
        "engine.max_num_seqs": list(range(16, 176, 16))}  # fmt: skip
"""10,000 combinations."""

Figures = dict[str, float]


def candidates(folder: Folder, count: int) -> list[Run]:
    """So many whole runs, spread over the space."""
    step = max(folder.space.size // count, 1)
    return [Run(number, 1.0) for number in range(0, folder.space.size, step)][:count]


def threads(path: Path, workers: int, count: int) -> Figures:
    """Whole runs through the ledger, by threads."""
    started = time.perf_counter()
    folder = create(path, make_spec(STUDY), None)
    executor = Threads(Runner(folder.space, folder.trace), workers)
    for run, outcome in executor.results(candidates(folder, count)):
        folder.ledger.put(run, outcome)
    executor.close()
    return {"wall_s": time.perf_counter() - started, "runs": count}


def ray(path: Path, workers: int, count: int) -> Figures:
    """The same on a cluster started here, once its workers are there."""
    folder = create(path, make_spec(STUDY), None)
    executor = Cluster("local", workers).hold(folder)
    wanted = candidates(folder, count + workers)
    list(executor.results(wanted[:workers]))
    started = time.perf_counter()
    for run, outcome in executor.results(wanted[workers:]):
        folder.ledger.put(run, outcome)
    wall_s = time.perf_counter() - started
    executor.close()
    return {"wall_s": wall_s, "runs": count}


def overhead(path: Path, method: str, trials: int) -> Figures:
    """CPU time of a whole study outside the core, by trial."""
    inside_s = 0.0
    carry_out = runs_module.carry_out

    def timed(*args: Any, **options: Any) -> Any:
        nonlocal inside_s
        started = time.thread_time()
        try:
            return carry_out(*args, **options)
        finally:
            inside_s += time.thread_time() - started

    runs_module.carry_out = timed
    search = STUDY["search"] | {"method": method, "objective": "cheapest", "vary": MANY}
    search |= {"vary": {**MANY, "replicas": [4]}} if method == "exhaustive" else {"trials": trials}
    spec = make_spec({**STUDY, "workload": SHORT, "slo": {"ttft_ms": {"p95": 9}}, "search": search})
    started = time.process_time()
    folder = create(path, spec, None)
    answer = plan(folder, workers=1)
    outside_s = time.process_time() - started - inside_s
    looked_at = trials if method == "nsga2" else folder.space.size
    return {"outside_ms": outside_s / looked_at * 1e3, "trials": looked_at, "runs": len(answer.outcomes)}


def memory(path: Path) -> Figures:
    """The peak of a study of 10,000 trials, each run."""
    search = STUDY["search"] | {"vary": MANY, "method": "exhaustive"}
    spec = make_spec({**STUDY, "workload": SHORT, "slo": {"ttft_ms": {"p95": 9}}, "search": search})
    answer = plan(create(path, spec, None), workers=2)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak_mb": peak_mb, "trials": len({run.candidate for run in answer.outcomes})}


def apart(name: str, *arguments: object) -> Figures:
    """A measurement in a process of its own, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--measure", json.dumps([name, str(Path(folder) / "study"), *arguments])]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    usage: Figures = json.loads(ran.stdout.splitlines()[-1])
    return usage


def ratio(name: str, count: int, repeats: int) -> tuple[float, Figures, Figures]:
    """How many times as fast two workers are as one: the median of pairs in turn."""
    pairs = [(apart(name, 1, count), apart(name, 2, count)) for _ in range(repeats)]
    by_ratio = sorted(pairs, key=lambda pair: pair[0]["wall_s"] / pair[1]["wall_s"])
    one, two = by_ratio[len(pairs) // 2]
    return one["wall_s"] / two["wall_s"], one, two


def main(parts: Sequence[str], count: int, repeats: int) -> None:
    def said(part: str, figure: str, target: str) -> None:
        print(f"{part:<44} {figure:<34} {target}", flush=True)

    if "candidates" in parts:
        found = apart("threads", 2, count)
        figure = f"{found['wall_s']:.1f} s, {found['cpu_s']:.1f} s of CPU"
        said(f"{count:,} deployments × the hour, two threads", figure, "≤ 60 s" if count == 1000 else "")
    for name in ("threads", "ray"):
        if name in parts:
            times, one, two = ratio(name, max(count // 10, 1), repeats)
            said(f"two {name} against one", f"{times:.2f} × ({one['wall_s']:.1f} and {two['wall_s']:.1f} s)",
                 "≥ 1.8 ×" if name == "threads" else "≥ 1.7 ×")  # fmt: skip
    if "overhead" in parts:
        for method in ("exhaustive", "nsga2"):
            found = apart("overhead", method, 1000)
            figure = f"{found['outside_ms']:.2f} ms of CPU ({found['runs']:,} runs)"
            said(f"outside the core, a trial of {found['trials']:,}, {method}", figure, "≤ 5 ms")
    if "memory" in parts:
        found = apart("memory")
        said(f"peak memory of {found['trials']:,} trials", f"{found['peak_mb']:,.0f} MB", "≤ 1,000 MB")


MEASURES = {"threads": threads, "ray": ray, "overhead": overhead, "memory": memory}
PARTS = ("candidates", *MEASURES)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all of them unless some are named")
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        name, folder, *arguments = json.loads(given.measure)
        figures = MEASURES[name](Path(folder), *arguments)
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps({**figures, "cpu_s": used.ru_utime + used.ru_stime}))
    else:
        main(given.parts or PARTS, given.candidates, given.repeats)
