"""The blocks of each request: when they are taken, found by others, and given back."""

from __future__ import annotations

from ..vllm.block_pool import BlockPool, PrefixKeys
from .config import EngineConfig
from .state import RequestState


class KvCache:
    """A context takes the blocks of its whole prompt with its first chunk; a generation one when its last is full.

    Others find a block from the end of the pass that completes the context, or once the request has left.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._block = config.tokens_per_block
        self._reuse = config.enable_block_reuse
        self._overhang = config.max_draft_len + config.num_extra_kv_tokens
        self._extra = config.num_extra_kv_tokens
        self._keys = PrefixKeys(config.tokens_per_block)
        # The pool sets one block aside for vLLM.
        self.pool = BlockPool(config.num_blocks + 1, caching=config.enable_block_reuse, unhashed_first=False)

    def name_blocks(self, request: RequestState) -> None:
        """Names the blocks that the request's newest tokens have filled."""
        if self._reuse:
            self._keys.extend(request.keys, request.tokens)

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self._block)

    def to_completion(self, request: RequestState) -> int:
        """Blocks it would still take if it used its limit, and drafts beyond it (getRemainingBlocksToCompletion)."""
        return self.blocks_for(len(request.spec.prompt) + request.limit + self._overhang) - len(request.blocks)

    def next_step(self, request: RequestState, drafts: int = 0) -> int:
        """Blocks it takes in the next pass (getNeededBlocksOneStep)."""
        if request.generating:
            return max(self.blocks_for(request.computed + 1 + drafts + self._extra) - len(request.blocks), 0)
        return 0 if request.started else self.blocks_for(len(request.tokens))

    def first_new_block(self, request: RequestState) -> int | None:
        """The key of the first block of the context that is not cached; None if all are (findNewContextBlock)."""
        if not self._reuse:
            return None
        keys = request.keys[: (len(request.tokens) - 1) // self._block]
        return next((key for key in keys if self.pool.find(key) is None), None)

    def start(self, request: RequestState) -> None:
        """Gives a context what is cached of it, short of its last token, and blocks for the rest."""
        hit: list[int] = []
        if self._reuse:
            for key in request.keys[: (len(request.tokens) - 1) // self._block]:
                block = self.pool.find(key)
                if block is None:
                    break
                hit.append(block)
        self.pool.hold(hit)
        request.blocks = hit + self.pool.take(self.blocks_for(len(request.tokens)) - len(hit))
        request.hashed = len(hit)
        request.computed = len(hit) * self._block

    def grow(self, request: RequestState, drafts: int) -> None:
        """Takes the blocks of a generation's next token and drafts, if they fall into new ones."""
        request.blocks += self.pool.take(self.next_step(request, drafts))

    def store(self, request: RequestState) -> None:
        """Lets others find the full blocks that are computed."""
        if not self._reuse:
            return
        full = request.computed // self._block
        for index in range(request.hashed, full):
            self.pool.insert(request.blocks[index], request.keys[index])
        request.hashed = max(request.hashed, full)

    def free(self, request: RequestState) -> None:
        """Stores what is computed, and gives all blocks back."""
        self.store(request)
        self.pool.release(request.blocks)
        request.blocks = []
        request.hashed = 0
