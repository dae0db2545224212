"""Phrases that tables, commands and error messages share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..result.result import Result

MOST_NAMES = 20

IDLE = {
    "barrier_wait_share": ("ranks", "data ranks wait for the slowest in {:.1%} of their time in passes"),
    "bubble_share": ("stages", "stages stand idle in {:.1%} of their time while passes are under way"),
}
"""What ranks in step and stages lose: a label, and a phrase for the share."""


def stalled_requests(result: Result) -> str:
    """How many requests hang, and which; result.json names those that are too many to show."""
    names = ", ".join(result.stalled[:MOST_NAMES])
    more = len(result.stalled) - MOST_NAMES
    rest = f" and {more:,} more, which result.json names" if more > 0 else ""
    return f"{len(result.stalled):,} {'request hangs' if len(result.stalled) == 1 else 'requests hang'}: {names}{rest}"


def idle_lines(summary: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """A label and a line for each pool with ranks in step or stages; none where there is neither."""
    for metric, (label, phrase) in IDLE.items():
        for role in ("", ".prefill", ".decode"):
            if (share := summary.get(metric + role)) is not None:
                yield label, f"{f'{role[1:]}: ' if role else ''}{phrase.format(share)}"


def size_text(size: int) -> str:
    """As people read sizes."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(round(size / 1e3), 1)} kB"
