"""The pool of KV blocks: who holds them, which are free, which prefix each one stores."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Key: TypeAlias = int | tuple[int, int]
"""Of a block of full attention; or a group beside it, and the same."""


class BlockPool:
    """Blocks by id. A *key* names the content of a full block and of all before it.

    A free block keeps its key, and can be hit, until it is handed out again. Block 0 is a
    placeholder of the engine's and never handed out.
    """

    def __init__(self, num_blocks: int, *, caching: bool, unhashed_first: bool) -> None:
        self._caching = caching
        self._unhashed_first = unhashed_first
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(1, num_blocks))
        self._holders = [0] * num_blocks
        self._key_of: list[Key | None] = [None] * num_blocks
        self._by_key: dict[Key, OrderedDict[int, None]] = {}

    @property
    def num_free(self) -> int:
        return len(self._free)

    def is_free(self, block: int) -> bool:
        return self._holders[block] == 0

    def find(self, key: Key) -> int | None:
        """The block that stores this prefix; of several, the one that was inserted first."""
        blocks = self._by_key.get(key)
        return next(iter(blocks)) if blocks else None

    def insert(self, block: int, key: Key) -> None:
        """Makes a full block findable. Others with the same content stay where they are."""
        assert self._key_of[block] is None, "a block is hashed once"
        self._key_of[block] = key
        self._by_key.setdefault(key, OrderedDict())[block] = None

    def hold(self, blocks: Iterable[int]) -> None:
        """One more holder for blocks that were found by their key."""
        for block in blocks:
            if self._holders[block] == 0:
                del self._free[block]
            self._holders[block] += 1

    def take(self, count: int) -> list[int]:
        """Hands out blocks from the front of the free queue; what they stored is forgotten."""
        blocks = [self._free.popitem(last=False)[0] for _ in range(count)]
        for block in blocks:
            self._forget(block)
            self._holders[block] = 1
        return blocks

    def release(self, blocks: Sequence[int]) -> None:
        """Gives up one hold on each block of a request, its last block first.

        Blocks that can still be hit go to the back of the free queue, so that the least recently
        used is reused first; the others to the front, where the order is kept.
        """
        front: list[int] = []
        for block in reversed(blocks):
            self._holders[block] -= 1
            if self._holders[block] > 0:
                continue
            hittable = self._caching and self._key_of[block] is not None
            if self._unhashed_first and not hittable:
                front.append(block)
            else:
                self._free[block] = None
        for block in reversed(front):
            self._free[block] = None
            self._free.move_to_end(block, last=False)

    def _forget(self, block: int) -> None:
        key = self._key_of[block]
        if key is None:
            return
        self._key_of[block] = None
        blocks = self._by_key[key]
        del blocks[block]
        if not blocks:
            del self._by_key[key]


class PrefixKeys:
    """Names for chains of full blocks: equal keys mean equal tokens from the start on.

    The engine hashes; here every distinct chain gets the next number, so nothing can collide.
    """

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._numbers: dict[tuple[int, tuple[int, ...]], int] = {}

    def extend(self, keys: list[int], tokens: Sequence[int]) -> None:
        """Appends the keys of those full blocks of `tokens` that `keys` does not cover yet."""
        for index in range(len(keys), len(tokens) // self._block_size):
            parent = keys[-1] if keys else -1
            start = index * self._block_size
            chain = (parent, tuple(tokens[start : start + self._block_size]))
            keys.append(self._numbers.setdefault(chain, len(self._numbers)))
