"""Host memory that blocks are copied to and from: what it holds, and when copies end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PS_PER_S = 10**12


@dataclass(frozen=True)
class HostConfig:
    """What the core calls `offload`."""

    blocks: int
    block_bytes: int
    store_bytes_per_s: int
    store_latency_ps: int
    load_bytes_per_s: int
    load_latency_ps: int
    drops_last_block: bool = False
    """The last block that is found is computed again, for the drafting head."""


@dataclass
class Stored:
    """One block on the host."""

    ready_ps: int
    """When its copy is complete."""
    readers: int = 0


class Channel:
    """Copies in one direction, each after the one before it."""

    def __init__(self, bytes_per_s: int, latency_ps: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._latency_ps = latency_ps
        self._free_ps = 0

    def submit(self, at_ps: int, size: int) -> int:
        """Returns when a copy of `size` bytes that is handed in at `at_ps` ends."""
        took = -(-size * PS_PER_S // self._bytes_per_s)
        self._free_ps = max(self._free_ps, at_ps) + self._latency_ps + took
        return self._free_ps


class Host:
    """Blocks by their keys, the least recently used first."""

    def __init__(self, config: HostConfig) -> None:
        self.config = config
        self.blocks: dict[int, Stored] = {}
        self.stores = Channel(config.store_bytes_per_s, config.store_latency_ps)
        self.loads = Channel(config.load_bytes_per_s, config.load_latency_ps)

    def prefix(self, keys: Sequence[int]) -> list[Stored]:
        """The blocks that are here of `keys`, up to the first that is not, ready or not."""
        found = []
        for key in keys:
            if key not in self.blocks:
                break
            found.append(self.blocks[key])
        return found

    def use(self, keys: Sequence[int]) -> None:
        """They were used just now, the first of them last."""
        for key in reversed(keys):
            if key in self.blocks:
                self.blocks[key] = self.blocks.pop(key)

    def store(self, keys: Sequence[int], now_ps: int, at_ps: int) -> int | None:
        """Stores those of `keys` that are missing, evicting others: all of them or none.

        Returns when their copies end, `now_ps` if nothing is missing, or None if there is no room.
        """
        missing = [key for key in keys if key not in self.blocks]
        if not missing:
            return now_ps
        too_many = len(self.blocks) + len(missing) - self.config.blocks
        idle = [
            key
            for key, block in self.blocks.items()
            if key not in keys and not block.readers and block.ready_ps <= now_ps
        ]
        if too_many > len(idle):
            return None
        for key in idle[: max(too_many, 0)]:
            del self.blocks[key]
        end_ps = self.stores.submit(at_ps, len(missing) * self.config.block_bytes)
        self.blocks |= {key: Stored(end_ps) for key in missing}
        return end_ps

    def load(self, keys: Sequence[int], now_ps: int) -> int:
        """Begins to copy `keys` to the GPU. Returns when that ends; `release` them then."""
        for key in keys:
            self.blocks[key].readers += 1
        return self.loads.submit(now_ps, len(keys) * self.config.block_bytes)

    def release(self, keys: Sequence[int]) -> None:
        for key in keys:
            self.blocks[key].readers -= 1
