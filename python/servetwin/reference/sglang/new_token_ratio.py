"""How much of its output limit a request is expected to use.

The engine's float arithmetic, literally: a closed form of the decay gives other numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from .state import RequestState

INITIAL = 0.7
FLOOR = 0.14
"""Of the initial ratio."""
DECAY_STEPS = 600
RETRACT_DECODE_STEPS = 20
"""Passes of decoding to make room for after a retraction."""


class NewTokenRatio:
    """Decays with every decode pass, jumps at a retraction, starts anew when the engine idles."""

    def __init__(self, conservativeness: float) -> None:
        self.initial = min(INITIAL * conservativeness, 1.0)
        self.floor = min(self.initial * FLOOR, 1.0)
        self.step = (self.initial - self.floor) / DECAY_STEPS
        self.current = self.initial

    def decay(self) -> None:
        self.current = max(self.current - self.step, self.floor)

    def reset(self) -> None:
        self.current = self.initial

    def retracted(self, left: Sequence[RequestState]) -> None:
        """Estimated from the requests that are left in the batch."""
        outputs = sum(request.num_outputs for request in left)
        limits = sum(request.max_new_tokens for request in left)
        self.current = min(1.0, (outputs + RETRACT_DECODE_STEPS * len(left)) / (limits + 1))
