"""Takes the times: warm-up, then medians, with the caches emptied before each."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .plan import Operation, Task

WARM_UP, TIMES = 3, 15


class Clock(Protocol):
    """A GPU that operations run on."""

    def prepare(self, operation: Operation) -> Callable[[], float]:
        """What runs it once on operands of its own, and returns the microseconds it took."""
        ...

    def describe(self) -> dict[str, str | int | float]:
        """What is measured on: device, clocks, versions."""
        ...


@dataclass(frozen=True)
class Measured:
    task: Task
    time_us: float
    """The median."""
    spread: float
    """Half the distance between the quartiles, relative to the median."""


def measure(tasks: Sequence[Task], clock: Clock, done: Callable[[int], None] = lambda _: None) -> list[Measured]:
    """Each task's time; `done` is told how many are."""
    found = []
    for number, task in enumerate(tasks, 1):
        once = clock.prepare(task.operation)
        for _ in range(WARM_UP):
            once()
        times = [once() for _ in range(TIMES)]
        low, middle, high = statistics.quantiles(times, n=4)
        found.append(Measured(task, middle, (high - low) / 2 / middle if middle else 0.0))
        done(number)
    return found
