//! SGLang's radix tree of cached prefixes, its keys as ranges of segments instead of tokens.
//!
//! A node's key is a range of positions of one request's content ([`crate::chain`], in tokens), so a
//! page of one token costs what one of 64 does. Where nodes begin and end, which of them are locked,
//! when each was last accessed, and which leaf goes first, are SGLang's, node by node.
//!
//! With a host tier (`host`), a node's tokens are on the device, on the host, or on both; `evict`
//! says who goes from where. Where layers have sliding windows (`window`), a node can lose what only they need.

mod check;
mod evict;
mod host;
mod window;

pub use host::{Backup, HostTier, WritePolicy};
pub use window::Windows;

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
    /// Children with tokens on the device.
    on_device: u32,
    /// Requests that use it.
    locks: u32,
    /// Copies between device and host that are under way and keep it.
    pins: u32,
    last_access: u64,
    /// Insertions that went through it: the host tier copies what is used often enough.
    hits: u32,
    device: bool,
    host: bool,
    /// On its way from the host to the device.
    loading: bool,
    /// Whether an entry of `leaves` names it, and one of the host tier's.
    queued: bool,
    host_queued: bool,
}

impl Node {
    /// On the device, with nothing below it and nobody who uses it.
    fn new(parent: u32, owner: u32, from: u32, upto: u32) -> Self {
        Node {
            parent,
            owner,
            from,
            upto,
            children: 0,
            on_device: 0,
            locks: 0,
            pins: 0,
            last_access: 0,
            hits: 0,
            device: true,
            host: false,
            loading: false,
            queued: false,
            host_queued: false,
        }
    }

    fn tokens(&self) -> u32 {
        self.upto - self.from
    }

    /// Who keeps its tokens on the device: an index of [`RadixTree::tokens`].
    fn holder(&self) -> usize {
        if self.locks > 0 {
            LOCKED
        } else if self.pins > 0 {
            PINNED
        } else {
            EVICTABLE
        }
    }
}

const EVICTABLE: usize = 0;
const PINNED: usize = 1;
const LOCKED: usize = 2;

/// What was found of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Tokens on the device, and the node they end with.
    pub tokens: u32,
    pub node: u32,
    /// Tokens beyond that are on the host, and the node that these end with.
    pub host_tokens: u32,
    pub host_node: u32,
    /// Tokens on the device whether or not the window before their end is.
    pub stored: u32,
}

impl Match {
    pub const NOTHING: Self = Match { tokens: 0, node: ROOT, host_tokens: 0, host_node: ROOT, stored: 0 };
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
    /// Tokens on the device by who keeps them there.
    tokens: [u32; 3],
    host: Option<HostTier>,
    windows: Option<Windows>,
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
    /// With a host tier, or with windows, or with neither.
    pub fn new(chains: &'a Chains, page_size: u32, host: Option<HostTier>, windows: Option<Windows>) -> Self {
        let root = Node { locks: 1, ..Node::new(ROOT, 0, 0, 0) };
        RadixTree {
            chains,
            page_size,
            nodes: vec![root],
            vacant: Vec::new(),
            children: HashMap::default(),
            leaves: BinaryHeap::new(),
            clock: 0,
            tokens: [0; 3],
            host,
            windows,
        }
    }

    /// Tokens on the device that may go.
    pub fn evictable(&self) -> u32 {
        self.tokens[EVICTABLE]
    }

    /// Tokens on the device that no request uses: those that may go, and those being copied.
    pub fn unused(&self) -> u32 {
        self.tokens[EVICTABLE] + self.tokens[PINNED]
    }

    /// Tokens on the device.
    pub fn on_device(&self) -> u32 {
        self.tokens.iter().sum()
    }

