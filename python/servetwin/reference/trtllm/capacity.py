"""Who may hold blocks in a pass: TensorRT-LLM's capacity scheduler (batch_manager/capacityScheduler.cpp)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .kv_cache import KvCache
from .state import RequestState

Pause = Callable[[RequestState], None]


class ContributedBlocks:
    """Blocks that contexts of this pass will fill: whoever begins with one of them had better wait and find it."""

    def __init__(self, cache: KvCache, active: Sequence[RequestState]) -> None:
        self._cache = cache
        executing = (request for request in active if request.started and not request.generating)
        self._keys = {cache.first_new_block(request) for request in executing} - {None}

    def beneficial_to_skip(self, request: RequestState) -> bool:
        """Whether another request computes this one's first new block. If not, this one does."""
        if request.started:
            return False
        key = self._cache.first_new_block(request)
        if key is None:
            return False
        if key in self._keys:
            return True
        self._keys.add(key)
        return False


def guaranteed_no_evict(cache: KvCache, active: Sequence[RequestState]) -> list[RequestState]:
    """All that started, and further contexts as long as all could run to their limits. Nobody is ever paused.

    The engine looks at started contexts in order among the others. One that was skipped and no longer is, and that
    does not fit, would then keep those behind it from going on, and they it from starting, for ever.
    """
    contributed = ContributedBlocks(cache, active)
    fitting = sorted((one for one in active if one.started), key=lambda one: not one.generating)
    available = cache.pool.num_free - sum(map(cache.to_completion, fitting))
    for request in active:
        if request.started or contributed.beneficial_to_skip(request):
            continue
        needed = cache.to_completion(request)
        if needed > available:
            break
        available -= needed
        fitting.append(request)
    return fitting


def static_batch(cache: KvCache, active: Sequence[RequestState]) -> list[RequestState]:
    """As above, but contexts only once nobody generates."""
    generating = [request for request in active if request.generating]
    if generating:
        return generating
    available = cache.pool.num_free
    fitting = []
    for request in active:
        needed = cache.to_completion(request)
        if needed > available:
            break
        available -= needed
        fitting.append(request)
    return fitting


def max_utilization(cache: KvCache, active: Sequence[RequestState], pause: Pause) -> list[RequestState]:
    """In order, as long as the next step fits. Where it does not, the last that holds blocks is paused."""
    contributed = ContributedBlocks(cache, active)
    fitting: list[RequestState] = []
    scheduled = 0
    index, end = 0, len(active)
    while index < end:
        request = active[index]
        if contributed.beneficial_to_skip(request):
            index += 1
            continue
        needed = cache.next_step(request)
        if scheduled + needed <= cache.pool.num_free:
            scheduled += needed
            fitting.append(request)
            index += 1
            continue
        victim = next((i for i in range(end - 1, index - 1, -1) if active[i].started), None)
        if victim is None:
            break
        pause(active[victim])
        end = victim
    return fitting
