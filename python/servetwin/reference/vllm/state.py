"""What the scheduler knows of a request that has arrived."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ..request import Request


class Status(Enum):
    WAITING = "waiting"
    LOADING = "loading"
    """Waits for blocks that are being filled; vLLM: WAITING_FOR_REMOTE_KVS."""
    RUNNING = "running"
    PREEMPTED = "preempted"
    FINISHED = "finished"


@dataclass(eq=False)
class RequestState:
    """One request inside the scheduler; compared by identity."""

    spec: Request
    arrival_ps: int
    tokens: list[int]
    """Prompt and outputs so far; the last output is not computed yet."""
    status: Status = Status.WAITING
    computed: int = 0
    """Tokens whose KV is stored, those of passes still in flight and drafts included."""
    drafts: int = 0
    """Draft tokens proposed for the next pass."""
    placeholders: int = 0
    """Async: outputs that passes in flight will deliver, if all their drafts are accepted."""
    in_flight: int = 0
    """Tokens of passes scheduled and not yet processed."""
    stale: int = 0
    """The part of `in_flight` from before a preemption: delivered, but counting for nothing."""
    eligible: int = 0
    """Async: the call of `schedule()` from which on it may decode; vLLM: next_decode_eligible_step."""
    last_pass: int = 0
    """The number of the last pass it had a part in."""
    preemptions: int = 0
    prefilling: bool = False
    """Whether its last pass ended short of its last token."""
    blocks: list[int] = field(default_factory=list)
    hashed: int = 0
    """How many of `blocks`, from the first, are in the prefix cache."""
    keys: list[int] = field(default_factory=list)
    """The keys of its full blocks."""
    others: list[list[int | None]] = field(default_factory=list)
    """The block tables of groups that do not keep every token: None where a block is no longer needed."""
    others_stored: int = 0
    """The places of these tables that have been looked at for the prefix cache."""
    junction: int = 0
    """Tokens that full attention alone had of it, where the other groups had less; vLLM: shared_prefix_boundary."""

    @property
    def num_prompt(self) -> int:
        return len(self.spec.prompt)

    @property
    def num_outputs(self) -> int:
        return len(self.tokens) - len(self.spec.prompt)

    @property
    def limit(self) -> int:
        """vLLM has no limit of 0; a prefill only is stopped by other means."""
        return max(1, self.spec.max_output_tokens)
