"""What a reader makes of a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...catalog import Gpu
from ...timing.operators import Load

Row = dict[str, Any]


@dataclass(frozen=True)
class Timing:
    """One measured operator."""

    kind: str
    on: Callable[[Gpu], Load]
    """What its shape asks of a GPU."""
    load: Load
    """What it asks of the one it was measured on."""
    seconds: float
    held_out: bool
    """Whether its shape is kept from the fit: a fifth of the shapes, by the sizes of model and context."""


@dataclass(frozen=True)
class Table:
    """Where an operator's timings are, and how a row is read; None: not of an operator here."""

    files: str
    """Below a GPU's folder; of several versions, the latest counts."""
    read: Callable[[Gpu, Row], Timing | None]


def timing(
    gpu: Gpu,
    kind: str,
    on: Callable[[Gpu], Load],
    row: Row,
    held_out: bool,
    unit: float = 1e-3,
) -> Timing:
    """`unit`: seconds of one of its latency."""
    return Timing(kind, on, on(gpu), row["latency"] * unit, held_out)


def fifth(*sizes: int) -> bool:
    """Whether these sizes are among the fifth that is held out."""
    number = 0
    for size in sizes:
        number = (number * 1_000_003 + size) % 2_147_483_647
    return number * 2_654_435_761 % 2**32 < 2**32 // 5
