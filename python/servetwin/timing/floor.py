"""The least that a pass can take, whatever else is in it: what proofs about a deployment stand on.

Attention is left out, since a pass may be made of rows that decode and of prompts in any mixture; what all tokens
share, such as reading the weights, is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .tables import Line


@dataclass(frozen=True)
class Floor:
    """Lower bounds in picoseconds, from a lowered description."""

    base_ps: int
    sequence_ps: int
    lines: tuple[tuple[Line, Line], ...]
    """Of the tokens and of the sequences of a pass; the slowest pair counts."""

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Floor | None:
        """None where nothing is known: speculation gives several tokens a pass, and polynomials may fall."""
        host = description.get("host", {})
        terms = [host, *description.get("terms", ())]
        if "draft" in description or any(value < 0 for term in terms for value in term.values()):
            return None
        if description["kind"] == "tabulated":
            pairs = [(_line(description["tokens"]), _line(description["sequences"]))]
        elif description["kind"] == "affine":
            pairs = [
                (_straight(term["base_ps"], _each(term)), _straight(0, term["sequence_ps"]))
                for term in description["terms"]
            ]
        else:
            return None
        tokens_ps = _each(host)
        return cls(host["base_ps"], host["sequence_ps"] + tokens_ps, tuple(pairs))

    def pass_ps(self, tokens: int, sequences: int) -> int:
        """No pass over `tokens` tokens or more, of so many requests or more, takes less."""
        slowest = max((_least(of, tokens) + _least(heads, sequences) for of, heads in self.lines), default=0)
        return max(self.base_ps + self.sequence_ps * sequences + slowest, 1)

    @lru_cache(maxsize=1024)  # noqa: B019 - floors are few, and shared by thousands of candidates
    def tokens_per_s(self, rows: int) -> float:
        """No replica gives out more, with up to `rows` requests in a pass."""
        return max(n * 1e12 / self.pass_ps(n, n) for n in self._knots(rows))

    @lru_cache(maxsize=1024)  # noqa: B019
    def prompt_ps(self, tokens: int, budget: int) -> float:
        """No prompt of so many tokens or more is computed sooner, with up to `budget` of them in a pass.

        The cheapest passes for a token, as many as it takes of them.
        """
        most = max(min(tokens, budget), 1)
        return max(tokens, 1) * min(self.pass_ps(n, 1) / n for n in self._knots(most))

    def _knots(self, most: int) -> list[int]:
        """Between them all is straight, and what a token costs rises or falls all along."""
        found = {knot for pair in self.lines for line in pair for knot in line.at}
        return sorted({1, most, *(knot for knot in found if 1 <= knot <= most)})


def _each(term: Mapping[str, int]) -> int:
    """A token costs this at least, be it of a prompt or of a row that decodes."""
    return min(term["prefill_token_ps"], term["decode_row_ps"])


def _line(values: Mapping[str, Any]) -> Line:
    return Line(tuple(values["at"]), tuple(values["start_ps"]), tuple(values["slope_fps"]))


def _straight(base_ps: int, slope_ps: int) -> Line:
    return Line.through((0, 1), (base_ps, base_ps + slope_ps))


def _least(line: Line, x: int) -> int:
    """At `x` and beyond."""
    return min([line.value(x), *(value for knot, value in zip(line.at, line.start_ps, strict=True) if knot > x)])
