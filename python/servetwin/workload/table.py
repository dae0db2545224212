"""What a reader makes of a file: columns for the core, which joins the rows to a trace."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..native import native_errors
from .source import Source

if TYPE_CHECKING:
    from .._core import Trace

OWN_BLOCK_TOKENS = 16
"""Of a trace without ids whose turns repeat each other: as fine as engines' blocks are."""
LONE_BLOCK_TOKENS = 512
"""Of a trace in which nothing is shared: few ids, and any usual engine's blocks divide it."""
MISSING_PS = -(2**63)
"""No time, in a column of times."""
MISSING = 2**32 - 1
"""No limit, or no session, in a column of those."""


@dataclass(frozen=True)
class Options:
    """What is asked of every reader; as `workload` of the spec has it."""

    block_tokens: int | None = None
    limit: int | None = None
    speedup: float = 1.0
    max_output_tokens: int | None = None
    turns: str | None = None
    time_unit: str | None = None
    need_times: bool = True


@dataclass
class Table:
    """Columns by their names in the core's `table::Table`; `fields` says what they are called in the file.

    `block_tokens`: what the file says of its ids; None if it has none. `has_times`: False if it says nothing of when
    requests arrive. `turns`: whether rows of a session may mean more than one thing. `turns_are`: what they mean, where
    the format says.
    """

    format: str
    columns: dict[str, Any]
    fields: dict[str, str]
    notes: dict[str, Any] = field(default_factory=dict)
    block_tokens: int | None = None
    has_times: bool = True
    turns: bool = False
    turns_are: str | None = None
    as_written: bool = False


def assemble(source: Source, table: Table, options: Options) -> Trace:
    """The trace of a table. Raises InputError with file, line and field, or for an option without effect."""
    from .._core import Trace

    if options.need_times and not table.has_times:
        raise source.problem(
            "says nothing of when requests arrive", field=table.fields["time"], wanted="a column of times, or users: N"
        )
    if options.turns is not None and not (table.turns and "session" in table.columns):
        raise source.problem(
            f"never read: a trace of format {table.format} "
            + ("says what its turns are" if "session" in table.columns else "without sessions has no turns"),
            field="turns",
            found=options.turns,
            wanted="it left out",
        )
    with native_errors():
        return Trace.from_rows(
            source.name,
            table.columns,
            fields=table.fields,
            sha256=source.sha256,
            notes_json=json.dumps({"format": table.format, **table.notes}),
            block_tokens=_block_tokens(source, table, options),
            limit=options.limit,
            speedup=options.speedup,
            max_output_tokens=options.max_output_tokens,
            turns=table.turns_are or options.turns,
            as_written=table.as_written,
        )


def _block_tokens(source: Source, table: Table, options: Options) -> int:
    given = options.block_tokens
    if table.block_tokens is None:
        usual = OWN_BLOCK_TOKENS if "session" in table.columns else LONE_BLOCK_TOKENS
        return usual if given is None else given
    if given not in (None, table.block_tokens):
        raise source.problem(
            f"an id of this trace stands for {table.block_tokens} tokens",
            field="block_tokens",
            found=given,
            wanted=f"{table.block_tokens}, or it left out",
        )
    return table.block_tokens


def refuse_unit(source: Source, options: Options, unit: str) -> None:
    """For formats that have a unit. Raises InputError."""
    if options.time_unit is not None:
        raise InputError(
            f"never read: times of this format are {unit}", file=source.name, field="time_unit", found=options.time_unit
        )
