"""The pool of KV slots, shared by the requests and the prefix cache."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ServetwinError
from .config import EngineConfig
from .copies import Copies
from .hicache_tree import HiCacheTree
from .radix_tree import RadixTree
from .state import RequestState

LOAD_BACK_TOKENS = 10
"""Fewer are not worth a copy (SGLang's load_back_threshold)."""


class KvCache:
    """Counts free slots, in whole pages, and says what is found in the tree.

    With the radix cache off there is no tree: nothing is found, kept or evicted.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._tree: RadixTree | None = None
        self.copies: Copies | None = None
        """Between device and host, with HiCache."""
        if config.hicache is not None:
            self._tree = HiCacheTree(config.page_size, config.hicache)
            self.copies = Copies(self._tree, config.hicache)
        elif not config.disable_radix_cache:
            self._tree = RadixTree(config.page_size)
        self.available = config.max_total_tokens
        self.free_rows = config.max_running_requests

    @property
    def evictable(self) -> int:
        return 0 if self._tree is None else self._tree.evictable

    # Looking things up

    def match(self, request: RequestState, limit: int | None = None) -> None:
        """Notes the longest stored prefix of the request's first `limit` tokens."""
        if isinstance(self._tree, HiCacheTree):
            found = self._tree.find(request.tokens, limit)
            request.prefix, request.matched = found.device, found.device_node
            request.host_prefix, request.host_matched = found.host, found.host_node
        elif self._tree is not None:
            request.prefix, request.matched = self._tree.match(request.tokens, limit)

    def match_for_prefill(self, request: RequestState) -> None:
        """The last token is always computed, to have something to sample from."""
        self.match(request, len(request.tokens) - 1)
        request.owned_by_tree = request.prefix

    def touch(self, request: RequestState) -> None:
        """Marks its stored prefix as accessed."""
        if self._tree is not None:
            self._tree.match(request.tokens)

    # Holding

    def lock_match(self, request: RequestState) -> None:
        if self._tree is not None and request.matched is not None:
            self._tree.lock(request.matched)
            request.locked = request.matched

    def unlock(self, request: RequestState) -> None:
        if self._tree is not None and request.locked is not None:
            self._tree.unlock(request.locked)
        request.locked = None

    def load_back(self, request: RequestState) -> bool:
        """Takes slots for the part of its prefix that is on the host, for its pass to load.

        If it is not worth it, or there is no room, the request has to do without.
        """
        tree, copies, node = self._tree, self.copies, request.host_matched
        assert isinstance(tree, HiCacheTree)
        assert copies is not None
        assert node is not None
        tokens, request.host_prefix = request.host_prefix, 0
        tree.lock(node)
        loads = tokens >= LOAD_BACK_TOKENS and self.make_room(tokens)
        if loads:
            self.available -= tokens
            tree.load_back(node)
            copies.loading.append((node, tokens))
            request.prefix += tokens
            request.owned_by_tree = request.prefix
            self.unlock(request)
            request.matched = request.locked = node
        else:
            tree.unlock(node)
        return loads

    def make_room(self, tokens: int) -> bool:
        """Evicts until `tokens` are available, if it can; returns whether they are."""
        shortfall = tokens - self.available
        if shortfall > 0 and self._tree is not None:
            self.available += self._tree.evict(shortfall)
        return self.available >= tokens

    def extend(self, requests: Sequence[RequestState]) -> None:
        """Gives each the slots of its prefill. Room is made for a page more than each may need."""
        config = self._config
        tokens = sum(request.extend_tokens for request in requests)
        self.make_room(tokens + (len(requests) * config.page_size if config.page_size > 1 else 0))
        for request in requests:
            self.free_rows -= not request.holds_row
            request.holds_row = True
            self.available -= config.ceil_page(request.extend_end) - config.ceil_page(request.prefix)
            request.kv_tokens = request.device_tokens = request.extend_end
            request.allocated = config.ceil_page(request.extend_end)
            request.has_decoded = False
        if self.available < 0:
            raise ServetwinError("SGLang fails here: prefill out of memory")

    def fits_decode(self, requests: Sequence[RequestState]) -> bool:
        """Makes room for one more token of each: a new page where the last one is full."""
        return self.make_room(sum(map(self._slots_to_decode, requests)))

    def _slots_to_decode(self, request: RequestState) -> int:
        ahead = self._config.decode_reserve_tokens if self._config.drafts else 1
        return max(self._config.ceil_page(request.kv_tokens + ahead) - request.allocated, 0)

    def decode(self, requests: Sequence[RequestState]) -> None:
        """Gives each a slot more, or those that it reserves for drafts. Room is made for more than that."""
        self.make_room(self._room_to_decode(requests))
        for request in requests:
            slots = self._slots_to_decode(request)
            self.available -= slots
            request.allocated += slots
            request.kv_tokens += not self._config.drafts
            request.has_decoded = True
        assert self.available >= 0, "it was seen to fit"

    def _room_to_decode(self, requests: Sequence[RequestState]) -> int:
        """Without drafts a page each, needed or not. With them, if anything is needed, a page each beside it; and
        the rest of a prompt's last page counts as needed until the request has decoded."""
        page = self._config.page_size
        if not self._config.drafts:
            return page * len(requests)
        needed = sum(map(self._slots_to_decode, requests))
        if page == 1 or not needed:
            return needed
        rest = sum(request.allocated - request.kv_tokens for request in requests if not request.has_decoded)
        return needed + rest + page * len(requests)

    # Giving back

    def store(self, request: RequestState, end: int) -> None:
        """Hands the request's first `end` tokens to the tree, in whole pages.

        Slots of tokens that the tree already has are freed. Where the prompt ends, the tree is
        split, so that the output can be evicted without it.
        """
        tree = self._tree
        if tree is None:
            return
        duplicates, node = tree.insert(request.tokens, end, request.owned_by_tree, request.entered)
        end = self._config.floor_page(end)
        self.available += duplicates
        request.entered = max(request.entered, end)
        prompt = self._config.floor_page(request.num_prompt)
        if 0 < prompt < end:
            tree.insert(request.tokens, prompt, prompt, prompt)
        self.unlock(request)
        request.matched = node
        request.owned_by_tree = end
        self.lock_match(request)

    def release(self, request: RequestState) -> None:
        """Frees what is the request's own."""
        self.available += request.allocated - request.owned_by_tree
        self.unlock(request)
        self.free_rows += 1
        request.holds_row = False
        request.kv_tokens = request.owned_by_tree = request.prefix = request.allocated = request.entered = 0
        request.matched = None
