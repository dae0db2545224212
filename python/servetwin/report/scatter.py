"""A scatter plot in characters."""

from __future__ import annotations

from collections.abc import Sequence

HEIGHT = 14
"""Rows of the plot, without its axis."""

OTHERS = "·"
"""A point that is not among the marked ones."""


def scatter(
    marked: Sequence[tuple[float, float, str]],
    others: Sequence[tuple[float, float]],
    *,
    x_title: str,
    y_title: str,
    width: int,
) -> list[str]:
    """Lines of `width` characters: a plot from 0 to the greatest values.

    `marked` are (x, y, one character), drawn over `others`; of those at the same place the first is seen.
    """
    points = [(x, y) for x, y, _ in marked] + list(others)
    most_x, most_y = (max((point[axis] for point in points), default=0.0) or 1.0 for axis in (0, 1))
    label = max(len(f"{most_y:,.0f}"), 1)
    columns = width - label - 2
    rows = [[" "] * columns for _ in range(HEIGHT)]

    def place(x: float, y: float, mark: str) -> None:
        rows[HEIGHT - 1 - round(y / most_y * (HEIGHT - 1))][round(x / most_x * (columns - 1))] = mark

    for x, y in others:
        place(x, y, OTHERS)
    for x, y, mark in reversed(marked):
        place(x, y, mark)
    lines = [y_title]
    for index, row in enumerate(rows):
        tick = f"{most_y:,.0f}" if index == 0 else "0" if index == HEIGHT - 1 else ""
        lines.append(f"{tick:>{label}} ┤{''.join(row).rstrip()}")
    lines.append(f"{'':>{label}} └{'─' * columns}")
    most = f"{most_x:,.0f}"
    lines.append(f"{'':>{label}}  0{x_title:^{columns - 1 - len(most)}}{most}")
    return lines
