"""The prefix cache: a tree whose edges are runs of tokens, cut at whole pages.

Nodes in use are locked, with all above them. What is not locked can be evicted, a whole leaf at a
time, the one whose last access is the longest ago first.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import count

Access = tuple[int, int]
"""When, by the tree's own clock; then how far above the access's own node, negated, so that of
two nodes of one path the deeper is the more recent."""


class Node:
    """A run of tokens that follows its parent's; the root has none."""

    def __init__(self, parent: Node | None, key: Sequence[int], accessed: Access) -> None:
        self.parent = parent
        self.key = key
        self.accessed = accessed
        self.children: dict[tuple[int, ...], Node] = {}
        self.locks = 0


class RadixTree:
    """Tokens are counted, but which slots of the pool hold them is not followed."""

    node_type: type[Node] = Node

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._clock = count(1)
        self._root = self.node_type(None, (), self._tick())
        self._leaves: set[Node] = set()
        """Nodes that could be evicted at once."""
        self.evictable = 0
        """Tokens that are not locked."""

    def match(self, tokens: Sequence[int], limit: int | None = None) -> tuple[int, Node]:
        """The longest stored prefix, in whole pages, of the first `limit` tokens.

        Returns its length, and the node where it ends: a node that goes on beyond it is split
        there. All nodes on the way count as accessed. Less than a page leaves no trace.
        """
        end = self._floor_page(len(tokens) if limit is None else limit)
        node, length = self._root, 0
        if end == 0:
            return 0, node
        while length < end and (child := self._child(node, tokens, length)) is not None:
            shared = self._shared(child, tokens, length, end)
            length += shared
            if shared < len(child.key):
                node = self._split(child, shared)
                break
            node = child
        self._access_path(node)
        return length, node

    def insert(self, tokens: Sequence[int], end: int, owned: int = 0, entered: int = 0) -> tuple[int, Node]:
        """Stores the first `end` tokens, floored to a page.

        The first `owned` are the tree's already, and their slots those that it has; the first
        `entered` were inserted for the same request before. Returns of how many other tokens the
        tree has slots already, and the last node.
        """
        end = self._floor_page(end)
        node, length, duplicates = self._root, 0, 0
        node.accessed = self._tick()
        while length < end and (child := self._child(node, tokens, length)) is not None:
            child.accessed = self._tick()
            start, shared = length, self._shared(child, tokens, length, end)
            length += shared
            node = child if shared == len(child.key) else self._split(child, shared)
            if self._visit(node, length, entered):
                duplicates += max(length - max(start, owned), 0)
        if length < end:
            node = self._add(node, tuple(tokens[length:end]))
            self._visit(node, end, entered)
        return duplicates, node

    def lock(self, node: Node) -> None:
        while node.parent is not None:
            if node.locks == 0:
                self.evictable -= len(node.key)
            node.locks += 1
            self._update(node)
            node = node.parent

    def unlock(self, node: Node) -> None:
        while node.parent is not None:
            node.locks -= 1
            if node.locks == 0:
                self.evictable += len(node.key)
            self._update(node)
            node = node.parent

    def evict(self, tokens: int) -> int:
        """Removes leaves until `tokens` are freed or nothing is left; returns the number freed."""
        freed = 0
        heap = [(leaf.accessed, id(leaf), leaf) for leaf in self._leaves]
        heapq.heapify(heap)
        while freed < tokens and heap:
            leaf = heapq.heappop(heap)[2]
            freed += len(leaf.key)
            parent = leaf.parent
            assert parent is not None
            del parent.children[tuple(leaf.key[: self._page_size])]
            self._leaves.discard(leaf)
            self._update(parent)
            if parent in self._leaves:
                heapq.heappush(heap, (parent.accessed, id(parent), parent))
        self.evictable -= freed
        return freed

    def _visit(self, node: Node, end: int, entered: int) -> bool:
        """A node that ends at `end` is inserted (again). Returns whether its tokens had slots."""
        return True

    def _child(self, node: Node, tokens: Sequence[int], start: int) -> Node | None:
        return node.children.get(tuple(tokens[start : start + self._page_size]))

    def _shared(self, node: Node, tokens: Sequence[int], start: int, end: int) -> int:
        """How many tokens of the node's are those from `start` on, in whole pages."""
        shared = min(len(node.key), end - start)
        if tuple(tokens[start : start + shared]) != node.key[:shared]:
            shared = next(i for i in range(shared) if node.key[i] != tokens[start + i])
        return self._floor_page(shared)

    def _split(self, child: Node, length: int) -> Node:
        """Puts a new node above, for the first `length` tokens. The rest counts as accessed."""
        parent = child.parent
        assert parent is not None
        above = self.node_type(parent, child.key[:length], self._tick())
        above.locks = child.locks
        parent.children[tuple(child.key[: self._page_size])] = above
        child.key = child.key[length:]
        child.parent = above
        child.accessed = self._tick()
        above.children[tuple(child.key[: self._page_size])] = child
        return above

    def _add(self, parent: Node, key: tuple[int, ...]) -> Node:
        leaf = self.node_type(parent, key, self._tick())
        parent.children[key[: self._page_size]] = leaf
        self.evictable += len(key)
        self._update(leaf)
        self._update(parent)
        return leaf

    def _update(self, node: Node) -> None:
        if node.parent is not None and not node.children and node.locks == 0:
            self._leaves.add(node)
        else:
            self._leaves.discard(node)

    def _access_path(self, node: Node | None) -> None:
        now = next(self._clock)
        above = 0
        while node is not None:
            node.accessed = (now, -above)
            node, above = node.parent, above + 1

    def _tick(self) -> Access:
        return next(self._clock), 0

    def _floor_page(self, tokens: int) -> int:
        return tokens // self._page_size * self._page_size
