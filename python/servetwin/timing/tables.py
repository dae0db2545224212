"""A pass as tables of whole picoseconds: what the core looks up, before it is written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from .base import FRACTION_BITS, Lowered, PassLimits, affine
from .graphs import Captured
from .host import Host


@dataclass(frozen=True)
class Line:
    at: tuple[int, ...]
    start_ps: tuple[int, ...]
    slope_fps: tuple[int, ...]

    @classmethod
    def through(cls, knots: Sequence[int], values: Sequence[int]) -> Line:
        """Beyond the last point the last slope goes on, if it rises."""
        points = list(zip(knots, values, strict=True))
        slopes = [((next_y - y) << FRACTION_BITS) // (next_x - x) for (x, y), (next_x, next_y) in pairwise(points)]
        return cls(tuple(knots), tuple(values), (*slopes, max(slopes[-1], 0) if slopes else 0))

    def value(self, x: int) -> int:
        i = max(sum(knot <= x for knot in self.at) - 1, 0)
        return self.start_ps[i] + (self.slope_fps[i] * (x - self.at[i]) >> FRACTION_BITS)


@dataclass(frozen=True)
class DecodeGrid:
    """By rows, then by the mean context of each."""

    rows: tuple[int, ...]
    contexts: tuple[int, ...]
    ps: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class PromptGrid:
    """By tokens, then by reach: 2·past + new of each token's request, on average."""

    tokens: tuple[int, ...]
    reach: tuple[tuple[int, ...], ...]
    ps: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class MixedGrid:
    """By tokens; then by reach, rows and mean context in one, with knots for each number of tokens."""

    tokens: tuple[int, ...]
    reach: tuple[tuple[int, ...], ...]
    rows: tuple[int, ...]
    contexts: tuple[tuple[int, ...], ...]
    ps: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Measured:
    """How far what the tables stand on was measured: up to so many tokens; for each batch that decodes, up to a mean
    context; for each number of prompt tokens, up to a reach."""

    tokens: int
    rows: tuple[int, ...]
    contexts: tuple[int, ...]
    prompts: tuple[int, ...]
    reach: tuple[int, ...]


@dataclass(frozen=True)
class PassTables:
    """Of all layers, in picoseconds; the host's share comes beside them."""

    tokens: Line
    sequences: Line
    decode: DecodeGrid
    prompt: PromptGrid
    mixed: MixedGrid | None = None
    longest: Line | None = None
    """By rows that decode, for 2²⁰ tokens by which the longest context goes beyond their mean; None: nothing."""
    measured: Measured | None = None
    """None where nothing was."""

    @classmethod
    def of(cls, values: dict[str, Any]) -> PassTables:
        """From what `asdict` made of one."""
        mixed, longest, measured = values["mixed"], values["longest"], values["measured"]
        return cls(
            Line(**_frozen(values["tokens"])),
            Line(**_frozen(values["sequences"])),
            DecodeGrid(**_frozen(values["decode"])),
            PromptGrid(**_frozen(values["prompt"])),
            None if mixed is None else MixedGrid(**_frozen(mixed)),
            None if longest is None else Line(**_frozen(longest)),
            None if measured is None else Measured(**_frozen(measured)),
        )

    def lower(self, host: Host, captured: Captured, layers: int, limits: PassLimits, error_share: float) -> Lowered:
        launches = host.launches
        description: dict[str, Any] = {
            "kind": "tabulated",
            "host": affine(base_ps=host.pass_ps, sequence_ps=host.row_ps),
            "graphs": {
                "decode_sizes": captured.decode,
                "piecewise_sizes": captured.piecewise,
                "padded": captured.padded,
                "piecewise_ps": round(layers * launches.piecewise_us * 1_000_000),
                "eager_ps": round(layers * launches.eager_us * 1_000_000),
            },
            **self._described,
        }
        return Lowered(description, error_ps=0, greatest_ps=self._greatest(host, limits), error_share=error_share)

    @cached_property
    def _described(self) -> dict[str, Any]:
        """Shared by all descriptions with these tables."""
        return asdict(self)

    def _greatest(self, host: Host, limits: PassLimits) -> int:
        """More than any pass within the limits takes: every table's greatest value, as far beyond it as they reach."""
        decode = _reached(self.decode.ps, limits.rows / self.decode.rows[-1], limits.length / self.decode.contexts[-1])
        beyond = (
            limits.tokens / self.prompt.tokens[-1],
            2 * limits.length / min(knots[-1] for knots in self.prompt.reach),
        )
        prompt = _reached(self.prompt.ps, *beyond)
        mixed = 0 if self.mixed is None else _reached(self.mixed.ps, *beyond)
        host_ps = host.pass_ps + host.row_ps * limits.rows
        rest = self.tokens.value(limits.tokens) + self.sequences.value(limits.rows)
        longest = 0 if self.longest is None else max(map(self.longest.value, (*self.longest.at, limits.rows)))
        unequal = max(longest, 0) * limits.length >> FRACTION_BITS
        return host_ps + max(rest, 0) + decode + max(prompt, mixed) + unequal


def _reached(table: tuple[tuple[int, ...], ...], *beyond: float) -> int:
    greatest = float(max(max(row) for row in table))
    for share in beyond:
        greatest *= max(share, 1.0)
    return int(greatest)


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _frozen(inner) for name, inner in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value
