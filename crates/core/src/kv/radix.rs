//! SGLang's radix tree of cached prefixes, its keys as ranges of segments instead of tokens.
//!
//! A node's key is a range of positions of one request's content ([`crate::chain`], in tokens), so a
//! page of one token costs what one of 64 does. Where nodes begin and end, which of them are locked,
//! when each was last accessed, and which leaf goes first, are SGLang's, node by node.

use crate::chain::{Chains, Piece};
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The root: locked by nobody, never evicted.
pub const ROOT: u32 = 0;
/// Accesses get a tick each; a match orders the nodes of its path within one.
const TICK: u64 = 1 << 24;

#[derive(Clone, Copy, Debug)]
struct Node {
    parent: u32,
    /// The key: tokens `from..upto` of this request's content; `upto` is 0 of a node that is gone.
    owner: u32,
    from: u32,
    upto: u32,
    children: u32,
    locks: u32,
    last_access: u64,
    /// Whether an entry of `leaves` names it.
    queued: bool,
}

/// What was found of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    pub tokens: u32,
    pub node: u32,
}

/// What came of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inserted {
    /// The node that ends where the inserted key does.
    pub node: u32,
    /// Tokens that were in the tree already and are not the request's own: it gives them back.
    pub duplicates: u32,
}

pub struct RadixTree<'a> {
    chains: &'a Chains,
    page_size: u32,
    nodes: Vec<Node>,
    vacant: Vec<u32>,
    /// A node's child by the segment of the last token of the child's first page.
    children: HashMap<(u32, u32), u32, FxBuildHasher>,
    /// Unlocked leaves by last access. An entry may be too old, never too new: a node has at most
    /// one, and is looked at again when its entry comes up.
    leaves: BinaryHeap<Reverse<(u64, u32)>>,
    clock: u64,
    evictable: u32,
    protected: u32,
}

/// A request's content: pieces shared with others, then its own.
#[derive(Clone, Copy)]
struct Content<'a> {
    path: &'a [Piece],
    own: u32,
}

impl Content<'_> {
    fn piece(&self, index: usize) -> Piece {
        self.path.get(index).copied().unwrap_or(Piece { segment: self.own, end: u32::MAX })
    }

    /// The index of the piece that holds token `position`.
    fn index_at(&self, position: u32) -> usize {
        self.path.partition_point(|piece| piece.end <= position)
    }
}

impl<'a> RadixTree<'a> {
    pub fn new(chains: &'a Chains, page_size: u32) -> Self {
        let root =
            Node { parent: ROOT, owner: 0, from: 0, upto: 0, children: 0, locks: 1, last_access: 0, queued: false };
        RadixTree {
            chains,
            page_size,
            nodes: vec![root],
            vacant: Vec::new(),
            children: HashMap::default(),
            leaves: BinaryHeap::new(),
            clock: 0,
            evictable: 0,
            protected: 0,
        }
    }

    /// Cached tokens of nodes that nobody locks.
    pub fn evictable(&self) -> u32 {
        self.evictable
    }

    /// Cached tokens of nodes that somebody locks.
    pub fn protected(&self) -> u32 {
        self.protected
    }

    /// The longest cached prefix of the first `tokens` of a request, in whole pages. An access: it
    /// splits the node where the prefix ends within it.
    pub fn find(&mut self, request: u32, tokens: u32) -> Match {
        let limit = tokens - tokens % self.page_size;
        let mut found = Match { tokens: 0, node: ROOT };
        if limit == 0 {
            return found;
        }
        let content = self.content(request);
        let mut depth = 0;
        while let Some((child, upto)) = self.step(found.node, request, content, found.tokens, limit) {
            depth += 1;
            if upto < self.nodes[child as usize].upto {
                found = Match { tokens: upto, node: self.split(child, upto) };
                break;
            }
            found = Match { tokens: upto, node: child };
        }
        self.clock += TICK;
        let mut node = found.node;
        let mut access = self.clock + depth;
        while node != ROOT {
            self.nodes[node as usize].last_access = access;
            access -= 1;
            node = self.nodes[node as usize].parent;
        }
        found
    }

