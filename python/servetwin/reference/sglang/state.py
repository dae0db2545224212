"""What the scheduler knows of a request that has arrived."""

from __future__ import annotations

from dataclasses import dataclass

from ..request import Request
from .radix_tree import Node


@dataclass(eq=False)
class RequestState:
    """One request inside the scheduler; compared by identity.

    Its KV is `kv_tokens` long. The first `owned_by_tree` of it belong to the tree, which it keeps
    locked from `locked` upwards; the rest is its own.
    """

    spec: Request
    tokens: list[int]
    """Prompt and outputs so far; the last output has no KV yet."""
    num_prompt: int
    max_new_tokens: int
    ignore_eos: bool
    aborted: bool = False
    """Its prompt is too long: one token stands for it, and ends it when it is prefilled."""
    queued: int = 0
    """Counts the entries into the queue, in which a request can be more than once."""
    tried_tokens: int = 0
    """Its tokens when it was last looked at for a prefill; 0 if it never was."""
    prefix: int = 0
    """Tokens with KV before its current or next prefill."""
    host_prefix: int = 0
    """Tokens beyond whose KV is on the host."""
    extend_end: int = 0
    """Where that prefill ends."""
    kv_tokens: int = 0
    """With drafts, those whose outcomes are known."""
    device_tokens: int = 0
    """With drafts, those that are there once what is launched has run."""
    allocated: int = 0
    """Slots it holds: whole pages, for more than its KV where it verifies drafts."""
    has_decoded: bool = False
    """Since it was last prefilled."""
    verified: int = 0
    """Passes in which it had drafts to verify."""
    owned_by_tree: int = 0
    matched: Node | None = None
    """Where its last match in the tree ended, and where what of it is on the host did."""
    host_matched: Node | None = None
    entered: int = 0
    """Tokens that it has entered into the tree since it was admitted."""
    locked: Node | None = None
    holds_row: bool = False
    """It has one of the engine's `max_running_requests` rows."""
    retracted: bool = False
    """It lost its KV, and has not been prefilled since."""
    finished: bool = False

    @property
    def num_outputs(self) -> int:
        return len(self.tokens) - self.num_prompt

    @property
    def extend_tokens(self) -> int:
        return self.extend_end - self.prefix
