"""How many drafts of a speculative pass the model accepts.

Each request counts the passes in which it had drafts to verify; that ordinal, from 0, is all the
state there is, so a draw never depends on what else happens in the run. Rows padded with drafts
that are always rejected do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

U64 = (1 << 64) - 1


@dataclass(frozen=True)
class Cycle:
    """A fixed list of accepted counts, repeated; never more than there are drafts."""

    pattern: tuple[int, ...]

    def accepted(self, request: int, ordinal: int, drafts: int) -> int:
        return min(self.pattern[ordinal % len(self.pattern)], drafts)


@dataclass(frozen=True)
class Conditional:
    """Draft j is accepted with a probability given that those before it were.

    `thresholds[j]` is that probability times 2^64, rounded down (2^64 - 1 for certainty); the
    last one holds for any further drafts.
    """

    thresholds: tuple[int, ...]
    seed: int

    def accepted(self, request: int, ordinal: int, drafts: int) -> int:
        for position in range(drafts):
            threshold = self.thresholds[min(position, len(self.thresholds) - 1)]
            if draw(self.seed, request, ordinal, position) >= threshold:
                return position
        return drafts


Acceptance = Cycle | Conditional


def draw(seed: int, request: int, ordinal: int, position: int) -> int:
    """A uniform 64-bit number that depends on nothing but its arguments.

    state = mix(seed); for request, ordinal and position in turn: state = mix(state ^ mix(it)).
    """
    state = mix(seed & U64)
    for key in (request, ordinal, position):
        state = mix(state ^ mix(key))
    return state


def mix(value: int) -> int:
    """One step of splitmix64 (Steele, Lea, Flood 2014): add the golden gamma, then finalise.

    Arithmetic modulo 2^64.
    """
    value = (value + 0x9E3779B97F4A7C15) & U64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & U64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & U64
    return value ^ (value >> 31)
