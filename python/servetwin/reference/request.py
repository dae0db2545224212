"""What a worker is asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One request of the workload. Exactly one of `arrival_ps` and `step` is set."""

    index: int
    """Its row: names it in records, and in draws of accepted drafts."""
    prompt: Sequence[int]
    """Token ids, at least one."""
    outputs: Sequence[int]
    """Token ids the model will really generate; none for a prefill only."""
    max_output_tokens: int
    """The client's limit, all that the scheduler knows of the length of the output."""
    arrival_ps: int | None = None
    step: int | None = None
    """Arrives right before the `schedule()` call of this number, instead of at a time."""
    priority: int = 0
    """Smaller is served first, under the priority policy."""
    id_rank: int = 0
    """Rank of its id among all ids as strings: the last tie-break of the priority policy."""
