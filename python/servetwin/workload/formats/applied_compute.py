"""Applied Compute's TRIE workloads: an agent's whole session a line, as lengths and the time its tools took.

https://github.com/applied-compute/trie; read by Dynamo as `applied_compute_agentic`.
"""

from __future__ import annotations

from array import array
from typing import Any

from ...units import HORIZON_PS
from ..csvtable import TOKENS_MAX
from ..jsonrows import Row, json_lines
from ..source import Source
from ..table import Options, Table, refuse_unit

FIELDS = {
    "time": "timestamp",
    "delay": "tool_call_latency",
    "input": "input_prompt_length",
    "output": "assistant_response_length",
}
ARRAYS = ("assistant_response_length", "tool_call_output_length", "tool_call_latency")
KNOWN = {"num_turns", "input_prompt_length", *ARRAYS, "final_assistant_response_length"}


def read_applied_compute(source: Source, options: Options) -> Table:
    """`num_turns` + 1 requests a line: each prompt is the one before, its answer, and what a tool put out, and comes
    as long after the answer as the tool took. When sessions start is not told, so it is for a closed loop."""
    refuse_unit(source, options, "seconds")
    columns: dict[str, Any] = {name: array("I") for name in ("session", "input_tokens", "output_tokens")}
    columns |= {"time_ps": array("q"), "delay_ps": array("q"), "lines": array("Q"), "session_names": []}
    for session, row in enumerate(json_lines(source)):
        columns["session_names"].append(f"line {row.line}")
        for input_tokens, output_tokens, delay_ps in _turns(row):
            columns["session"].append(session)
            columns["input_tokens"].append(input_tokens)
            columns["output_tokens"].append(output_tokens)
            columns["time_ps"].append(0)
            columns["delay_ps"].append(delay_ps)
            columns["lines"].append(row.line or 0)
    if not columns["session_names"]:
        raise source.problem("has no rows; a trace has a session a row")
    return Table("applied_compute_agentic", columns, FIELDS, has_times=False, turns_are="cumulative")


def _turns(row: Row) -> list[tuple[int, int, int]]:
    """Whole prompt, answer, and the time since the answer before, of each request."""
    unknown = next((name for name in row.data if name not in KNOWN), None)
    if unknown is not None:
        raise row.fail(unknown, "no field of this format", wanted=", ".join(sorted(KNOWN)))
    count = row.whole("num_turns", 0, 1_000_000)
    for name in ARRAYS:
        found = row.get(name)
        if not isinstance(found, list) or len(found) != count:
            shown = f"{len(found)} entries" if isinstance(found, list) else found
            raise row.fail(name, "one entry a turn is right", shown, f"a list of {count}")
    prompt = row.whole("input_prompt_length", 1)
    delay_ps, turns = 0, []
    for turn in range(count + 1):
        last = turn == count
        answer = row.whole("final_assistant_response_length" if last else f"assistant_response_length.{turn}")
        turns.append((prompt, answer, delay_ps))
        if last:
            break
        prompt += answer + row.whole(f"tool_call_output_length.{turn}")
        if prompt > TOKENS_MAX:
            raise row.fail("tool_call_output_length", f"makes a prompt of {prompt} tokens; at most {TOKENS_MAX}")
        delay_ps = row.units(f"tool_call_latency.{turn}", 12, most=HORIZON_PS)
    return turns
