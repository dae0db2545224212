"""What a run leaves behind: one record a pass, one a request.

The native core writes the same records, so that the two can be compared field by field. Requests
are named by their row in the workload, times are picoseconds, `None` means "never".
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class PassRecord:
    """One `schedule()` call that scheduled or preempted something, and what came of it."""

    t_ps: int
    """When the device starts on the pass."""
    dt_ps: int
    """How long it takes; 0 if it only preempts."""
    scheduled_at_ps: int
    """When `schedule()` was called: earlier than `t_ps` under async scheduling."""
    scheduled: list[list[int]]
    """Rows in batch order: request, tokens, tokens computed before, drafts among the tokens."""
    free: int
    """Free blocks after `schedule()`."""
    free_end: int | None
    """Free blocks after the pass's outputs were processed; `None` if the run ended before."""
    running: int
    waiting: int
    new: list[int] = field(default_factory=list)
    resumed: list[int] = field(default_factory=list)
    preempted: list[int] = field(default_factory=list)
    """Victims, in order."""
    finished: list[int] = field(default_factory=list)
    blocks: dict[int, list[int]] = field(default_factory=dict)
    """All blocks of an admitted request; for one already running, those it got in this pass."""
    accepted: dict[int, int] = field(default_factory=dict)
    """Drafts accepted and delivered, of rows that carried some."""


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
    cached_resume: list[int] = field(default_factory=list)
    """The same at each resumption after a preemption."""
    preemptions: int = 0
    passes: int = 0
    """Passes in which it had a row."""
    output_times: list[list[int]] = field(default_factory=list)
    """Each delivery: time and number of tokens."""


@dataclass(frozen=True)
class Stuck:
    """Nothing runs, and nothing that waits can be admitted: the engine would spin for ever."""

    t_ps: int
    waiting: list[int]
    """In the order of the queue."""


@dataclass
class RunRecord:
    """Everything about one run of one worker."""

    passes: list[PassRecord]
    requests: list[RequestRecord]
    end_ps: int
    stuck: Stuck | None = None
