"""What a profile would measure, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..catalog import Model
from ..profile.plan import COLUMNS, Limits, Task
from ..profile.run import TIMES, WARM_UP


def plan_table(model: Model, tensor: int, limits: Limits, tasks: Sequence[Task]) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in ("table", "layers", "sizes", "from", "to"):
        table.add_column(column)
    table.add_column("rows", justify="right")
    for name, columns in COLUMNS.items():
        rows = [task for task in tasks if task.table == name]
        if rows:
            layers = ", ".join(dict.fromkeys(task.layer for task in rows if task.layer))
            lowest, highest = (
                " × ".join(f"{pick(task.sizes[i] for task in rows):,}" for i in range(len(columns)))
                for pick in (min, max)
            )
            table.add_row(name, layers, ", ".join(columns), lowest, highest, f"{len(rows):,}")
    ranks = f", one of {tensor} tensor-parallel ranks" if tensor > 1 else ""
    runs = len(tasks) * (WARM_UP + TIMES)
    note = (
        f"{model.name}{ranks}: {len(tasks):,} operators in bfloat16, each {WARM_UP} times to warm up and {TIMES} times "
        f"for the median ({runs:,} runs), passes up to {limits.tokens:,} tokens, {limits.rows:,} requests of up to "
        f"{limits.length:,} tokens. Nothing was measured."
    )
    return Group(table, Text(note, "dim"))
