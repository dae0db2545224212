"""What all studies share: their command line, the table they print, and the files they write."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from servetwin.report.columns import Column, fitted

RESULTS = Path(__file__).parents[2] / "bench" / "results" / "studies"
WIDTH = 118
"""Columns of output that goes to a file or a pipe."""

Cell = str | float | int


@dataclass
class Study:
    """A table and what is said of it.

    Attributes:
        name: of the command and of the files.
        title: the question, in a line.
        published: what others measured, with its source.
        fixed: what was taken from there, or chosen and not varied.
        columns: names, with units.
        rows: a cell for each column; numbers as they are, rounded where they are shown.
        found: what the rows say, in sentences that hold figures of theirs.
    """

    name: str
    title: str
    published: str
    fixed: dict[str, str]
    columns: Sequence[str]
    rows: list[Sequence[Cell]] = field(default_factory=list)
    found: list[str] = field(default_factory=list)

    def print(self) -> None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = WIDTH
        console.print(self.title, style="bold")
        columns = []
        for place, name in enumerate(self.columns):
            cells = [shown(row[place]) for row in self.rows]
            columns.append(Column(name, cells, rank=place, figures=not self._is_text(place)))
        table = fitted(columns, console.width)
        for line in table.said():
            console.print(line)
        console.print(table.table)
        if table.left_out:
            console.print(f"Left out at this width: {', '.join(table.left_out)}.", style="dim")
        console.print(f"published: {self.published}", style="dim")
        for name, value in self.fixed.items():
            console.print(f"{name}: {value}", style="dim")
        for sentence in self.found:
            console.print(f"• {sentence}")

    def write(self, folder: Path) -> list[Path]:
        """The table as CSV, and all as Markdown."""
        folder.mkdir(parents=True, exist_ok=True)
        table, page = folder / f"{self.name}.csv", folder / f"{self.name}.md"
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        table.write_text(text.getvalue())
        page.write_text(self.markdown())
        return [table, page]

    def markdown(self) -> str:
        bar = "|".join("---" if self._is_text(place) else "---:" for place in range(len(self.columns)))
        lines = [f"# {self.title}", "", f"Published: {self.published}", ""]
        lines += [f"- {name}: {value}" for name, value in self.fixed.items()]
        lines += ["", f"| {' | '.join(self.columns)} |", f"|{bar}|"]
        lines += [f"| {' | '.join(map(shown, row))} |" for row in self.rows]
        lines += ["", *(f"- {sentence}" for sentence in self.found)]
        return "\n".join(lines) + "\n"

    def _is_text(self, place: int) -> bool:
        return any(isinstance(row[place], str) and row[place] for row in self.rows)


def shown(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def main(study: Callable[[argparse.Namespace], Study], options: Callable[[argparse.ArgumentParser], None]) -> None:
    """Runs a study from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, prog=f"python -m {study.__module__}")
    parser.description = study.__doc__
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the table as CSV and Markdown")
    options(parser)
    given = parser.parse_args()
    done = study(given)
    done.print()
    for path in done.write(given.out):
        print(f"wrote {path}")
