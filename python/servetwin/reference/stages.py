"""Pipeline stages in time: each computes one pass after the other."""

from __future__ import annotations


class Stages:
    """Stages that take the same time for a pass, and all passes that went through them."""

    def __init__(self, count: int) -> None:
        self.free_ps = [0] * count
        """When each has computed the last pass that was sent to it."""
        self.ways: list[tuple[int, int]] = []
        """When each pass entered the first stage and left the last."""
        self.computed_ps = 0
        """By all stages together."""

    def __len__(self) -> int:
        return len(self.free_ps)

    def send(self, from_ps: int, dt_ps: int) -> tuple[int, int]:
        """Sends a pass on its way, not before `from_ps`; when it enters the first stage and leaves the last."""
        start_ps = end_ps = max(from_ps, self.free_ps[0])
        for stage, free_ps in enumerate(self.free_ps):
            end_ps = self.free_ps[stage] = max(end_ps, free_ps) + dt_ps
            self.computed_ps += dt_ps
        self.ways.append((start_ps, end_ps))
        return start_ps, end_ps

    def idle_time(self) -> tuple[int, int]:
        """Picoseconds of all stages while passes were under way, and of them those in which they computed nothing."""
        under_way_ps = until_ps = 0
        for start_ps, end_ps in sorted(self.ways):
            under_way_ps += max(0, end_ps - max(start_ps, until_ps))
            until_ps = max(until_ps, end_ps)
        all_ps = under_way_ps * len(self)
        return all_ps, all_ps - self.computed_ps
