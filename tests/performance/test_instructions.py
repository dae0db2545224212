"""Instruction counts: a stepped pass costs what changes in it, not the batch; whole runs keep to their budget.

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


def departures(counted: dict[str, Any], budget: dict[str, Any]) -> list[str]:
    """What costs more than its budget allows, or so much less that the budget no longer guards anything."""
    pairs = {name: (counted[name], budget[name]) for name in ("dense", "sparse")}
    passes = counted["stepped_pass"], budget["stepped_pass"]
    pairs |= {f"stepped pass, batch {batch}": (passes[0][batch], passes[1][batch]) for batch in passes[1]}
    return [
        f"{name}: {count:,} instructions, the budget is {allowed:,} ± {SHARE:.0%}"
        for name, (count, allowed) in pairs.items()
        if abs(count - allowed) > SHARE * allowed
    ]


def test_a_stepped_pass_does_not_cost_the_batch(counted: dict[str, Any]) -> None:
    assert counted["stepped_pass"]["1024"] <= GROWTH * counted["stepped_pass"]["16"]


def test_runs_keep_to_their_budget(counted: dict[str, Any], budget: dict[str, Any]) -> None:
    assert departures(counted, budget) == []


def test_a_run_that_doubles_is_noticed(budget: dict[str, Any]) -> None:
    doubled = {**budget, "dense": 2 * budget["dense"]}
    assert [fault.split(":")[0] for fault in departures(doubled, budget)] == ["dense"]
