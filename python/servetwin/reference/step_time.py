"""How long a pass takes: a timing model lowered to whole picoseconds.

Coefficients named `_fps` count 2^-20 ps. Everything is integer arithmetic, and shifts round
towards minus infinity, so that the native core gets the same number to the last picosecond.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

FRACTION_BITS = 20


@dataclass(frozen=True)
class Features:
    """What a pass does. Context is counted after the pass, drafts included."""

    prefill_tokens: int
    prefill_work: int
    """Sum over prefill rows of new * (2 * past + new): twice the attention work, to be whole."""
    prefill_context: int
    """Of `context`, that of the prefill rows."""
    decode_rows: int
    draft_tokens: int
    """Drafts that the rows that decode verify."""
    context: int
    sequences: int
    ready_context: int
    """Context of the rows that get a token from this pass: decodes, and prompts it completes."""
    ready_rows: int
    longest: int = 0
    """Of the rows that decode, the longest context."""


@dataclass(frozen=True)
class Linear:
    """A linear function of the features."""

    base_ps: int = 0
    prefill_token_ps: int = 0
    work_fps: int = 0
    decode_row_ps: int = 0
    context_ps: int = 0
    sequence_ps: int = 0
    draft_token_ps: int = 0

    def at(self, f: Features) -> int:
        return (
            self.base_ps
            + self.prefill_token_ps * f.prefill_tokens
            + ((self.work_fps * f.prefill_work) >> FRACTION_BITS)
            + self.decode_row_ps * f.decode_rows
            + self.context_ps * f.context
            + self.sequence_ps * f.sequences
            + self.draft_token_ps * f.draft_tokens
        )

    def of_drafts(self, f: Features) -> int:
        """What drafting adds to a pass: nothing to one that verifies no drafts."""
        return self.at(f) if f.draft_tokens else 0


@dataclass(frozen=True)
class Affine:
    """Host time plus the slowest of several terms; and `draft`, if any drafts are verified."""

    host: Linear
    terms: tuple[Linear, ...]
    draft: Linear = Linear()

    def picoseconds(self, features: Features) -> int:
        slowest = max((term.at(features) for term in self.terms), default=0)
        return max(self.host.at(features) + slowest + self.draft.of_drafts(features), 1)


@dataclass(frozen=True)
class Polynomial:
    """A quadratic in the prefill tokens, then a decode, piecewise linear in its context."""

    prefill_fps: tuple[int, int, int]
    """Quadratic, linear and constant coefficient."""
    segment_tokens: int
    start_ps: tuple[int, ...]
    slope_ps: tuple[int, ...]
    """Per token of context beyond the segment's start; the last segment has no end."""

    def picoseconds(self, features: Features) -> int:
        return max(self._prefill(features.prefill_tokens) + self._decode(features), 1)

    def _prefill(self, tokens: int) -> int:
        if tokens == 0:
            return 0
        q2, q1, q0 = self.prefill_fps
        return (q2 * tokens * tokens + q1 * tokens + q0) >> FRACTION_BITS

    def _decode(self, features: Features) -> int:
        if features.ready_rows == 0:
            return 0
        context = features.ready_context
        i = min(context // self.segment_tokens, len(self.start_ps) - 1)
        return self.start_ps[i] + self.slope_ps[i] * (context - i * self.segment_tokens)


@dataclass(frozen=True)
class Graphs:
    """CUDA graphs: which numbers of tokens were captured. A pass is padded to the next of them."""

    decode_sizes: tuple[int, ...] = ()
    """Of passes that only decode: whole passes."""
    piecewise_sizes: tuple[int, ...] = ()
    """Of any pass: all but the attention."""
    padded: bool = True
    """Otherwise a graph serves passes of just its size."""
    piecewise_ps: int = 0
    """The host's launches take so long where only pieces were captured,"""
    eager_ps: int = 0
    """and so long where nothing was."""

    def pad(self, tokens: int, only_decodes: bool) -> tuple[int, int]:
        """The number of tokens that is computed, and the least time of the pass."""
        size = self._next(self.decode_sizes, tokens) if only_decodes else None
        if size is not None:
            return size, 0
        size = self._next(self.piecewise_sizes, tokens)
        return (tokens, self.eager_ps) if size is None else (size, self.piecewise_ps)

    def _next(self, sizes: tuple[int, ...], tokens: int) -> int | None:
        size = next((size for size in sizes if size >= tokens), None)
        return size if self.padded or size == tokens else None


@dataclass(frozen=True)
class Line:
    """Piecewise linear: from `at[i]` on, `start_ps[i]` and `slope_fps[i]` a unit."""

    at: tuple[int, ...]
    start_ps: tuple[int, ...]
    slope_fps: tuple[int, ...]

    def value(self, x: int) -> int:
        i = _last_at_most(self.at, x)
        return self.start_ps[i] + (self.slope_fps[i] * (x - self.at[i]) >> FRACTION_BITS)


@dataclass(frozen=True)
class DecodeGrid:
    """Values at batches of `rows` whose mean context is one of `contexts`.

    For a whole number of rows the knots are whole contexts, and slopes whole picoseconds a token.
    """

    rows: tuple[int, ...]
    contexts: tuple[int, ...]
    ps: tuple[tuple[int, ...], ...]

    def value(self, rows: int, context: int) -> int:
        """`context` of all rows together."""
        knots = [knot * rows for knot in self.contexts]
        k = _last_at_most(knots, context)
        cell = Cell.of(self.rows, rows)
        value = cell.between([row[k] for row in self.ps])
        if len(knots) == 1:
            return value
        # Beyond the last knot the last slope goes on.
        start = min(k, len(knots) - 2)
        grown = cell.between([row[start + 1] for row in self.ps]) - cell.between([row[start] for row in self.ps])
        slope = max(grown // (knots[start + 1] - knots[start]), 0)
        return value + slope * (context - knots[k])


@dataclass(frozen=True)
class PromptGrid:
    """Values at passes of `tokens` prompt tokens, by their reach.

    That is 2 * past + new of each token's request, on average; of one prompt without a past, its length.
    """

    tokens: tuple[int, ...]
    reach: tuple[tuple[int, ...], ...]
    ps: tuple[tuple[int, ...], ...]

    def value(self, f: Features) -> int:
        reach = f.prefill_work // f.prefill_tokens
        rows = [Cell.of(knots, reach).between(row) for knots, row in zip(self.reach, self.ps, strict=True)]
        return max(Cell.of(self.tokens, f.prefill_tokens).between(rows), 0)


@dataclass(frozen=True)
class MixedGrid:
    """Values at passes with both: as in PromptGrid, then as in DecodeGrid, all in one row a number of tokens."""

    tokens: tuple[int, ...]
    reach: tuple[tuple[int, ...], ...]
    rows: tuple[int, ...]
    contexts: tuple[tuple[int, ...], ...]
    ps: tuple[tuple[int, ...], ...]

    def value(self, f: Features) -> int:
        reach = f.prefill_work // f.prefill_tokens
        mean = (f.context - f.prefill_context) // f.decode_rows
        rows = Cell.of(self.rows, f.decode_rows)

        def at(table: tuple[int, ...], contexts: tuple[int, ...], j: int) -> int:
            starts = [(j * len(self.rows) + r) * len(contexts) for r in range(len(self.rows))]
            cell = Cell.of(contexts, mean)
            return rows.between([cell.between(table[start : start + len(contexts)]) for start in starts])

        by_tokens = [
            Cell.of(knots, reach).between([at(table, contexts, j) for j in range(len(knots))])
            for knots, contexts, table in zip(self.reach, self.contexts, self.ps, strict=True)
        ]
        return max(Cell.of(self.tokens, f.prefill_tokens).between(by_tokens), 0)


@dataclass(frozen=True)
class Cell:
    """Two neighbouring knots, and how far from the first to the second: in 2^-20, beyond them too."""

    index: int
    share: int

    @staticmethod
    def of(knots: Sequence[int], x: int) -> Cell:
        if len(knots) == 1:
            return Cell(0, 0)
        i = min(_last_at_most(knots, x), len(knots) - 2)
        return Cell(i, (x - knots[i] << FRACTION_BITS) // (knots[i + 1] - knots[i]))

    def between(self, values: Sequence[int]) -> int:
        first = values[self.index]
        if self.share == 0:
            return first
        return first + ((values[self.index + 1] - first) * self.share >> FRACTION_BITS)


def _last_at_most(knots: Sequence[int], x: int) -> int:
    """The index of the last knot that is not beyond `x`, or of the first one."""
    return max(bisect_right(knots, x) - 1, 0)


@dataclass(frozen=True)
class Tabulated:
    """`host` + the greater of the floor of its launches and tokens(padded) + sequences + attention; and `draft`, if
    any drafts are verified; and what the longest context takes beyond the mean one.

    Attention is `decode` of the rows that decode, plus `prompt` of the others; or `mixed`, where it was
    measured with both in a pass.
    """

    host: Linear
    graphs: Graphs
    tokens: Line
    sequences: Line
    decode: DecodeGrid
    prompt: PromptGrid
    mixed: MixedGrid | None = None
    draft: Linear = Linear()
    longest: Line | None = None
    """By rows that decode, for 2^20 tokens by which the longest context goes beyond their mean."""

    def picoseconds(self, f: Features) -> int:
        tokens, floor = self.graphs.pad(f.prefill_tokens + f.decode_rows + f.draft_tokens, f.prefill_tokens == 0)
        # Every draft gets its logits as well.
        outputs = self.sequences.value(f.sequences + f.draft_tokens)
        device = self.tokens.value(tokens) + outputs + self._attention(f)
        return max(self.host.at(f) + self.draft.of_drafts(f) + max(device, floor), 1) + self._longest(f)

    def _longest(self, f: Features) -> int:
        if self.longest is None or f.decode_rows == 0:
            return 0
        mean = (f.context - f.prefill_context) // f.decode_rows
        return max(self.longest.value(f.decode_rows), 0) * max(f.longest - mean, 0) >> FRACTION_BITS

    def _attention(self, f: Features) -> int:
        if self.mixed is not None and f.prefill_tokens and f.decode_rows:
            return self.mixed.value(f)
        decode = self.decode.value(f.decode_rows, f.context - f.prefill_context) if f.decode_rows else 0
        return decode + (self.prompt.value(f) if f.prefill_tokens else 0)


StepTime = Affine | Polynomial | Tabulated