    /// As [`Self::find`], but no access: for what reads from outside.
    pub fn peek(&self, request: u32, tokens: u32) -> u32 {
        let limit = tokens - tokens % self.page_size;
        let content = self.content(request);
        let (mut node, mut found) = (ROOT, 0);
        while let Some((child, upto)) = self.step(node, request, content, found, limit) {
            found = upto;
            if upto < self.nodes[child as usize].upto {
                break;
            }
            node = child;
        }
        found
    }

    /// Enters the first `tokens` of a request, whole pages, of which it shares the first `shared`
    /// with the tree already.
    pub fn insert(&mut self, request: u32, tokens: u32, shared: u32) -> Inserted {
        debug_assert_eq!(tokens % self.page_size, 0);
        let content = self.content(request);
        let (mut node, mut at) = (ROOT, 0);
        while let Some((child, upto)) = self.step(node, request, content, at, tokens) {
            self.touch(child);
            node = if upto < self.nodes[child as usize].upto { self.split(child, upto) } else { child };
            at = upto;
        }
        let duplicates = at.saturating_sub(shared);
        if at < tokens {
            node = self.add_leaf(node, request, content, at, tokens);
        }
        Inserted { node, duplicates }
    }

    /// Keeps a node and all above it from being evicted.
    pub fn lock(&mut self, mut at: u32) {
        while at != ROOT {
            let node = &mut self.nodes[at as usize];
            if node.locks == 0 {
                self.evictable -= node.upto - node.from;
                self.protected += node.upto - node.from;
            }
            node.locks += 1;
            at = node.parent;
        }
    }

    pub fn unlock(&mut self, mut at: u32) {
        while at != ROOT {
            let node = &mut self.nodes[at as usize];
            node.locks -= 1;
            if node.locks == 0 {
                self.evictable += node.upto - node.from;
                self.protected -= node.upto - node.from;
            }
            let parent = node.parent;
            self.queue_if_leaf(at);
            at = parent;
        }
    }

    /// Evicts whole leaves, the one that was accessed longest ago first, until `wanted` tokens are
    /// free or nothing is left to evict. Returns the tokens freed.
    pub fn evict(&mut self, wanted: u32) -> u32 {
        let mut freed = 0;
        while freed < wanted
            && let Some(Reverse((access, at))) = self.leaves.pop()
        {
            let Node { parent, owner, from, upto, children, locks, last_access, .. } = self.nodes[at as usize];
            self.nodes[at as usize].queued = false;
            if children > 0 || locks > 0 {
                continue;
            }
            if access < last_access {
                self.queue_if_leaf(at);
                continue;
            }
            freed += upto - from;
            self.evictable -= upto - from;
            let name = self.first_page(self.content(owner), from);
            self.children.remove(&(parent, name));
            self.nodes[at as usize].upto = 0;
            self.vacant.push(at);
            self.nodes[parent as usize].children -= 1;
            self.queue_if_leaf(parent);
        }
        freed
    }

    /// Two requests share all up to token `position` exactly if this is the same.
    pub fn name_at(&self, request: u32, position: u32) -> u32 {
        let content = self.content(request);
        content.piece(content.index_at(position)).segment
    }

