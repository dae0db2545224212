//! SGLang's HiCache: copies of nodes in a pool of host memory.
//!
//! Under write-through, a node is copied when it has been inserted often enough, and all above it
//! that is not there yet before it; it may be evicted from the device once the copy has ended. Under
//! write-back, it is copied when it is evicted, and the engine waits. What is only on the host can
//! be loaded back.

use super::evict::is_leaf;
use super::{EVICTABLE, Node, PINNED, ROOT, RadixTree};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// When a node is copied to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePolicy {
    /// When it has been inserted so many times.
    Through(u32),
    /// When it is evicted from the device.
    Back,
}

/// Tokens to be copied to the host. The node is pinned until that is done ([`RadixTree::unpin`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    pub node: u32,
    pub tokens: u32,
}

/// The pool of host memory.
#[derive(Debug)]
pub struct HostTier {
    policy: WritePolicy,
    free: u32,
    /// Leaves that are only on the host, by last access; as [`RadixTree::leaves`].
    leaves: BinaryHeap<Reverse<(u64, u32)>>,
    /// Write-through: copies to be made, since they were last taken.
    pub(super) backups: Vec<Backup>,
    /// Write-back: tokens of the copies that evictions waited for, since they were last taken.
    waited: Vec<u32>,
    /// Write-back: nodes on both tiers by the order in which they came to be so. Of nodes that have
    /// left the device since, the entry stays until somebody looks at it.
    duplicates: BTreeMap<u64, u32>,
    orders: Vec<Option<u64>>,
    next_order: u64,
}

impl HostTier {
    /// A pool of `tokens`, whole pages.
    pub fn new(policy: WritePolicy, tokens: u32) -> Self {
        HostTier {
            policy,
            free: tokens,
            leaves: BinaryHeap::new(),
            backups: Vec::new(),
            waited: Vec::new(),
            duplicates: BTreeMap::new(),
            orders: Vec::new(),
            next_order: 0,
        }
    }
}

