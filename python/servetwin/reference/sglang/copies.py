"""HiCache's copies in time: one copy engine each way, one copy after the other."""

from __future__ import annotations

from .config import Channel, HiCacheConfig
from .hicache_tree import HiCacheTree
from .radix_tree import Node

PS_PER_S = 10**12


class Copies:
    """What is on its way between device and host, and what waits for it."""

    def __init__(self, tree: HiCacheTree, hicache: HiCacheConfig) -> None:
        self._tree = tree
        self._hicache = hicache
        self._store_free_ps = self._load_free_ps = 0
        self._under_way: list[tuple[int, Node]] = []
        self.loading: list[tuple[Node, int]] = []
        """Nodes, and their tokens, that the pass being decided waits for."""

    @property
    def first_end_ps(self) -> int | None:
        return min((end_ps for end_ps, _ in self._under_way), default=None)

    def end(self, now_ps: int) -> None:
        """Once a turn, SGLang takes notice of the copies that have ended."""
        self.submit(now_ps)
        for _, node in [one for one in self._under_way if one[0] <= now_ps]:
            self._tree.end_copy(node)
        self._under_way = [one for one in self._under_way if one[0] > now_ps]

    def submit(self, start_ps: int) -> None:
        """Starts the copies to the host that were asked for, as one."""
        if self._tree.backups:
            end_ps = self._store(start_ps, sum(tokens for _, tokens in self._tree.backups))
            self._under_way += [(end_ps, node) for node, _ in self._tree.backups]
            self._tree.backups.clear()

    def pass_ps(self, compute_ps: int, start_ps: int) -> int:
        """The time of a pass: it waits for what was evicted for it; then each layer is computed once it is loaded."""
        begin_ps = start_ps
        for tokens in self._tree.waited:
            begin_ps = self._store(begin_ps, tokens)
        self._tree.waited.clear()
        waited_ps = begin_ps - start_ps
        if not self.loading:
            return waited_ps + compute_ps
        self._load_free_ps = end_ps = self._copy(
            self._hicache.load, max(begin_ps, self._load_free_ps), sum(tokens for _, tokens in self.loading)
        )
        self._under_way += [(end_ps, node) for node, _ in self.loading]
        self.loading.clear()
        load_ps = end_ps - begin_ps
        layers = self._hicache.layers
        return waited_ps + max(compute_ps, load_ps) + -(-min(compute_ps, load_ps) // layers)

    def _store(self, start_ps: int, tokens: int) -> int:
        self._store_free_ps = self._copy(self._hicache.store, max(start_ps, self._store_free_ps), tokens)
        return self._store_free_ps

    def _copy(self, channel: Channel, start_ps: int, tokens: int) -> int:
        bytes_ps = tokens * self._hicache.token_bytes * PS_PER_S
        return start_ps + channel.latency_ps + -(-bytes_ps // channel.bytes_per_s)
