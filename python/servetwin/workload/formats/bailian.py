"""Qwen-Bailian's usage traces: seconds, blocks of 16 tokens, turns linked by the chat they follow."""

from __future__ import annotations

from array import array
from typing import Any

from ...units import HORIZON_PS
from ..jsonrows import Row, json_lines
from ..source import Source
from ..table import Options, Table, refuse_unit

FIELDS = {"time": "timestamp", "input": "input_length", "output": "output_length", "ids": "hash_ids", "name": "chat_id"}
BLOCK_TOKENS = 16
ROOT = -1


def read_bailian(source: Source, options: Options) -> Table:
    """Rows arrive at their own times, as they were recorded; with `turns: cumulative` a turn waits for the one it
    follows. A prompt's ids tell what it repeats either way."""
    refuse_unit(source, options, "seconds")
    rows = [_row(row) for row in json_lines(source)]
    if not rows:
        raise source.problem("has no rows; a trace has a request a row")
    chained = options.turns == "cumulative"
    if options.turns == "delta":
        raise source.problem(
            "rows of this format hold whole prompts", field="turns", found="delta", wanted="cumulative or separate"
        )
    if chained:
        rows.sort(key=lambda row: row[0])
    kinds = sorted({kind for *_, kind, _ in rows})
    offsets = array("Q", [0])
    for row in rows:
        offsets.append(offsets[-1] + len(row[5]))
    columns: dict[str, Any] = {
        "time_ps": array("q", (row[0] for row in rows)),
        "input_tokens": array("I", (row[3] for row in rows)),
        "output_tokens": array("I", (row[4] for row in rows)),
        "hash_ids": array("Q", (one for row in rows for one in row[5])),
        "hash_offsets": offsets,
        "request_ids": [row[1] for row in rows],
        "class_names": kinds,
        "classes": array("I", map({kind: at for at, kind in enumerate(kinds)}.__getitem__, (row[6] for row in rows))),
        "lines": array("Q", (row[7] for row in rows)),
    }
    turns = sum(row[2] is not None for row in rows)
    if chained:
        roots = _roots({row[1]: row[2] for row in rows})
        names = {root: at for at, root in enumerate(dict.fromkeys(roots.values()))}
        columns |= {"session": array("I", (names[roots[row[1]]] for row in rows)), "session_names": list(names)}
    else:
        columns |= {"session": array("I", [2**32 - 1] * len(rows)), "session_names": []}
    notes = {} if chained else {"turns_at_their_own_times": turns}
    return Table("bailian", columns, FIELDS, notes, block_tokens=BLOCK_TOKENS, turns=True)


def _row(row: Row) -> tuple[int, str, str | None, int, int, list[int], str, int]:
    parent = row.whole("parent_chat_id", ROOT, 2**63 - 1)
    row.whole("turn", 0, default=None)
    return (
        row.units("timestamp", 12, most=HORIZON_PS),
        str(row.whole("chat_id", 0, 2**63 - 1)),
        None if parent == ROOT else str(parent),
        row.whole("input_length", 1),
        row.whole("output_length"),
        row.ids("hash_ids"),
        row.text("type"),
        row.line or 0,
    )


def _roots(parents: dict[str, str | None]) -> dict[str, str]:
    """The first chat that each belongs to; one whose parent is not in the trace is a first one."""
    roots: dict[str, str] = {}
    for chat in parents:
        path = []
        at: str | None = chat
        while at is not None and at in parents and at not in roots and at not in path:
            path.append(at)
            at = parents[at]
        root = roots[at] if at is not None and at in roots else path[-1]
        roots |= dict.fromkeys(path, root)
    return roots
