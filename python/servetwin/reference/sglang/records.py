"""What a run leaves behind: one record a pass, one a request.

The native core writes the same records, so that the two can be compared field by field. Requests
are named by their row in the workload, times are picoseconds, `None` means "never".
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class PassRecord:
    """One pass of the scheduler's loop that made a batch, or took requests out of one."""

    t_ps: int
    """When the device starts on it."""
    dt_ps: int
    scheduled_at_ps: int
    """When it was decided: earlier than `t_ps` in the overlap loop."""
    kind: str
    """E(xtend), D(ecode), M(ixed), or - if requests were taken out and no batch was made."""
    scheduled: list[list[int]]
    """Rows in batch order: request, tokens, tokens with KV before."""
    waiting: int
    running: int
    """In the running batch, which those of a prefill join only when the next pass is decided."""
    available: int
    """Free KV slots once the pass is decided."""
    evictable: int
    """Slots of the prefix cache that nobody uses."""
    ratio: float
    """The new-token ratio."""
    retracted: list[int] = field(default_factory=list)
    """Decodes that ran out of memory, in order."""
    preempted: list[int] = field(default_factory=list)
    """By more urgent requests, in order."""
    chunked: int | None = None
    """The request whose prefill goes on in the next pass."""
    finished: list[int] = field(default_factory=list)
    available_end: int | None = None
    """Once the pass's outputs are processed; `None` if the run ended before."""
    evictable_end: int | None = None


@dataclass
class RequestRecord:
    """The life of a request."""

    id: int
    arrival_ps: int | None = None
    first_scheduled_ps: int | None = None
    first_token_ps: int | None = None
    finish_ps: int | None = None
    n_in: int = 0
    n_out: int = 0
    cached: int | None = None
    """Tokens found in the prefix cache when first scheduled."""
    retractions: int = 0
    """Preemptions included."""


@dataclass(frozen=True)
class Stuck:
    """No batch can be made of what waits: the engine would spin for ever."""

    t_ps: int
    live: list[int]
    """Requests that have arrived and not finished."""


@dataclass
class RunRecord:
    """Everything about one run of one worker."""

    passes: list[PassRecord]
    requests: list[RequestRecord]
    end_ps: int
    stuck: Stuck | None = None
