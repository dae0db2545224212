"""Sessions of coding agents, flattened: a turn starts so long after the last ended, and repeats so much of it."""

from __future__ import annotations

from typing import Any

from ...errors import InputError
from ..columns import values
from ..csvtable import CsvTable, read_csv
from ..source import Source
from ..table import Options, Table, refuse_unit
from .calls import Turns, find_calls

FIELDS = {
    "time": "t_s",
    "delay": "think_time_s",
    "input": "input_tokens",
    "output": "output_tokens",
    "ids": "lcp_blocks_prev",
}
NEEDED = ("trace_id", "agent_path", "t_s", "think_time_s", "input_tokens", "output_tokens", "lcp_blocks_prev")
ROOT = "root"


def read_agentic(source: Source, options: Options) -> Table:
    """A session for each agent of each trace, in the order of the file; which turn called a sub-agent is told by
    pauses (see `calls`). Where no think time is, the difference of times is taken."""
    import pyarrow.compute as pc

    refuse_unit(source, options, "seconds")
    rows = read_csv(source)
    for name in (*NEEDED, "block_size"):
        rows.need(name, name)
    traces, agents = rows.columns["trace_id"], rows.columns["agent_path"]
    rows.columns["session"] = pc.binary_join_element_wise(traces, agents, "/")
    inputs = rows.tokens("input_tokens", least=1)
    block_tokens = _block_size(rows)
    _check_blocks(rows, inputs, block_tokens)
    root = pc.equal(agents, ROOT)
    columns: dict[str, Any] = {
        "time_ps": rows.times("t_s", "s"),
        "delay_ps": rows.times("think_time_s", "s", empty=True),
        **rows.sessions("session"),
        "input_tokens": inputs,
        "output_tokens": rows.tokens("output_tokens"),
        "kept_blocks": rows.tokens("lcp_blocks_prev"),
        "class_names": ["agent", "sub-agent"],
        "classes": values(pc.if_else(root, 0, 1), "uint32"),
        "lines": rows.line_numbers(),
    }
    notes = {"blank_lines": rows.blank_lines}
    if pc.any(pc.invert(root)).as_py():
        edges, counts = find_calls(_turns(rows, columns))
        columns |= edges
        notes |= counts
    return Table("agentic", columns, FIELDS, notes, block_tokens=block_tokens)


def _turns(rows: CsvTable, columns: dict[str, Any]) -> Turns:
    """How long a turn took, and whether it ended with a call, may not be recorded: 0, and perhaps."""
    took = rows.times("api_time_s", "s", empty=True) if "api_time_s" in rows.columns else None
    stops = rows.text("stop") if "stop" in rows.columns else None
    return Turns(
        sessions=columns["session"],
        names=columns["session_names"],
        starts_ps=columns["time_ps"],
        pauses_ps=columns["delay_ps"],
        took_ps=[0] * len(rows) if took is None else [max(time_ps, 0) for time_ps in took],
        calls_tool=[True] * len(rows) if stops is None else [stop in ("tool_use", "") for stop in stops],
    )


def _block_size(rows: CsvTable) -> int:
    sizes = rows.tokens("block_size", least=1)
    other = next((row for row, size in enumerate(sizes) if size != sizes[0]), None)
    if other is not None:
        raise rows.fail(other, "block_size", f"{sizes[0]}, as in the rows above; a trace has blocks of one size")
    return int(sizes[0])


def _check_blocks(rows: CsvTable, inputs: memoryview, block_tokens: int) -> None:
    """Prompts are told in whole blocks, without the rest."""
    if "n_blocks" not in rows.columns:
        return
    counts = rows.tokens("n_blocks")
    for row, (tokens, count) in enumerate(zip(inputs, counts, strict=True)):
        if count not in (tokens // block_tokens, -(-tokens // block_tokens)):
            raise _wrong_count(rows, row, tokens, block_tokens)


def _wrong_count(rows: CsvTable, row: int, tokens: int, block_tokens: int) -> InputError:
    return rows.fail(row, "n_blocks", f"{tokens // block_tokens}, the whole blocks of {tokens} tokens")
