"""Which waiting requests join a prefill: the budgets of one pass (SGLang's `PrefillAdder`)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from .config import EngineConfig
from .kv_cache import KvCache
from .state import RequestState

CLIP_MAX_NEW_TOKENS = 4096
"""No request is expected to generate more."""
RESERVED_TOKENS = 1
"""Left free for each request, in the simulation of requests of known length."""


class Verdict(Enum):
    """Whether the next request may be looked at, and if not, what ran out."""

    CONTINUE = "continue"
    NO_TOKEN = "no token"
    OTHER = "other"


class Admission:
    """What one prefill may still take. `admitted` is in batch order."""

    def __init__(self, config: EngineConfig, cache: KvCache, running: Sequence[RequestState], ratio: float) -> None:
        mixed = len(running) if config.mixes else 0
        self._config = config
        self._cache = cache
        self._running = running
        self._ratio = ratio
        self._input_left = config.max_prefill_tokens - mixed
        self._chunk_left = None if config.chunked_prefill_size is None else config.chunked_prefill_size - mixed
        # In this order: sums of floats depend on it.
        self._reserved = mixed + sum(self.expected_tokens(request) for request in running)
        """Slots promised to what runs and to what was admitted, future outputs included."""
        self._taken = mixed
        """Slots that this pass will take."""
        self._lifetimes: list[tuple[float, int]] | None = None
        self.admitted: list[RequestState] = []
        self.chunked: RequestState | None = None
        """The admitted one whose prompt goes on in the next pass."""

    @property
    def slots_left(self) -> float:
        return self._cache.available + self._cache.evictable - self._reserved

    @property
    def verdict(self) -> Verdict:
        if self.slots_left <= 0 or self._cache.available + self._cache.evictable - self._taken <= 0:
            return Verdict.NO_TOKEN
        if self._input_left <= 0 or (self._chunk_left is not None and self._chunk_left <= 0):
            return Verdict.OTHER
        return Verdict.CONTINUE

    def expected_tokens(self, request: RequestState) -> float:
        """Outputs that a running request is still to generate."""
        left = min(request.max_new_tokens - request.num_outputs, CLIP_MAX_NEW_TOKENS)
        return left * (1.0 if request.ignore_eos else self._ratio)

    def give_up(self, request: RequestState) -> None:
        """A running request is to be preempted: nothing is reserved for it any more."""
        self._reserved -= self.expected_tokens(request)

    def continue_chunked(self, request: RequestState) -> RequestState | None:
        """Adds the next chunk of a prompt, come what may. Returns it if it still is not whole."""
        assert self._chunk_left is not None
        limit = min(self._chunk_left, int(self.slots_left))
        if limit <= 0:
            limit = self._chunk_left
        rest = len(request.tokens) - request.prefix
        truncated = rest > limit
        self._add(request, min(rest, limit), reserve_outputs=not truncated)
        return request if truncated else None

    def admit(self, request: RequestState) -> Verdict:
        """Adds the request, or its first chunk, if it fits. The verdict is on the next one."""
        if request.ignore_eos and self._config.disable_radix_cache:
            return self._admit_known_length(request)
        # While it is being looked at, what it found in the cache is not there to be evicted.
        self._cache.lock_match(request)
        extend = self._extend_of(request)
        if request.host_prefix > 0 and not isinstance(extend, Verdict) and not self._cache.load_back(request):
            extend = self._extend_of(request)
        if isinstance(extend, Verdict):
            self._cache.unlock(request)
            return extend
        whole = extend == len(request.tokens) - request.prefix
        self._add(request, extend, reserve_outputs=whole)
        if not whole:
            self.chunked = request
        return self.verdict

    def _extend_of(self, request: RequestState) -> int | Verdict:
        """How many of its tokens to prefill in this pass."""
        config = self._config
        prefix = request.prefix + request.host_prefix
        extend = len(request.tokens) - prefix
        outputs = min(max(request.max_new_tokens - request.num_outputs, 0), CLIP_MAX_NEW_TOKENS)
        # What is loaded from the host needs slots as well.
        if extend + request.host_prefix + outputs + config.page_size >= self.slots_left:
            return Verdict.NO_TOKEN
        if self._chunk_left is None:
            # Nothing can cut the first prompt short, so it may exceed the budget.
            too_long = self.admitted and config.ceil_page(extend) >= self._input_left
            return Verdict.OTHER if too_long else extend
        if config.ceil_page(extend) <= self._chunk_left:
            return extend
        end = config.floor_page(prefix + config.floor_page(self._chunk_left))
        return end - prefix if end > prefix else Verdict.OTHER

    def _add(self, request: RequestState, extend: int, *, reserve_outputs: bool) -> None:
        request.extend_end = request.prefix + extend
        self.admitted.append(request)
        charge = self._config.ceil_page(extend)
        slots = charge + self._config.page_size
        # Outputs from before a retraction are reserved once more.
        outputs = min(request.max_new_tokens, CLIP_MAX_NEW_TOKENS) if reserve_outputs else 0
        self._reserved += slots + outputs
        self._taken += slots
        self._input_left -= charge
        if self._chunk_left is not None:
            self._chunk_left -= charge

    # Without a prefix cache, requests that use all their output tokens can be foreseen

    def _admit_known_length(self, request: RequestState) -> Verdict:
        config, cache = self._config, self._cache
        extend = len(request.tokens) - request.prefix
        slots = config.ceil_page(extend) + config.page_size
        free = cache.available - self._taken
        if slots > min(free, self.slots_left) or not self._all_can_finish(request, free - slots):
            return Verdict.NO_TOKEN
        if self._chunk_left is None or extend <= self._chunk_left:
            self._add(request, extend, reserve_outputs=True)
        elif self._chunk_left <= 0:
            return Verdict.OTHER
        else:
            self._add(request, self._chunk_left, reserve_outputs=False)
            self.chunked = request
        return self.verdict

    def _all_can_finish(self, request: RequestState, free: int) -> bool:
        """Whether slots suffice as requests end, the shortest first, and give theirs back."""
        if self._lifetimes is None:
            self._lifetimes = []
            for other in (request, *self._running, *self.admitted):
                self._lifetimes += self._lifetime(other)
            self._lifetimes.sort(key=lambda lifetime: lifetime[0])
        else:
            for lifetime in self._lifetime(request):
                self._insert(lifetime)
        freed = 0
        for index, (left, occupied) in enumerate(self._lifetimes):
            others = len(self._lifetimes) - index
            if free + freed - left * others <= RESERVED_TOKENS * others:
                return False
            freed += occupied
        return True

    def _lifetime(self, request: RequestState) -> list[tuple[float, int]]:
        """Outputs to go and slots in use, if there are any to go."""
        left = request.max_new_tokens * (1.0 if request.ignore_eos else self._ratio) - request.num_outputs
        return [(left, len(request.tokens))] if left > 0 else []

    def _insert(self, lifetime: tuple[float, int]) -> None:
        """Before the first that lives as long; the longest of all goes before the last."""
        assert self._lifetimes is not None
        longer = (i for i, other in enumerate(self._lifetimes) if lifetime[0] <= other[0])
        self._lifetimes.insert(next(longer, max(len(self._lifetimes) - 1, 0)), lifetime)
