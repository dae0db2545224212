"""The router protocol: a method that sees frozen views and answers with a choice and its reason, and two hooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class RouterRequest(Protocol):
    """A request to be sent somewhere. Its real output length is not among what can be known."""

    @property
    def index(self) -> int:
        """Its row in the trace."""
        ...

    @property
    def arrival_ps(self) -> int: ...
    @property
    def input_tokens(self) -> int: ...
    @property
    def max_output_tokens(self) -> int: ...
    @property
    def priority(self) -> int:
        """Smaller is served first, under a scheduler that heeds it."""
        ...

    @property
    def session(self) -> int:
        """The row of the first turn of its session; its own if it has none."""
        ...

    @property
    def cached_tokens(self) -> Sequence[int]:
        """By replica: tokens of its prompt that are in the cache now, in whole blocks.

        Looked up only for a router with the attribute `reads_cache = True`; else an AttributeError.
        """
        ...


class ReplicaView(Protocol):
    """One replica as telemetry shows it, at `time_ps`: now, or as old as the router's interval and delay make it."""

    @property
    def index(self) -> int: ...
    @property
    def time_ps(self) -> int: ...
    @property
    def running(self) -> int:
        """Requests in its batch."""
        ...

    @property
    def waiting(self) -> int:
        """Requests in its queue."""
        ...

    @property
    def requests(self) -> int:
        """Running and waiting."""
        ...

    @property
    def used_blocks(self) -> int:
        """Cache blocks that running requests hold."""
        ...

    @property
    def free_blocks(self) -> int:
        """All others, whether or not they hold a reusable prefix."""
        ...


class Choice(NamedTuple):
    """Where a request goes, and why (a few words, the same for every request of the same reason)."""

    replica: int
    reason: str = ""


class Router(Protocol):
    """`route` is called once a request, in order of arrival.

    May keep state of its own; mutates nothing else. Whatever it raises ends the run and passes through, with a
    note of the method, the request and the time. If it has them, these are called as well:

    - `first_token(request: int, replica: int, time_ps: int)` when a request's first token reaches its client,
    - `ended(request: int, replica: int, time_ps: int)` when a request leaves its replica.

    With an attribute `reads_cache = True`, requests tell their `cached_tokens`.
    """

    def route(self, request: RouterRequest, replicas: Sequence[ReplicaView]) -> Choice: ...
