"""Layers that do not keep every token: groups with block tables of their own, in the one pool.

Layers with a sliding window need the blocks that reach into it; layers with a state need the last one, as if they
looked back two tokens. A block that is no longer needed leaves its place in the table empty.

Read from vllm/v1/core/single_type_kv_cache_manager.py and kv_cache_coordinator.py of 0.32, with
`prefix_cache_retention_interval` at its default of 0: of these layers only what a later request may start from is
found again.
"""

from __future__ import annotations

from .block_pool import BlockPool
from .config import EngineConfig, OtherGroups
from .state import RequestState


class GroupTables:
    """Gives blocks of these groups to requests and takes them back."""

    def __init__(self, config: EngineConfig, groups: OtherGroups, pool: BlockPool) -> None:
        self._config = config
        self._groups = groups
        self._pool = pool
        self._block_size = config.block_size
        self._caching = config.enable_prefix_caching
        self._window = 2 if groups.has_state else groups.window
        self._needed = -(-(self._window - 1) // config.block_size)
        """Blocks before a token that must be there for it to be computed."""
        self._entered: set[int] = set()
        """Keys of states that this pass computes: not to be started from in it."""

    @property
    def come_first(self) -> bool:
        """Whether their blocks are freed before those of full attention."""
        return self._groups.come_first

    @property
    def _is_fixed(self) -> bool:
        """Without prefix caching a state stays in one place, and those after each draft beside it."""
        return self._groups.has_state and not self._caching

    def begin_pass(self) -> None:
        self._entered.clear()

    def find(self, request: RequestState, blocks: int) -> int:
        """How many of the first `blocks` blocks, all stored by full attention, a request may start after.

        Notes how far it would have come with full attention alone: there this request leaves what others need.
        """
        found = contiguous = 0
        for index in reversed(range(blocks)):
            contiguous = contiguous + 1 if self._stored(request, index) else 0
            if contiguous >= max(self._needed, 1):
                found = index + contiguous
                break
        else:
            found = contiguous
        request.junction = blocks * self._block_size if found < blocks else 0
        return found

    def _stored(self, request: RequestState, index: int) -> bool:
        key = request.keys[index]
        return all(self._pool.find((group, key)) is not None for group in range(self._groups.count))

    def _hit(self, request: RequestState, blocks: int) -> list[list[int | None]]:
        """The tables of a request that starts after `blocks` blocks."""
        empty = self._skipped(blocks * self._block_size)
        tables: list[list[int | None]] = []
        for group in range(self._groups.count):
            held = [self._pool.find((group, request.keys[index])) for index in range(empty, blocks)]
            tables.append([*[None] * empty, *held])
        return tables

    def to_admit(self, request: RequestState, tokens: int, ahead: int, hit: int, *, whole: bool) -> int:
        """Free blocks that a waiting request uses up that starts after `hit` blocks.

        `whole`: to have its whole prompt admitted, of which a window never needs all at once.
        """
        unheld = 0
        for table in self._hit(request, hit):
            unheld += sum(block is not None and self._pool.is_free(block) for block in table)
        if self._groups.has_state and hit and request.keys[hit - 1] in self._entered:
            return self._config.num_gpu_blocks + 1  # not in this pass
        return unheld + self._groups.count * self._new(tokens, ahead, hit, whole=whole)

    def _new(self, tokens: int, ahead: int, have: int, *, whole: bool = False) -> int:
        """Blocks of one group for `tokens` tokens in all, beside `have` places in its table."""
        config = self._config
        if self._is_fixed:
            return max(1 + config.num_speculative_tokens - have, 0)
        if self._groups.has_state:
            return int(-(-tokens // self._block_size) > have)
        slots = -(-min(tokens + ahead, config.max_model_len) // self._block_size)
        if whole:
            at_once = self._window - 1 + config.max_num_batched_tokens * (1 + config.async_scheduling)
            slots = min(slots, -(-min(at_once, config.max_model_len) // self._block_size) + 1)
        return max(slots - have, 0)

    def missing(self, request: RequestState, tokens: int, ahead: int) -> int:
        return sum(self._new(tokens, ahead, len(table)) for table in request.others)

    def admit(self, request: RequestState, hit: int) -> None:
        """Gives it what it starts from; the blocks for its tokens follow with `grow`."""
        request.others = self._hit(request, hit)
        request.others_stored = hit
        for table in request.others:
            self._pool.hold(block for block in table if block is not None)

    def grow(self, request: RequestState, tokens: int, ahead: int) -> None:
        for table in request.others:
            new = self._pool.take(self._new(tokens, ahead, len(table)))
            if self._groups.has_state and not self._is_fixed and new:
                table += [None] * (-(-tokens // self._block_size) - 1 - len(table))
            table += new

    def slide(self, request: RequestState) -> None:
        """Frees what no token sees any more that is yet to be computed, passes under way not counted."""
        if self._is_fixed:
            return
        skipped = self._skipped(request.computed - request.in_flight)
        for table in request.others:
            gone = [block for block in table[:skipped] if block is not None]
            table[:skipped] = [None] * min(skipped, len(table))
            self._pool.release(gone)

    def store(self, request: RequestState, tokens: int) -> None:
        """Of the full blocks among the first `tokens` tokens, makes those findable that a request may start from.

        These are the last before the end of its prompt, whose last token is always computed, and the last before
        the end of what full attention had of it.
        """
        full = tokens // self._block_size
        replay = (request.num_prompt - 1) // self._block_size
        ends = (replay, request.junction // self._block_size)
        for index in range(request.others_stored, full):
            if not any(end - self._needed <= index < end for end in ends):
                continue
            for group, table in enumerate(request.others):
                block = table[index]
                if block is not None:
                    self._pool.insert(block, (group, request.keys[index]))
                    self._entered.add(request.keys[index])
        request.others_stored = max(request.others_stored, full)
        states = request.others[0][:replay] if self._groups.has_state and replay == full else []
        if states and len(states) == replay and states[-1] is not None:
            self._entered.add(request.keys[replay - 1])  # entered anew as long as it is the last that is whole

    def free(self, request: RequestState) -> None:
        for table in request.others:
            self._pool.release([block for block in table if block is not None])
        request.others = []

    def clip(self, request: RequestState, start: int, tokens: int) -> int:
        """The part of `tokens` tokens from `start` on that ends where a state is to be kept: at the end of a block.

        Scheduler._mamba_block_aligned_split.
        """
        size, config = self._block_size, self._config
        known = len(request.tokens)
        prefill_end = max(request.num_prompt, known - 1)
        if not (self._groups.has_state and self._caching) or start >= prefill_end:
            return tokens
        end = start + tokens
        if end < prefill_end:
            most = config.max_num_batched_tokens
            if config.long_prefill_token_threshold > 0:
                most = min(most, config.long_prefill_token_threshold)
            whole = end // size * size
            if whole > start or size <= most:
                end = whole
        stops = [(known - 1) // size * size]
        if start % size:
            stops.append((start // size + 1) * size)
        if start < request.junction < end:
            stops.append(start + (request.junction - start) // size * size)
        return max(min([stop for stop in stops if start < stop < end], default=end) - start, 0)

    def _skipped(self, computed: int) -> int:
        """Whole blocks that the next token does not see."""
        return max(computed - self._window + 1, 0) // self._block_size
