"""What the scheduler knows of a request that has arrived."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..request import Request


@dataclass(eq=False)
class RequestState:
    """One request inside the scheduler; compared by identity."""

    spec: Request
    limit: int
    """Tokens it may give, cut to max_seq_len."""
    tokens: list[int]
    """Prompt and outputs so far; the last output is not computed yet."""
    computed: int = 0
    """Tokens whose KV is stored, those of the pass under way included."""
    chunk: int = 0
    """Tokens of its context in the pass that is being decided."""
    generating: bool = False
    """Whether its context is computed whole: it gets a token in each pass."""
    blocks: list[int] = field(default_factory=list)
    hashed: int = 0
    """How many of `blocks`, from the first, can be found by others."""
    keys: list[int] = field(default_factory=list)
    """The keys of its full blocks."""
    paused_before: bool = False
    verified: int = 0
    """Passes in which it had drafts to verify."""
    in_flight: bool = False
    """Of a pipeline: whether a pass under way has a part of it."""
    finished: bool = False

    @property
    def started(self) -> bool:
        """Whether it holds blocks."""
        return bool(self.blocks)

    @property
    def num_outputs(self) -> int:
        return len(self.tokens) - len(self.spec.prompt)

    @property
    def target(self) -> int:
        """Tokens it will give; a request without output gets one that is dropped."""
        return min(max(len(self.spec.outputs), 1), self.limit)
