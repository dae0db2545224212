"""Counts the instructions of crates/core/examples/count.rs under callgrind, and prints them as JSON.

Needs cargo and valgrind. `--renew` makes what it counts the budget that tests/performance holds CI to.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUDGET = HERE / "instructions.json"
ENGINES = ("vllm", "sglang")
BATCHES = (16, 64, 256, 1024)
FEATURES = ("plain", "pools", "tiers", "drafts", "ranks", "stages", "staircase", "agents")
FEW, MANY = 256, 1280
"""Passes, or arrivals, of the two runs whose difference is the cost of one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renew", action="store_true", help=f"write the budget, {BUDGET.name}")
    counted = count_all(build())
    text = json.dumps(counted, indent=1) + "\n"
    if parser.parse_args().renew:
        BUDGET.write_text(text)
    sys.stdout.write(text)


def build() -> Path:
    """The example, optimised as the package is."""
    subprocess.run(
        ["cargo", "build", "--release", "--quiet", "--package", "servetwin-core", "--example", "count"],
        cwd=HERE.parent,
        check=True,
    )
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    return target / "release" / "examples" / "count"


def count_all(program: Path) -> dict[str, object]:
    """By engine: of a stepped pass and of an arrival by batch, and of whole runs. Of one run with each feature."""
    rustc = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    engines = {engine: count_engine(program, engine) for engine in ENGINES}
    return {"rustc": rustc, **engines, "feature": {name: count(program, "vllm", "feature", name) for name in FEATURES}}


def count_engine(program: Path, engine: str) -> dict[str, object]:
    return {
        "stepped_pass": {str(batch): _each(program, engine, "decode", batch) for batch in BATCHES},
        "arrival": {str(batch): _each(program, engine, "admit", batch) for batch in BATCHES},
        "dense": count(program, engine, "dense"),
        "sparse": count(program, engine, "sparse"),
    }


def count(program: Path, *arguments: object) -> int:
    callgrind = ["valgrind", "--tool=callgrind", "--toggle-collect=count::counted*", "--callgrind-out-file=/dev/null"]
    command = [*callgrind, str(program), *map(str, arguments)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    collected = re.search(r"Collected : (\d+)", said)
    if collected is None or collected[1] == "0":
        raise SystemExit(f"callgrind counted nothing: {said}")
    return int(collected[1])


def _each(program: Path, engine: str, work: str, batch: int) -> int:
    few, many = (count(program, engine, work, batch, times) for times in (FEW, MANY))
    return round((many - few) / (MANY - FEW))


if __name__ == "__main__":
    main()
