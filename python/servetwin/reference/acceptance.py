"""How many drafts of a speculative pass the model accepts.

Each request counts the passes in which it had drafts to verify; that ordinal, from 0, is all the
state there is, so a draw never depends on what else happens in the run. Rows padded with drafts
that are always rejected do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

U64 = (1 << 64) - 1


@dataclass(frozen=True)
class Cycle:
    """A fixed list of accepted counts, repeated; never more than there are drafts."""

    pattern: tuple[int, ...]

    def accepted(self, request: int, ordinal: int, drafts: int) -> int:
        return min(self.pattern[ordinal % len(self.pattern)], drafts)


@dataclass(frozen=True)
class Drawn:
    """Outcomes from a table in which `counts[a]` of them accept `a` drafts.

    `seed` decides their order, and where in it a request starts; it then takes one after the other.
    """

    counts: tuple[int, ...]
    seed: int

    def accepted(self, request: int, ordinal: int, drafts: int) -> int:
        outcomes = table(self.counts, self.seed)
        start = draw(self.seed, START, request) % len(outcomes)
        return min(outcomes[(start + ordinal) % len(outcomes)], drafts)


Acceptance = Cycle | Drawn

ORDER, START = 0, 1
"""What the draws of a seed are for."""


@lru_cache(maxsize=64)
def table(counts: tuple[int, ...], seed: int) -> tuple[int, ...]:
    """The outcomes, shuffled as Fisher and Yates do, from the last place down."""
    outcomes = [accepted for accepted, count in enumerate(counts) for _ in range(count)]
    for place in range(len(outcomes) - 1, 0, -1):
        other = draw(seed, ORDER, place) % (place + 1)
        outcomes[place], outcomes[other] = outcomes[other], outcomes[place]
    return tuple(outcomes)


def draw(seed: int, *keys: int) -> int:
    """A uniform 64-bit number that depends on nothing but its arguments.

    state = mix(seed); for each key in turn: state = mix(state ^ mix(key)).
    """
    state = mix(seed & U64)
    for key in keys:
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
