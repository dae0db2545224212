"""Rows to draw on: requests that overlap in time get rows of their own."""

from __future__ import annotations

import heapq
from collections.abc import Iterable


def lanes(spans: Iterable[tuple[int, int]]) -> list[int]:
    """The lane of each span, from 0: the lowest that is free when it starts, so that as few as possible are used.

    `spans` are (start, end) in order of their starts; an end may be the next one's start.
    """
    busy: list[tuple[int, int]] = []
    free: list[int] = []
    used = 0
    found = []
    for start, end in spans:
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            lane = heapq.heappop(free)
        else:
            lane, used = used, used + 1
        heapq.heappush(busy, (end, lane))
        found.append(lane)
    return found