impl RadixTree<'_> {
    /// Moves the copies to be made to `taken`.
    pub fn take_backups(&mut self, taken: &mut Vec<Backup>) {
        if let Some(host) = &mut self.host {
            taken.append(&mut host.backups);
        }
    }

    /// Tokens of each copy that evictions have waited for.
    pub fn take_waited(&mut self) -> impl Iterator<Item = u32> {
        self.host.iter_mut().flat_map(|host| host.waited.drain(..))
    }

    /// Free tokens of the pool of host memory, if there is one.
    pub fn host_free(&self) -> Option<u32> {
        self.host.as_ref().map(|host| host.free)
    }

    /// Keeps a node, all of whose tokens are on the device, and all above it there.
    pub fn pin(&mut self, mut at: u32) {
        while at != ROOT {
            let node = &mut self.nodes[at as usize];
            if node.holder() == EVICTABLE {
                self.tokens[EVICTABLE] -= node.tokens();
                self.tokens[PINNED] += node.tokens();
            }
            node.pins += 1;
            at = node.parent;
        }
    }

    pub fn unpin(&mut self, mut at: u32) {
        while at != ROOT {
            let node = &mut self.nodes[at as usize];
            node.pins -= 1;
            if node.holder() == EVICTABLE {
                self.tokens[PINNED] -= node.tokens();
                self.tokens[EVICTABLE] += node.tokens();
            }
            let parent = node.parent;
            if std::mem::take(&mut node.loading) {
                self.note_duplicate(at);
            }
            self.queue_if_leaf(at);
            at = parent;
        }
    }

    /// Loads what is only on the host, up to node `at`, which is locked, and pins it until that is
    /// done ([`Self::unpin`]). The device has room.
    pub fn load_back(&mut self, at: u32) {
        let mut node = at;
        while !self.nodes[node as usize].device {
            self.put_on_device(node);
            self.nodes[node as usize].loading = true;
            node = self.nodes[node as usize].parent;
        }
        self.pin(at);
    }

    /// The tokens of a node that was not on the device are there now.
    pub(super) fn put_on_device(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        node.device = true;
        self.tokens[node.holder()] += node.tokens();
        let parent = node.parent;
        self.nodes[parent as usize].on_device += 1;
        self.queue_if_leaf(at);
    }

    /// A node has been inserted once more.
    pub(super) fn count_hit(&mut self, at: u32) {
        let Some(HostTier { policy: WritePolicy::Through(threshold), .. }) = self.host else { return };
        let node = &mut self.nodes[at as usize];
        node.hits += 1;
        if !node.host && node.hits >= threshold {
            self.write_through(at);
        }
    }

    /// Copies a node, and before it those above it that are not on the host. Ends where there is no room.
    fn write_through(&mut self, mut at: u32) {
        let mut chain = Vec::new();
        while at != ROOT && !self.nodes[at as usize].host {
            chain.push(at);
            at = self.nodes[at as usize].parent;
        }
        for &node in chain.iter().rev() {
            let tokens = self.nodes[node as usize].tokens();
            if !self.take_host(tokens) {
                return;
            }
            self.nodes[node as usize].host = true;
            self.pin(node);
            self.host.as_mut().expect("room was taken in it").backups.push(Backup { node, tokens });
        }
    }

    /// Write-back: copies a node that is to be evicted. False if it is not to be copied, or has no room.
    pub(super) fn write_back(&mut self, at: u32) -> bool {
        if !self.host.as_ref().is_some_and(|host| host.policy == WritePolicy::Back) {
            return false;
        }
        let tokens = self.nodes[at as usize].tokens();
        if !self.take_host(tokens) {
            return false;
        }
        self.nodes[at as usize].host = true;
        self.note_duplicate(at);
        self.host.as_mut().expect("room was taken in it").waited.push(tokens);
        true
    }

    /// Takes `tokens` of the pool, evicting for them. False if even then they are not free.
    fn take_host(&mut self, tokens: u32) -> bool {
        let Some(free) = self.host_free() else { return false };
        if free < tokens && self.evict_host(tokens - free) < tokens - free {
            return false;
        }
        self.free_host(|free| free - tokens);
        true
    }

    fn free_host(&mut self, change: impl FnOnce(u32) -> u32) {
        if let Some(host) = &mut self.host {
            host.free = change(host.free);
        }
    }

    /// Frees `wanted` tokens of the pool, or all that can be. Returns the tokens freed.
    fn evict_host(&mut self, wanted: u32) -> u32 {
        let mut freed = self.drop_duplicates(wanted);
        while freed < wanted
            && let Some(Reverse((access, at))) = self.host.as_mut().and_then(|host| host.leaves.pop())
        {
            let node = self.nodes[at as usize];
            self.nodes[at as usize].host_queued = false;
            if !is_host_leaf(&node) {
                continue;
            }
            if access < node.last_access {
                self.queue_if_host_leaf(at);
                continue;
            }
            freed += node.tokens();
            self.free_host(|free| free + node.tokens());
            self.nodes[at as usize].host = false;
            self.remove(at);
        }
        freed
    }

    pub(super) fn queue_if_host_leaf(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        if at != ROOT
            && is_host_leaf(node)
            && !node.host_queued
            && let Some(host) = &mut self.host
        {
            node.host_queued = true;
            host.leaves.push(Reverse((node.last_access, at)));
        }
    }

    /// Write-back: frees copies of what is on the device, the oldest first, of what could be evicted
    /// from there last. Returns the tokens freed.
    fn drop_duplicates(&mut self, wanted: u32) -> u32 {
        let mut freed = 0;
        for spares_leaves in [true, false] {
            let mut next = 0;
            while freed < wanted
                && let Some((&order, &at)) = self.host.as_ref().and_then(|host| host.duplicates.range(next..).next())
            {
                next = order + 1;
                let node = self.nodes[at as usize];
                let is_duplicate = node.device && node.host;
                if is_duplicate && (node.loading || spares_leaves && is_leaf(&node)) {
                    continue;
                }
                if is_duplicate {
                    freed += node.tokens();
                    self.free_host(|free| free + node.tokens());
                    self.nodes[at as usize].host = false;
                }
                self.forget_duplicate(at);
            }
        }
        freed
    }

    /// Write-back: a node may have come to be on both tiers.
    pub(super) fn note_duplicate(&mut self, at: u32) {
        let Some(host) = self.host.as_mut().filter(|host| host.policy == WritePolicy::Back) else { return };
        let node = &self.nodes[at as usize];
        if !(node.device && node.host) || node.loading {
            return;
        }
        if host.orders.len() <= at as usize {
            host.orders.resize(at as usize + 1, None);
        }
        if host.orders[at as usize].is_none() {
            host.orders[at as usize] = Some(host.next_order);
            host.duplicates.insert(host.next_order, at);
            host.next_order += 1;
        }
    }

    pub(super) fn forget_duplicate(&mut self, at: u32) {
        if let Some(host) = &mut self.host
            && let Some(order) = host.orders.get_mut(at as usize).and_then(Option::take)
        {
            host.duplicates.remove(&order);
        }
    }

    /// Takes all that is below a node, which is only on the host, out of the tree.
    pub(super) fn drop_below(&mut self, top: u32) {
        while self.nodes[top as usize].children > 0 {
            let below = |&at: &usize| {
                let mut parent = self.nodes[at].parent;
                while parent != ROOT && parent != top {
                    parent = self.nodes[parent as usize].parent;
                }
                let node = &self.nodes[at];
                node.upto > 0 && node.children == 0 && at as u32 != top && parent == top
            };
            let leaf = (1..self.nodes.len()).find(below).expect("a node with children has leaves below");
            let tokens = self.nodes[leaf].tokens();
            self.free_host(|free| free + tokens);
            self.nodes[leaf].host = false;
            self.remove(leaf as u32);
        }
    }
}

/// Whether it may be evicted from the host now.
fn is_host_leaf(node: &Node) -> bool {
    !node.device && node.host && node.children == 0 && node.locks == 0
}
