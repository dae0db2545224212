"""The order in which waiting requests are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .config import EngineConfig
from .kv_cache import KvCache
from .radix_tree import RadixTree
from .state import RequestState

MATCHED_AT_MOST = 128
"""So many waiting requests are matched in a pass; more are served first come, first served."""
REFRESH_INTERVAL = 32
"""Attempts to prefill between two in which waiting requests keep their prefixes from eviction."""
SHARED_TOKENS = 32
"""What the cache must have of a request for it not to be held back for another that will bring
its prefix into the cache; and what the two must have in common."""


class WaitingQueue:
    """Requests that wait. The order found in one pass is the one that the next starts from."""

    def __init__(self, config: EngineConfig, cache: KvCache) -> None:
        self._config = config
        self._cache = cache
        self._entries = 0
        self._refreshes = 0
        self._requests: list[RequestState] = []

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[RequestState]:
        return iter(self._requests)

    def add(self, request: RequestState) -> None:
        request.queued = self._entries
        self._entries += 1
        self._requests.append(request)

    def drop(self, admitted: Sequence[RequestState]) -> None:
        self._requests = [request for request in self._requests if request not in admitted]

    def sort(self) -> None:
        config = self._config
        if config.schedule_policy == "lpm" and not config.disable_radix_cache and len(self) <= MATCHED_AT_MOST:
            self._sort_by_longest_prefix()
            return
        if config.enable_priority_scheduling:
            self._requests.sort(key=lambda request: (rank(config, request), request.queued))
        self._refresh()

    def _sort_by_longest_prefix(self) -> None:
        """Those that share a prefix with another in the queue, but not yet with the cache, last."""
        in_queue = RadixTree(page_size=1)
        held_back = set()
        for request in self._requests:
            self._cache.match(request)
            if request.prefix > SHARED_TOKENS:
                continue
            if in_queue.match(request.tokens)[0] >= SHARED_TOKENS:
                held_back.add(request)
            else:
                in_queue.insert(request.tokens, len(request.tokens))

        def key(request: RequestState) -> float:
            return (
                float("inf")
                if request in held_back
                else -min(request.prefix + request.host_prefix, len(request.tokens) - 1)
            )

        self._requests.sort(key=key)

    def _refresh(self) -> None:
        """Marks their prefixes as accessed, the head's last, so that it is evicted last."""
        if self._config.disable_radix_cache or not self._requests:
            return
        if self._refreshes % REFRESH_INTERVAL == 0:
            for request in reversed(self._requests[:MATCHED_AT_MOST]):
                self._cache.touch(request)
        self._refreshes += 1


def rank(config: EngineConfig, request: RequestState) -> int:
    """Smaller is more urgent. SGLang serves high priority values first, unless told otherwise."""
    priority = request.spec.priority
    return priority if config.schedule_low_priority_values_first else -priority
