"""The curves of single operators against timings that were kept from their fit."""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..catalog import GPUS, Gpu
from ..timing.operators import Curve, operator_curve
from .readers import READERS
from .readers.base import Timing
from .timings import SYSTEMS, timings

TARGETS = dict.fromkeys(READERS, 0.08) | {"experts": 0.12, "all_reduce": 0.15, "collective": 0.15}
"""Median errors that are wanted."""

SIBLINGS = {
    "h100": "h200",
    "h200": "h100",
    "b200": "gb200",
    "gb200": "b200",
    "b300": "gb300",
    "gb300": "b300",
}
"""Of a GPU's generation: its curve stands in, as it would were the GPU not measured."""

MOST = 2000
"""Shapes that are looked at, of each kind and GPU."""


@dataclass(frozen=True)
class Errors:
    """Of one operator, kind and GPU; relative, of the absolute difference."""

    operator: str
    kind: str
    gpu: str
    shapes: int
    median: float
    p90: float
    sibling: str | None
    sibling_median: float | None
    """With the sibling's curve, over all shapes: what a GPU that was not measured can expect."""


def operator_errors(folder: Path) -> Iterator[Errors]:
    """For every operator and GPU with timings."""
    for operator in TARGETS:
        for system, gpu in SYSTEMS.items():
            kinds: dict[str, list[Timing]] = defaultdict(list)
            for one in timings(folder, operator, system):
                kinds[one.kind].append(one)
            for kind, shapes in sorted(kinds.items()):
                curve = operator_curve(operator, kind, gpu)
                held_out = [one for one in shapes if one.held_out]
                if curve is not None and held_out:
                    yield _errors(operator, kind, gpu, curve, held_out, shapes)


def _errors(operator: str, kind: str, gpu: str, curve: Curve, held_out: list[Timing], shapes: list[Timing]) -> Errors:
    own = sorted(_differences(curve, _some(held_out)))
    sibling = SIBLINGS.get(gpu)
    other = None if sibling is None else operator_curve(operator, kind, sibling)
    return Errors(
        operator,
        kind,
        gpu,
        len(own),
        statistics.median(own),
        own[int(0.9 * len(own))],
        sibling if other is not None else None,
        None
        if other is None or sibling is None
        else statistics.median(_transferred(other, GPUS[gpu], GPUS[sibling], _some(shapes))),
    )


def _some(shapes: list[Timing]) -> list[Timing]:
    return shapes if len(shapes) <= MOST else random.Random(0).sample(shapes, MOST)


def _transferred(curve: Curve, gpu: Gpu, sibling: Gpu, shapes: list[Timing]) -> list[float]:
    return [abs(curve.seconds_like(one.on(gpu), one.on(sibling)) / one.seconds - 1) for one in shapes]


def _differences(curve: Curve, shapes: list[Timing]) -> list[float]:
    return [abs(curve.seconds(one.load) / one.seconds - 1) for one in shapes]
