"""Instruction counts: a stepped pass costs what changes in it, not the batch; whole runs keep to their budget.

So does a run with each feature, and the same run with none of them: what is not asked for costs nothing.

Counts, unlike seconds, are the same on a busy machine. The budget is renewed with
`python bench/instructions.py --renew`, and a change to it is a change to be explained.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("instructions")
"""On one worker: building and counting take a minute, and another would do both again."""

BENCH = Path(__file__).resolve().parents[2] / "bench"
SHARE = 0.15
"""How far from its budget a run may be: compilers differ by some percent."""

GROWTH = 3
"""How much more a pass over 1,024 rows may cost than one over 16: 64 rows need a block in it, not one."""


@pytest.fixture(scope="module")
def budget() -> dict[str, Any]:
    counts: dict[str, Any] = json.loads((BENCH / "instructions.json").read_text())
    return counts


@pytest.fixture(scope="module")
def counted() -> dict[str, Any]:
    for tool in ("cargo", "valgrind"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    command = [sys.executable, str(BENCH / "instructions.py")]
    counts: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return counts


def flat(counts: dict[str, Any]) -> dict[str, int]:
    """By name, as `sglang, arrival, 64`."""
    named: dict[str, int] = {}
    for key, value in counts.items():
        if isinstance(value, dict):
            named |= {f"{key}, {rest}": count for rest, count in flat(value).items()}
        elif isinstance(value, int):
            named[key] = value
    return named


def departures(counted: dict[str, Any], budget: dict[str, Any]) -> list[str]:
    """What costs more than its budget allows, or so much less that the budget no longer guards anything."""
    counts, allowed = flat(counted), flat(budget)
    assert counts.keys() == allowed.keys()
    return [
        f"{name}: {counts[name]:,} instructions, the budget is {allowed[name]:,} ± {SHARE:.0%}"
        for name in counts
        if abs(counts[name] - allowed[name]) > SHARE * allowed[name]
    ]


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize("what", ["stepped_pass", "arrival"])
def test_neither_a_stepped_pass_nor_an_arrival_costs_the_batch(counted: dict[str, Any], engine: str, what: str) -> None:
    by_batch = counted[engine][what]
    assert by_batch["1024"] <= GROWTH * by_batch["16"]


def test_runs_keep_to_their_budget(counted: dict[str, Any], budget: dict[str, Any]) -> None:
    assert departures(counted, budget) == []


@pytest.mark.parametrize(
    ("group", "name"), [("vllm", "dense"), *(("feature", name) for name in ("plain", "pools", "tiers", "agents"))]
)
def test_a_run_that_doubles_is_noticed(budget: dict[str, Any], group: str, name: str) -> None:
    doubled = {**budget, group: {**budget[group], name: 2 * budget[group][name]}}
    assert [fault.split(":")[0] for fault in departures(doubled, budget)] == [f"{group}, {name}"]