    /// The longest cached prefix of the first `tokens` of a request, in whole pages. An access: it
    /// splits the node where the prefix ends within it.
    pub fn find(&mut self, request: u32, tokens: u32) -> Match {
        let limit = tokens - tokens % self.page_size;
        let mut found = Match::NOTHING;
        if limit == 0 {
            return found;
        }
        let content = self.content(request);
        let (mut node, mut at) = (ROOT, 0);
        let (mut depth, mut covered) = (0, u32::MAX);
        while let Some((child, upto)) = self.step(node, request, content, at, limit) {
            depth += 1;
            let is_last = upto < self.nodes[child as usize].upto;
            node = if is_last { self.split(child, upto) } else { child };
            // What is above a node on the device is on the device.
            if self.nodes[node as usize].device {
                found.stored = upto;
                if self.windows.as_ref().is_none_or(|windows| windows.covers(node, upto - at, &mut covered)) {
                    (found.tokens, found.node) = (upto, node);
                }
            }
            at = upto;
            if is_last {
                break;
            }
        }
        if self.windows.is_some() {
            node = found.node;
            self.use_window(node);
        } else {
            (found.host_tokens, found.host_node) = (at - found.tokens, node);
        }
        self.clock += TICK;
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
        let (mut node, mut at, mut found) = (ROOT, 0, 0);
        let mut covered = u32::MAX;
        while let Some((child, upto)) = self.step(node, request, content, at, limit) {
            if self.windows.as_ref().is_none_or(|windows| windows.covers(child, upto - at, &mut covered)) {
                found = upto;
            }
            if upto < self.nodes[child as usize].upto {
                break;
            }
            (node, at) = (child, upto);
        }
        found
    }

    /// Enters the first `tokens` of a request, whole pages, of which it shares the first `shared`
    /// with the tree already, and entered the first `entered` itself before.
    pub fn insert(&mut self, request: u32, tokens: u32, shared: u32, entered: u32) -> Inserted {
        debug_assert_eq!(tokens % self.page_size, 0);
        let content = self.content(request);
        let (mut node, mut at) = (ROOT, 0);
        let mut duplicates = 0;
        while let Some((child, upto)) = self.step(node, request, content, at, tokens) {
            self.touch(child);
            node = if upto < self.nodes[child as usize].upto { self.split(child, upto) } else { child };
            if self.nodes[node as usize].device {
                duplicates += upto.saturating_sub(at.max(shared));
            } else {
                self.put_on_device(node);
                self.note_duplicate(node);
            }
            at = upto;
            if at > entered {
                self.count_hit(node);
            }
        }
        if at < tokens {
            node = self.add_leaf(node, request, content, at, tokens);
            if tokens > entered {
                self.count_hit(node);
            }
        }
        Inserted { node, duplicates }
    }

    /// Keeps a node and all above it from being evicted.
    pub fn lock(&mut self, mut at: u32) {
        while at != ROOT {
            let node = &mut self.nodes[at as usize];
            if node.device && node.locks == 0 {
                self.tokens[node.holder()] -= node.tokens();
                self.tokens[LOCKED] += node.tokens();
            }
            node.locks += 1;
            at = node.parent;
        }
    }

    pub fn unlock(&mut self, mut at: u32) {
        while at != ROOT {
            let node = &mut self.nodes[at as usize];
            node.locks -= 1;
            if node.device && node.locks == 0 {
                self.tokens[LOCKED] -= node.tokens();
                self.tokens[node.holder()] += node.tokens();
            }
            let parent = node.parent;
            self.queue_if_leaf(at);
            self.queue_if_host_leaf(at);
            at = parent;
        }
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
        let node = self.nodes[lower as usize];
        debug_assert!(node.from < at && at < node.upto);
        let upper = self.new_node(Node {
            upto: at,
            children: 1,
            on_device: u32::from(node.device),
            queued: false,
            host_queued: false,
            ..node
        });
        self.nodes[lower as usize].parent = upper;
        self.nodes[lower as usize].from = at;
        self.touch(lower);
        let content = self.content(node.owner);
        self.children.insert((node.parent, self.first_page(content, node.from)), upper);
        self.children.insert((upper, self.first_page(content, at)), lower);
        self.note_duplicate(upper);
        if let Some(windows) = &mut self.windows {
            windows.add(upper, Some(lower));
        }
        upper
    }

    fn add_leaf(&mut self, parent: u32, request: u32, content: Content, from: u32, upto: u32) -> u32 {
        let leaf = self.new_node(Node::new(parent, request, from, upto));
        self.children.insert((parent, self.first_page(content, from)), leaf);
        self.nodes[parent as usize].children += 1;
        self.nodes[parent as usize].on_device += 1;
        self.tokens[EVICTABLE] += upto - from;
        self.queue_if_leaf(leaf);
        if let Some(windows) = &mut self.windows {
            windows.add(leaf, None);
        }
        leaf
    }

    fn new_node(&mut self, node: Node) -> u32 {
        self.clock += TICK;
        let node = Node { last_access: self.clock, ..node };
        match self.vacant.pop() {
            Some(at) => {
                // An entry of `leaves` may name it still.
                let queued = self.nodes[at as usize].queued;
                self.nodes[at as usize] = Node { queued, ..node };
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        }
    }
}
