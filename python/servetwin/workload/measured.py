"""Requests that a load generator sent and measured, as a trace: what it sent, and when."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from typing import Any

from .source import Source
from .table import MISSING, Table


@dataclass(slots=True)
class Measured:
    """One request. `input_tokens` is None where it failed before its length was known."""

    line: int | None
    at: str
    name: str | None
    start_ps: int
    elapsed_ps: int
    session: str | None
    input_tokens: int | None
    output_tokens: int
    reasoning_tokens: int
    failed: bool
    kind: str | None


def table(name: str, source: Source, fields: dict[str, str], requests: list[Measured]) -> Table:
    """The requests from the first on. Failed ones without a length cannot be sent again: they are counted."""
    known = sorted((one for one in requests if one.input_tokens is not None), key=lambda one: one.start_ps)
    if not known:
        raise source.problem("has no requests whose prompt's length is known")
    first = known[0].start_ps
    columns: dict[str, Any] = {
        "time_ps": array("q", (min(one.start_ps - first, 2**62) for one in known)),
        "elapsed_ps": array("q", (min(one.elapsed_ps, 2**62) for one in known)),
        "input_tokens": array("I", (one.input_tokens or 0 for one in known)),
        "output_tokens": array("I", (one.output_tokens for one in known)),
        "reasoning_tokens": array("I", (one.reasoning_tokens for one in known)),
        "failed": array("B", (one.failed for one in known)),
    }
    if all(one.line is not None for one in known):
        columns["lines"] = array("Q", (one.line or 0 for one in known))
    if all(one.name is not None for one in known):
        columns["request_ids"] = [one.name or "" for one in known]
    kinds = list(dict.fromkeys(one.kind for one in known))
    if kinds != [None]:
        columns["class_names"] = [kind or "" for kind in kinds]
        columns["classes"] = array("I", (kinds.index(one.kind) for one in known))
    turns = Counter(one.session for one in known if one.session is not None)
    if any(count > 1 for count in turns.values()):
        codes = {session: at for at, session in enumerate(turns)}
        columns["session"] = array("I", (MISSING if one.session is None else codes[one.session] for one in known))
        columns["session_names"] = list(turns)
    notes = {"failed_without_length": len(requests) - len(known)}
    return Table(name, columns, fields, notes, turns=True)
