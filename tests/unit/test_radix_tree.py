"""SGLang's prefix cache: pages, splits, locks, and who is evicted first."""

from __future__ import annotations

import random

from servetwin.reference.sglang.radix_tree import RadixTree

A = list(range(100, 120))
B = list(range(200, 220))


def stored(tree: RadixTree, tokens: list[int]) -> int:
    """Without a trace: nothing is evicted in these tests after it is asked."""
    return tree.match(tokens)[0]


def test_what_is_inserted_is_found_in_whole_pages() -> None:
    tree = RadixTree(4)
    assert tree.insert(A, 18)[0] == 0
    assert tree.evictable == 16
    assert tree.match([*A[:9], 1, 2, 3])[0] == 8
    assert tree.match(A, 15)[0] == 12
    assert tree.insert([*A[:8], *B], 28)[0] == 8
    assert tree.evictable == 16 + 20


def test_a_split_keeps_locks_and_sizes() -> None:
    tree = RadixTree(1)
    node = tree.insert(A, 20)[1]
    tree.lock(node)
    assert tree.evictable == 0
    tree.match(A[:5])
    assert tree.evict(100) == 0, "both parts are locked"
    tree.unlock(node)
    assert tree.evictable == 20
    assert tree.evict(1) == 15, "the leaf goes whole, what is above it stays"
    assert stored(tree, A) == 5


def test_a_lock_holds_all_that_is_above() -> None:
    tree = RadixTree(1)
    tree.insert(A, 10)
    tree.lock(tree.insert(A, 20)[1])
    tree.insert([*A[:10], *B], 30)
    assert tree.evict(100) == 20
    assert stored(tree, A) == 20


def test_the_least_recently_accessed_leaf_goes_first() -> None:
    tree = RadixTree(1)
    tree.insert(A, 20)
    tree.insert(B, 20)
    tree.match(A)
    assert tree.evict(1) == 20
    assert stored(tree, A) == 20


def test_eviction_goes_on_with_a_parent_that_has_become_a_leaf() -> None:
    tree = RadixTree(1)
    tree.insert(A, 10)
    tree.insert(A, 20)
    tree.insert(B, 20)
    assert tree.evict(11) == 20, "both parts of A, before B"
    assert stored(tree, B) == 20


def test_splitting_makes_the_rest_recent() -> None:
    """A prefix found inside a node splits it, and the part that was not asked for counts as accessed."""
    tree = RadixTree(1)
    tree.insert(A, 20)
    tree.insert(B, 20)
    tree.match(A[:5])
    assert tree.evict(1) == 20, "B, though A's tail was inserted earlier"
    assert stored(tree, A) == 20


def test_less_than_a_page_is_no_access() -> None:
    tree = RadixTree(4)
    tree.insert(A, 20)
    tree.insert(B, 20)
    tree.match(A[:3])
    assert tree.evict(1) == 20
    assert stored(tree, B) == 20


def test_sizes_add_up_in_any_order_of_use() -> None:
    for seed in range(30):
        chosen = random.Random(seed)
        tree = RadixTree(chosen.choice((1, 2, 4)))
        total = 0
        locked = []
        for _ in range(200):
            tokens = [chosen.randrange(2) for _ in range(chosen.randrange(1, 30))]
            match chosen.randrange(4):
                case 0:
                    before = tree.evictable
                    tree.insert(tokens, len(tokens))
                    total += tree.evictable - before
                case 1:
                    node = tree.match(tokens)[1]
                    tree.lock(node)
                    locked.append(node)
                case 2 if locked:
                    tree.unlock(locked.pop(chosen.randrange(len(locked))))
                case _:
                    total -= tree.evict(chosen.randrange(20))
        while locked:
            tree.unlock(locked.pop())
        assert tree.evictable == total
        assert tree.evict(10**6) == total
        assert tree.evictable == 0
