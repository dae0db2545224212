"""A scatter plot in characters."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 66, 14
"""Columns and rows of the plot, without its axes."""

OTHERS = "·"
"""A point that is not among the marked ones."""


def scatter(
    marked: Sequence[tuple[float, float, str]],
    others: Sequence[tuple[float, float]],
    *,
    x_title: str,
    y_title: str,
) -> list[str]:
    """Lines of a plot from 0 to the greatest values; `marked` are (x, y, one character), drawn over `others`."""
    points = [(x, y) for x, y, _ in marked] + list(others)
    most_x, most_y = (max((point[axis] for point in points), default=0.0) or 1.0 for axis in (0, 1))
    rows = [[" "] * WIDTH for _ in range(HEIGHT)]

    def place(x: float, y: float, mark: str) -> None:
        rows[HEIGHT - 1 - round(y / most_y * (HEIGHT - 1))][round(x / most_x * (WIDTH - 1))] = mark

    for x, y in others:
        place(x, y, OTHERS)
    for x, y, mark in marked:
        place(x, y, mark)
    label = max(len(f"{most_y:,.0f}"), 1)
    lines = [y_title]
    for index, row in enumerate(rows):
        tick = f"{most_y:,.0f}" if index == 0 else "0" if index == HEIGHT - 1 else ""
        lines.append(f"{tick:>{label}} ┤{''.join(row).rstrip()}")
    lines.append(f"{'':>{label}} └{'─' * WIDTH}")
    lines.append(f"{'':>{label}}  0{f'{most_x:,.0f}':>{WIDTH - 1}}  {x_title}")
    return lines
