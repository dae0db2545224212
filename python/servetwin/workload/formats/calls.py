"""Which turn called a sub-agent, where a trace does not say: the pause that it fits into best tells."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..table import MISSING_PS

ROUNDING_PS = 10**12
"""Times of recorded sessions are whole seconds."""


@dataclass(frozen=True)
class Turns:
    """Columns of a file's rows; `sessions` holds an index into `names`, which end in the agent's path."""

    sessions: Sequence[int]
    names: Sequence[str]
    starts_ps: Sequence[int]
    pauses_ps: Sequence[int]
    took_ps: Sequence[int]
    calls_tool: Sequence[bool]


def find_calls(turns: Turns) -> tuple[dict[str, Any], dict[str, int]]:
    """Columns of edges and of delays for the core, and how many sub-agents were placed, or not.

    A caller waits for its sub-agents. So one is taken to be called by the turn, of those that end with a call of a
    tool, that has the shortest pause after it which is as long as the sub-agent took. The turn after that pause then
    waits for the sub-agent as well, and what is left of the pause comes after. One that fits into no pause starts
    when its trace does.
    """
    rows: dict[int, list[int]] = {}
    for row, session in enumerate(turns.sessions):
        rows.setdefault(session, []).append(row)
    number = {name: session for session, name in enumerate(turns.names)}
    waits: dict[int, list[int]] = {}
    taken_ps: dict[int, int] = {}
    delays = array("q", turns.pauses_ps)
    placed = alone = 0
    for session, own in rows.items():
        caller = number.get(turns.names[session].rpartition("/")[0])
        if caller is None:
            continue
        took_ps = turns.starts_ps[own[-1]] + turns.took_ps[own[-1]] - turns.starts_ps[own[0]]
        if (at := _call(turns, rows[caller], took_ps)) is None:
            alone += 1
            continue
        placed += 1
        call, join = rows[caller][at : at + 2]
        waits.setdefault(own[0], []).append(call)
        waits.setdefault(join, []).append(own[-1])
        taken_ps[join] = max(taken_ps.get(join, 0), took_ps)
    for join, took_ps in taken_ps.items():
        delays[join] = max(delays[join] - took_ps, 0)
    offsets, flat = array("Q", [0]), array("Q")
    for row in range(len(turns.sessions)):
        flat.extend(waits.get(row, ()))
        offsets.append(len(flat))
    counts = {"sub_agents_placed_by_pauses": placed, "sub_agents_without_a_call": alone}
    return {"delay_ps": delays, "wait_for": flat, "wait_offsets": offsets}, counts


def _call(turns: Turns, rows: Sequence[int], took_ps: int) -> int | None:
    """The place, among a caller's turns, of the one that called."""
    fitting = [
        (pause_ps, at)
        for at, row in enumerate(rows[1:])
        if (pause_ps := turns.pauses_ps[row]) != MISSING_PS
        and pause_ps + ROUNDING_PS >= took_ps
        and turns.calls_tool[rows[at]]
    ]
    return min(fitting)[1] if fitting else None
