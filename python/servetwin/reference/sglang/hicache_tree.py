"""HiCache's tree: a prefix cache whose nodes are on the device, on the host, or on both.

Under write-through, a node is copied to the host when it has been inserted often enough, and what
is above it before it. Under write-back, it is copied when it is evicted from the device.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from .config import HiCacheConfig
from .radix_tree import Access, Node, RadixTree


class TieredNode(Node):
    """Its locks are those of requests, and those of copies under way."""

    def __init__(self, parent: TieredNode | None, key: Sequence[int], accessed: Access) -> None:
        super().__init__(parent, key, accessed)
        self.on_device = True
        self.on_host = False
        self.hits = 0
        """How often it was inserted."""
        self.loading = False


class Found(NamedTuple):
    """A prefix: what of it is on the device, what beyond is on the host, and where each ends."""

    device: int
    device_node: Node
    host: int
    host_node: Node


class HiCacheTree(RadixTree):
    """`evictable` counts tokens on the device."""

    node_type = TieredNode

    def __init__(self, page_size: int, hicache: HiCacheConfig) -> None:
        super().__init__(page_size)
        self._writes_back = hicache.write_policy == "write_back"
        self._hits_wanted = 2 if hicache.write_policy == "write_through_selective" else 1
        self._host_free = hicache.tokens
        self._host_leaves: set[Node] = set()
        self._duplicates: dict[Node, None] = {}
        """Write-back: nodes on both tiers, in the order in which they came to be so; or once were."""
        self.backups: list[tuple[Node, int]] = []
        """Tokens to be copied to the host, and the nodes that are locked until that is done."""
        self.waited: list[int] = []
        """Write-back: the tokens of each copy that an eviction has waited for."""

    def find(self, tokens: Sequence[int], limit: int | None = None) -> Found:
        length, node = self.match(tokens, limit)
        host, at = 0, node
        while at.parent is not None and not tiered(at).on_device:
            host += len(at.key)
            at = at.parent
        return Found(length - host, at, host, node)

    def load_back(self, node: Node) -> None:
        """What is only on the host, up to `node`, is on its way to the device; there it is locked until then."""
        at = node
        while not tiered(at).on_device:
            self._arrive(at)
            tiered(at).loading = True
            assert at.parent is not None
            at = at.parent
        self.lock(node)

    def end_copy(self, node: Node) -> None:
        self.unlock(node)
        at: Node | None = node
        while at is not None:
            if tiered(at).loading:
                tiered(at).loading = False
                self._note_duplicate(at)
            at = at.parent

    # What the plain tree does otherwise

    def lock(self, node: Node) -> None:
        while node.parent is not None:
            if node.locks == 0 and tiered(node).on_device:
                self.evictable -= len(node.key)
            node.locks += 1
            self._update(node)
            node = node.parent

    def unlock(self, node: Node) -> None:
        while node.parent is not None:
            node.locks -= 1
            if node.locks == 0 and tiered(node).on_device:
                self.evictable += len(node.key)
            self._update(node)
            node = node.parent

    def evict(self, tokens: int) -> int:
        """Takes leaves off the device until `tokens` are freed there or nothing is left."""
        freed = 0
        heap = [(leaf.accessed, id(leaf), leaf) for leaf in self._leaves]
        heapq.heapify(heap)
        while freed < tokens and heap:
            leaf = heapq.heappop(heap)[2]
            freed += len(leaf.key)
            self.evictable -= len(leaf.key)
            parent = leaf.parent
            assert parent is not None
            kept = tiered(leaf).on_host or self._write_back(leaf)
            tiered(leaf).on_device = False
            if kept:
                self._update(leaf)
            else:
                self._drop(leaf)
            self._update(parent)
            if parent in self._leaves:
                heapq.heappush(heap, (parent.accessed, id(parent), parent))
        return freed

    def _visit(self, node: Node, end: int, entered: int) -> bool:
        was_there = tiered(node).on_device
        if not was_there:
            self._arrive(node)
            self._note_duplicate(node)
        if end > entered and not self._writes_back:
            tiered(node).hits += 1
            if tiered(node).hits >= self._hits_wanted and not tiered(node).on_host:
                self._write_through(node)
        return was_there

    def _split(self, child: Node, length: int) -> Node:
        above, below = tiered(super()._split(child, length)), tiered(child)
        above.on_device, above.on_host = below.on_device, below.on_host
        above.hits, above.loading = below.hits, below.loading
        self._update(above)
        self._update(below)
        self._note_duplicate(above)
        return above

    def _update(self, node: Node) -> None:
        """Notes whether it could be evicted at once, from either."""
        one = tiered(node)
        is_free = node.parent is not None and node.locks == 0
        is_leaf = one.on_device and not any(tiered(child).on_device for child in node.children.values())
        self._leaves.add(node) if is_free and is_leaf else self._leaves.discard(node)
        is_host_leaf = not one.on_device and one.on_host and not node.children
        self._host_leaves.add(node) if is_free and is_host_leaf else self._host_leaves.discard(node)

    # Moving between the tiers

    def _arrive(self, node: Node) -> None:
        """Its tokens, which were only on the host, have slots on the device."""
        tiered(node).on_device = True
        self.evictable += len(node.key) if node.locks == 0 else 0
        self._update(node)
        if node.parent is not None:
            self._update(node.parent)

    def _write_through(self, node: Node) -> None:
        """From the top down, until there is no room."""
        chain = []
        at: Node | None = node
        while at is not None and at.parent is not None and not tiered(at).on_host:
            chain.append(at)
            at = at.parent
        for one in reversed(chain):
            if not self._take_host(len(one.key)):
                return
            tiered(one).on_host = True
            self.lock(one)
            self.backups.append((one, len(one.key)))

    def _write_back(self, node: Node) -> bool:
        if not self._writes_back or not self._take_host(len(node.key)):
            return False
        tiered(node).on_host = True
        self._note_duplicate(node)
        self.waited.append(len(node.key))
        return True

    def _take_host(self, tokens: int) -> bool:
        """Takes slots of the host's pool, evicting there if need be; or as much as can be, for nothing."""
        shortfall = tokens - self._host_free
        if shortfall > 0 and self._evict_host(shortfall) < shortfall:
            return False
        self._host_free -= tokens
        return True

    def _evict_host(self, tokens: int) -> int:
        freed = self._drop_duplicates(tokens)
        heap = [(leaf.accessed, id(leaf), leaf) for leaf in self._host_leaves]
        heapq.heapify(heap)
        while freed < tokens and heap:
            leaf = heapq.heappop(heap)[2]
            parent = leaf.parent
            assert parent is not None
            freed += len(leaf.key)
            self._drop(leaf)
            if parent in self._host_leaves:
                heapq.heappush(heap, (parent.accessed, id(parent), parent))
        return freed

    def _drop_duplicates(self, tokens: int) -> int:
        """Copies of what is on the device, the oldest first, of what could be evicted from there last."""
        freed = 0
        for spares_leaves in (True, False):
            for node in list(self._duplicates):
                if freed >= tokens:
                    return freed
                one = tiered(node)
                if one.on_device and one.on_host:
                    if one.loading or (spares_leaves and node in self._leaves):
                        continue
                    one.on_host = False
                    self._host_free += len(node.key)
                    freed += len(node.key)
                del self._duplicates[node]
        return freed

    def _note_duplicate(self, node: Node) -> None:
        one = tiered(node)
        if self._writes_back and one.on_device and one.on_host and not one.loading:
            self._duplicates.setdefault(node)

    def _drop(self, node: Node) -> None:
        """Takes a node, and what is below it on the host, out of the tree."""
        for child in list(node.children.values()):
            self._drop(child)
        self._host_free += len(node.key) if tiered(node).on_host else 0
        self._leaves.discard(node)
        self._host_leaves.discard(node)
        self._duplicates.pop(node, None)
        parent = node.parent
        assert parent is not None
        del parent.children[tuple(node.key[: self._page_size])]
        self._update(parent)


def tiered(node: Node) -> TieredNode:
    assert isinstance(node, TieredNode)
    return node
