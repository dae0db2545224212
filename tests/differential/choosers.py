"""Where the choices of a random scenario come from, and what all engines' scenarios share.

A `Chooser` lets hypothesis shrink the choices, and a seed repeat them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol, TypeVar

from hypothesis import strategies as st

from servetwin.conformance.scenario import PS_PER_MS, ScenarioRequest
from servetwin.reference import (
    Affine,
    DecodeGrid,
    Graphs,
    Line,
    Linear,
    MixedGrid,
    Polynomial,
    PromptGrid,
    Tabulated,
)
from servetwin.reference.acceptance import Drawn

T = TypeVar("T")


class Chooser(Protocol):
    """Where the choices come from."""

    def integer(self, low: int, high: int) -> int:
        """Both ends included."""

    def one_of(self, choices: Sequence[T]) -> T: ...


class SeededChooser:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def one_of(self, choices: Sequence[T]) -> T:
        return self._random.choice(choices)


class DrawingChooser:
    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def one_of(self, choices: Sequence[T]) -> T:
        return self._draw(st.sampled_from(choices))


def step_time(choose: Chooser) -> Affine | Polynomial:
    if choose.integer(1, 4) == 1:
        tokens = choose.integer(8, 64)
        return Polynomial(
            prefill_fps=(choose.integer(0, 2**30), choose.integer(0, 2**40), 2**50),
            segment_tokens=tokens,
            start_ps=tuple(PS_PER_MS * 5 + i * PS_PER_MS // 9 for i in range(8)),
            slope_ps=(*(choose.integer(-1000, PS_PER_MS // 1000) for _ in range(7)), choose.integer(0, 1000)),
        )
    term = Linear(
        base_ps=choose.one_of((1, PS_PER_MS // 2, 5 * PS_PER_MS)),
        prefill_token_ps=PS_PER_MS // 20,
        work_fps=choose.one_of((0, 3 * 2**19 + 1)),
        decode_row_ps=PS_PER_MS // 10,
        context_ps=choose.one_of((0, PS_PER_MS // 1000)),
        sequence_ps=choose.integer(0, 1000),
        draft_token_ps=choose.one_of((0, PS_PER_MS // 40)),
    )
    memory = Linear(base_ps=choose.integer(0, 6 * PS_PER_MS), context_ps=PS_PER_MS // 300)
    host = Linear(base_ps=choose.integer(0, PS_PER_MS), sequence_ps=choose.integer(0, 5000))
    draft = Linear(base_ps=choose.integer(0, PS_PER_MS), draft_token_ps=choose.one_of((0, PS_PER_MS // 60)))
    return Affine(host=host, terms=choose.one_of(((term,), (term, memory))), draft=draft)


def tabulated(choose: Chooser, *, drafts: bool = False) -> Tabulated:
    tokens, rows, contexts = _knots(choose, 200), _knots(choose, 30), _knots(choose, 300)
    reach = tuple(_knots(choose, 400) for _ in tokens)
    across = tuple(_knots(choose, 300) for _ in tokens)
    counts = [len(knots) * len(rows) * len(others) for knots, others in zip(reach, across, strict=True)]
    mixed = MixedGrid(tokens, reach, rows, across, tuple(_times(choose, count) for count in counts))
    sizes = _knots(choose, 40)
    return Tabulated(
        host=Linear(base_ps=choose.integer(0, PS_PER_MS), sequence_ps=choose.integer(0, 5000)),
        graphs=Graphs(
            decode_sizes=choose.one_of(((), sizes)),
            piecewise_sizes=choose.one_of(((), _knots(choose, 90))),
            padded=choose.integer(0, 3) > 0,
            piecewise_ps=choose.integer(0, 9 * PS_PER_MS),
            eager_ps=choose.integer(0, 9 * PS_PER_MS),
        ),
        tokens=_line(choose),
        sequences=_line(choose),
        decode=DecodeGrid(rows, contexts, tuple(_times(choose, len(contexts)) for _ in rows)),
        prompt=PromptGrid(tokens, reach, tuple(_times(choose, len(knots)) for knots in reach)),
        mixed=choose.one_of((None, mixed)),
        longest=None if drafts else choose.one_of((None, _line(choose))),
    )


def _knots(choose: Chooser, most: int) -> tuple[int, ...]:
    return tuple(sorted({1, *(choose.integer(2, most) for _ in range(choose.integer(0, 3)))}))


def _times(choose: Chooser, count: int) -> tuple[int, ...]:
    return tuple(choose.integer(0, 3 * PS_PER_MS) for _ in range(count))


def _line(choose: Chooser) -> Line:
    at = _knots(choose, 100)
    return Line(at, _times(choose, len(at)), tuple(choose.integer(0, 2**45) for _ in at))


def drawn(choose: Chooser, drafts: int) -> Drawn:
    counts = [choose.one_of((0, 1, 5, 40)) for _ in range(drafts + 1)]
    counts[choose.integer(0, drafts)] += 1
    return Drawn(tuple(counts), seed=choose.integer(0, 2**63))


def gap(choose: Chooser) -> int:
    """Between arrivals: none, less than a pass, or long enough to go idle."""
    longest = choose.one_of((0, 0, 5, 40, 2000))
    return choose.integer(0, longest * PS_PER_MS)


def continued(choose: Chooser, index: int, n_in: int, earlier: Sequence[ScenarioRequest]) -> tuple[int, ...]:
    """A prompt that continues an earlier conversation, its answer included, or starts one."""
    fresh = list(range(1000 * (index + 1), 1000 * (index + 1) + n_in))
    history: list[int] = []
    if earlier:
        before = choose.integer(0, len(earlier) - 1)
        history = [*(earlier[before].tokens or ()), *earlier[before].outputs(before)]
    kept = choose.one_of((0, n_in // 2, n_in))
    return tuple((history[:kept] + fresh)[:n_in])
