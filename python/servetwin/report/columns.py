"""Tables that fit the terminal: what all rows share is said once, and the least wanted columns go first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

GAP = 2
"""Blanks between columns."""

NARROWEST_TEXT = 17
"""Words are folded to no less."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        title: may be broken after blanks, underscores and points.
        rank: of columns that do not fit, the highest goes first; those of rank 0 stay.
        figures: to the right; else words, which may be folded.
        style: of its cells.
    """

    title: str
    cells: Sequence[str | Text]
    rank: int = 0
    figures: bool = True
    style: str = ""

    @property
    def pieces(self) -> list[str]:
        return [piece.strip() for piece in re.findall(r"[^ _.]+[ _.]*", self.title)]

    @property
    def content(self) -> int:
        """The longest cell."""
        return max((len(cell) for cell in self.cells), default=0)

    @property
    def width(self) -> int:
        return max([self.content, *map(len, self.pieces)])

    @property
    def header(self) -> str:
        """The title on as few lines as its width allows."""
        lines: list[str] = []
        for piece in self.pieces:
            glue = "" if lines and lines[-1].endswith(("_", ".")) else " "
            if lines and len(lines[-1]) + len(glue) + len(piece) <= self.width:
                lines[-1] += glue + piece
            else:
                lines.append(piece)
        return "\n".join(lines)

    @property
    def shared(self) -> bool:
        """Whether all rows have the same."""
        return len(self.cells) > 1 and len({str(cell) for cell in self.cells}) == 1


@dataclass(frozen=True)
class Fitted:
    """A table, what all its rows share, and the titles of what did not fit."""

    table: Table
    shared: list[Column]
    left_out: list[str]

    def said(self) -> list[str]:
        """Lines to stand above the table."""
        if not self.shared:
            return []
        return ["All: " + ", ".join(f"{column.title} {column.cells[0]}" for column in self.shared)]


def fitted(columns: Sequence[Column], width: int) -> Fitted:
    """The columns as a table of at most `width` characters, if those of rank 0 fit at all."""
    shared = [column for column in columns if column.shared]
    kept = [column for column in columns if not column.shared]
    left_out: list[str] = []
    while _least(kept) > width and any(column.rank for column in kept):
        last = max(kept, key=lambda column: column.rank)
        kept.remove(last)
        left_out.append(last.title)
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, GAP - 1, 0, 0))
    for column in kept:
        if column.figures:
            table.add_column(column.header, justify="right", no_wrap=True, style=column.style)
        else:
            table.add_column(column.header, overflow="fold", style=column.style, min_width=_least_of(column))
    for row in zip(*(column.cells for column in kept), strict=True):
        table.add_row(*row)
    return Fitted(table, shared, left_out[::-1])


def _least(columns: Sequence[Column]) -> int:
    """The fewest characters that the columns need, with a blank on either side."""
    return sum(map(_least_of, columns)) + GAP * (len(columns) - 1) + 2


def _least_of(column: Column) -> int:
    return column.width if column.figures else min(column.width, NARROWEST_TEXT)


def level(misses: str | None) -> Text:
    """Whether a service level is met, in a few words."""
    if misses is None:
        return Text("met", "green")
    # The percentile is that of the spec's level, the figures are those of the message.
    brief = re.sub(r"(\w+)_ms(\.\w+)?", lambda name: name[1].upper(), misses)
    return Text(re.split("[:(]", brief)[0].strip(), "red")
