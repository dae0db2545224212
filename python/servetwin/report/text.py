"""Phrases that tables, commands and error messages share."""

from __future__ import annotations

from ..result.result import Result

MOST_NAMES = 20


def stalled_requests(result: Result) -> str:
    """How many requests hang, and which; result.json names those that are too many to show."""
    names = ", ".join(result.stalled[:MOST_NAMES])
    more = len(result.stalled) - MOST_NAMES
    rest = f" and {more:,} more, which result.json names" if more > 0 else ""
    return f"{len(result.stalled):,} {'request hangs' if len(result.stalled) == 1 else 'requests hang'}: {names}{rest}"


def size_text(size: int) -> str:
    """As people read sizes."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(round(size / 1e3), 1)} kB"