    fn content(&self, request: u32) -> Content<'a> {
        Content { path: self.chains.path(request), own: self.chains.private_segment(request) }
    }

    /// What tells children apart whose keys begin at `from`.
    fn first_page(&self, content: Content, from: u32) -> u32 {
        content.piece(content.index_at(from + self.page_size - 1)).segment
    }

    /// The child of `node`, which ends at `at`, on the way to the first `limit` tokens of a request;
    /// and how far that child's key agrees, in whole pages.
    fn step(&self, node: u32, request: u32, content: Content, at: u32, limit: u32) -> Option<(u32, u32)> {
        if at >= limit {
            return None;
        }
        let child = *self.children.get(&(node, self.first_page(content, at)))?;
        let Node { owner, upto, .. } = self.nodes[child as usize];
        let upto = upto.min(limit);
        if owner == request {
            return Some((child, upto));
        }
        let other = self.content(owner);
        let (mut mine, mut theirs) = (content.index_at(at), other.index_at(at));
        let mut agreed = at;
        while agreed < upto {
            let (a, b) = (content.piece(mine), other.piece(theirs));
            if a.segment != b.segment {
                break;
            }
            agreed = a.end.min(b.end);
            if a.end != b.end {
                break;
            }
            mine += 1;
            theirs += 1;
        }
        let agreed = agreed.min(upto);
        Some((child, agreed - agreed % self.page_size))
    }

    fn touch(&mut self, node: u32) {
        self.clock += TICK;
        self.nodes[node as usize].last_access = self.clock;
    }

    /// Cuts a node in two at token `at`; returns the upper part, which is new. Locks are on both.
    fn split(&mut self, lower: u32, at: u32) -> u32 {
        let Node { parent, owner, from, upto, locks, .. } = self.nodes[lower as usize];
        debug_assert!(from < at && at < upto);
        let upper = self.new_node(parent, owner, from, at);
        self.nodes[upper as usize].children = 1;
        self.nodes[upper as usize].locks = locks;
        self.nodes[lower as usize].parent = upper;
        self.nodes[lower as usize].from = at;
        self.touch(lower);
        let content = self.content(owner);
        self.children.insert((parent, self.first_page(content, from)), upper);
        self.children.insert((upper, self.first_page(content, at)), lower);
        upper
    }

    fn add_leaf(&mut self, parent: u32, request: u32, content: Content, from: u32, upto: u32) -> u32 {
        let leaf = self.new_node(parent, request, from, upto);
        self.children.insert((parent, self.first_page(content, from)), leaf);
        self.nodes[parent as usize].children += 1;
        self.evictable += upto - from;
        self.queue_if_leaf(leaf);
        leaf
    }

    fn new_node(&mut self, parent: u32, owner: u32, from: u32, upto: u32) -> u32 {
        self.clock += TICK;
        let last_access = self.clock;
        let node = Node { parent, owner, from, upto, children: 0, locks: 0, last_access, queued: false };
        match self.vacant.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        }
    }

    fn queue_if_leaf(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        if at != ROOT && node.children == 0 && node.locks == 0 && !node.queued {
            node.queued = true;
            self.leaves.push(Reverse((node.last_access, at)));
        }
    }

    /// Panics unless sizes and locks add up. `locks` are the nodes locked, one entry a lock. For tests.
    pub fn check(&self, locks: &[u32]) {
        let mut expected = vec![0_u32; self.nodes.len()];
        for &lock in locks {
            let mut at = lock;
            while at != ROOT {
                expected[at as usize] += 1;
                at = self.nodes[at as usize].parent;
            }
        }
        let (mut evictable, mut protected) = (0, 0);
        let mut children = vec![0; self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate().skip(1).filter(|(_, node)| node.upto > 0) {
            assert_eq!(node.locks, expected[at], "locks of node {at}");
            assert!(node.from < node.upto && node.from.is_multiple_of(self.page_size));
            assert_eq!(node.from, self.nodes[node.parent as usize].upto, "node {at} does not follow its parent");
            children[node.parent as usize] += 1;
            let tokens = node.upto - node.from;
            if node.locks > 0 { protected += tokens } else { evictable += tokens }
        }
        assert_eq!((evictable, protected), (self.evictable, self.protected));
        assert!(self.nodes.iter().zip(&children).all(|(node, &children)| node.children == children));
        assert_eq!(self.children.len() as u32, children.iter().sum::<u32>());
    }
}
