"""ShareGPT as lengths: `input_toks` and `output_toks` a request, with the prompt's token ids if they are at hand.

Conversations as texts are refused: how long they are is for a model's tokenizer to say, of which none comes with this.
"""

from __future__ import annotations

from array import array
from typing import Any

from ...units import HORIZON_PS
from ..jsonrows import Row, json_lines
from ..source import Source
from ..table import Options, Table, refuse_unit

FIELDS = {"time": "arrival_time_ns", "input": "input_toks", "output": "output_toks", "ids": "input_tok_ids"}
BLOCK_TOKENS = 16


def read_sharegpt(source: Source, options: Options) -> Table:
    """One JSON object a line. Prompts share as many whole blocks as their token ids agree in."""
    if source.head.lstrip()[:1] == b"[" or b'"conversations"' in source.head:
        raise source.problem(
            "holds conversations as texts, and their lengths depend on a tokenizer",
            field="conversations",
            wanted='lengths: a line {"input_toks": 812, "output_toks": 90} a request, or a table of columns '
            "input_tokens and output_tokens",
        )
    refuse_unit(source, options, "nanoseconds")
    rows = list(json_lines(source))
    if not rows:
        raise source.problem("has no rows; a trace has a request a row")
    timed = [row.get("arrival_time_ns") is not None for row in rows]
    if any(timed) and not all(timed):
        raise rows[timed.index(False)].fail("arrival_time_ns", "missing", wanted="a time in every row, or in none")
    columns: dict[str, Any] = {
        "time_ps": array("q", (row.units("arrival_time_ns", 3, default=0, most=HORIZON_PS) for row in rows)),
        "input_tokens": array("I", (row.whole("input_toks", 1) for row in rows)),
        "output_tokens": array("I", (row.whole("output_toks") for row in rows)),
        "lines": array("Q", (row.line or 0 for row in rows)),
    }
    with_ids = any(row.get("input_tok_ids") is not None for row in rows)
    if with_ids:
        columns |= _contents(rows)
    return Table("sharegpt", columns, FIELDS, block_tokens=BLOCK_TOKENS if with_ids else None, has_times=all(timed))


def _contents(rows: list[Row]) -> dict[str, Any]:
    """An id for each block of a prompt: equal where everything up to its end is."""
    ids, offsets = array("Q"), array("Q", [0])
    known: dict[tuple[int, tuple[int, ...]], int] = {}
    for row in rows:
        if row.get("input_tok_ids") is not None:
            tokens = row.ids("input_tok_ids")
            if len(tokens) != row.whole("input_toks", 1):
                raise row.fail("input_tok_ids", f"has {len(tokens)} ids, but input_toks is {row.get('input_toks')}")
            before = -1
            for start in range(0, len(tokens), BLOCK_TOKENS):
                before = known.setdefault((before, tuple(tokens[start : start + BLOCK_TOKENS])), len(known))
                ids.append(before)
        offsets.append(len(ids))
    return {"hash_ids": ids, "hash_offsets": offsets}
