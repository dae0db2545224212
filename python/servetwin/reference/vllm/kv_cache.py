"""The block table of each request, and prefix hits."""

from __future__ import annotations

from collections.abc import Sequence

from .block_pool import BlockPool, PrefixKeys
from .config import EngineConfig
from .groups import GroupTables
from .state import RequestState


class KvCache:
    """Gives blocks to requests and takes them back. Mutates the requests' block tables."""

    def __init__(self, config: EngineConfig) -> None:
        self._block_size = config.block_size
        self._max_model_len = config.max_model_len
        self._caching = config.enable_prefix_caching
        self._drop_last_hit = config.eagle_block_drop
        self._keys = PrefixKeys(config.block_size)
        self.pool = BlockPool(
            config.num_gpu_blocks,
            caching=config.enable_prefix_caching,
            unhashed_first=config.rules.unhashed_blocks_reused_first,
        )
        self.others = None if config.groups is None else GroupTables(config, config.groups, self.pool)

    def name_blocks(self, request: RequestState) -> None:
        """Names the blocks that the request's newest tokens have filled."""
        if self._caching:
            self._keys.extend(request.keys, request.tokens)

    def find_prefix(self, request: RequestState) -> list[int]:
        """The longest stored prefix, in whole blocks, short of the request's last token.

        That token must be computed, to have something to sample from: so a prompt that is a
        whole number of blocks and fully stored gives up its last block. A drafting head gives up
        one more, to have hidden states to start from.
        """
        hit: list[int] = []
        for key in request.keys[: (len(request.tokens) - 1) // self._block_size]:
            block = self.pool.find(key)
            if block is None:
                break
            hit.append(block)
        if self._drop_last_hit:
            hit = hit[:-1]
        if self.others is not None and self._caching:
            hit = hit[: self.others.find(request, len(hit))]
        return hit

    def blocks_to_admit(
        self, request: RequestState, hit: Sequence[int], tokens: int, ahead: int = 0, *, whole: bool = False
    ) -> int:
        """How many free blocks a waiting request uses up to hold `tokens` tokens and `ahead` slots.

        Blocks that it hits and nobody holds leave the free queue too. `whole`: these are all of its tokens, a test.
        """
        blocks = max(self._slots(tokens + ahead) - len(hit), 0) + sum(map(self.pool.is_free, hit))
        if self.others is not None:
            blocks += self.others.to_admit(request, tokens, ahead, len(hit), whole=whole)
        return blocks

    def missing(self, request: RequestState, tokens: int) -> int:
        """Blocks that a request is yet to take for its first `tokens` tokens."""
        return max(self._slots(tokens) - len(request.blocks), 0)

    def admit_loading(self, request: RequestState, hit: Sequence[int], tokens: int) -> None:
        """As `admit`, but the new blocks are yet to be filled, so nobody can hit them."""
        self.pool.hold(hit)
        request.hashed = len(hit)
        request.blocks = [*hit, *self.pool.take(self._slots(tokens) - len(hit))]

    def admit(self, request: RequestState, hit: Sequence[int], tokens: int, ahead: int) -> None:
        """Gives a waiting request its hit, and blocks for `tokens` tokens in all and `ahead` slots."""
        assert not request.blocks
        self.pool.hold(hit)
        request.blocks = list(hit)
        request.hashed = len(hit)
        if self.others is not None:
            self.others.admit(request, len(hit))
        self._extend(request, tokens, ahead)

    def grow(self, request: RequestState, tokens: int, ahead: int) -> list[int] | None:
        """Gives a running request blocks for `tokens` tokens in all and `ahead` slots.

        Returns the new ones, or None, changing nothing, if too few are free.
        """
        new = max(self._slots(tokens + ahead) - len(request.blocks), 0)
        if self.others is not None:
            self.others.slide(request)
            new += self.others.missing(request, tokens, ahead)
        if new > self.pool.num_free:
            return None
        return self._extend(request, tokens, ahead)

    def store(self, request: RequestState, tokens: int) -> None:
        """Makes the full blocks among the first `tokens` tokens findable."""
        if not self._caching:
            return
        full = min(tokens // self._block_size, len(request.blocks))
        for index in range(request.hashed, full):
            self.pool.insert(request.blocks[index], request.keys[index])
        request.hashed = max(request.hashed, full)
        if self.others is not None:
            self.others.store(request, tokens)

    def free(self, request: RequestState) -> None:
        if self.others is not None and self.others.come_first:
            self.others.free(request)
        self.pool.release(self.take_away(request))
        if self.others is not None:
            self.others.free(request)

    def take_away(self, request: RequestState) -> list[int]:
        """Its blocks, which are yet to be released."""
        blocks, request.blocks, request.hashed = request.blocks, [], 0
        return blocks

    def _slots(self, tokens: int) -> int:
        return -(-min(tokens, self._max_model_len) // self._block_size)

    def _extend(self, request: RequestState, tokens: int, ahead: int) -> list[int]:
        """Blocks are stored as soon as they are handed out: the next request can hit them.

        Drafts may be rejected, so they are not.
        """
        new = self.pool.take(max(self._slots(tokens + ahead) - len(request.blocks), 0))
        request.blocks += new
        if self.others is not None:
            self.others.grow(request, tokens, ahead)
        self.store(request, min(tokens, len(request.tokens)))
        return new
