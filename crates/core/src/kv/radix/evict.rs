//! Who leaves the device, and the tree.

use super::{EVICTABLE, Node, ROOT, RadixTree};
use std::cmp::Reverse;

impl RadixTree<'_> {
    /// Evicts whole leaves from the device, the one that was accessed longest ago first, until
    /// `wanted` tokens are free or nothing is left to evict. Returns the tokens freed. What is on the
    /// host stays there.
    pub fn evict(&mut self, wanted: u32) -> u32 {
        let mut freed = 0;
        while freed < wanted
            && let Some(Reverse((access, at))) = self.leaves.pop()
        {
            let node = self.nodes[at as usize];
            self.nodes[at as usize].queued = false;
            if !is_leaf(&node) {
                continue;
            }
            if access < node.last_access {
                self.queue_if_leaf(at);
                continue;
            }
            freed += node.tokens();
            if let Some(windows) = &mut self.windows {
                windows.drop_window(at, node.tokens());
            }
            if node.host || self.write_back(at) {
                self.take_off_device(at);
                self.queue_if_host_leaf(at);
            } else {
                self.take_off_device(at);
                self.drop_below(at);
                self.remove(at);
            }
            self.queue_if_leaf(node.parent);
        }
        freed
    }

    /// Evicts a leaf that is nowhere but on the device, and takes it out of the tree.
    pub(super) fn delete_leaf(&mut self, at: u32) {
        let parent = self.nodes[at as usize].parent;
        self.take_off_device(at);
        self.remove(at);
        self.queue_if_leaf(parent);
    }

    fn take_off_device(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        node.device = false;
        self.tokens[EVICTABLE] -= node.tokens();
        let parent = node.parent;
        self.nodes[parent as usize].on_device -= 1;
    }

    /// Takes a node without children out of the tree.
    pub(super) fn remove(&mut self, at: u32) {
        let Node { parent, owner, from, .. } = self.nodes[at as usize];
        let name = self.first_page(self.content(owner), from);
        self.children.remove(&(parent, name));
        self.nodes[at as usize].upto = 0;
        self.nodes[at as usize].from = 0;
        self.vacant.push(at);
        self.forget_duplicate(at);
        self.nodes[parent as usize].children -= 1;
        self.queue_if_host_leaf(parent);
    }

    pub(super) fn queue_if_leaf(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        if at != ROOT && is_leaf(node) && !node.queued {
            node.queued = true;
            self.leaves.push(Reverse((node.last_access, at)));
        }
    }
}

/// Whether it may be evicted from the device now.
pub(super) fn is_leaf(node: &Node) -> bool {
    node.device && node.on_device == 0 && node.locks == 0 && node.pins == 0
}
