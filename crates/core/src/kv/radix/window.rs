//! What layers with a sliding window keep of cached prefixes: SGLang's second pool, the SWA component of
//! its tree.
//!
//! A node's tokens stay on the device for the layers that look at all of them; for those that look back a
//! window, the node has them too (it is *live*), or has lost them. A prefix can be used if all nodes
//! within the window before its end are live. Live nodes are in a list of their own by last use, and a
//! request locks only the nodes within the window before where it begins.

use super::evict::is_leaf;
use super::{Inserted, Node, ROOT, RadixTree};

/// The window of one node; of the root, the two ends of the list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    live: bool,
    locks: u32,
    /// Neighbours in the list of live nodes: used less recently, and more.
    older: u32,
    newer: u32,
}

#[derive(Debug)]
pub struct Windows {
    /// Tokens that the layers look back.
    window: u32,
    nodes: Vec<Held>,
    evictable: u32,
    locked: u32,
    /// Tokens of the windows' pool that evictions have freed since they were last taken.
    freed: u32,
}

impl Windows {
    /// Of layers that look back `window` tokens.
    pub fn new(window: u32) -> Self {
        Windows { window, nodes: vec![Held::default()], evictable: 0, locked: 0, freed: 0 }
    }

    /// Whether a prefix can end with a node of `tokens`; `covered` live tokens come before it.
    pub(super) fn covers(&self, at: u32, tokens: u32, covered: &mut u32) -> bool {
        if !self.nodes[at as usize].live {
            *covered = 0;
            return false;
        }
        *covered = covered.saturating_add(tokens);
        *covered >= self.window
    }

    /// A node is new; `like` is what it was cut from, if it was.
    pub(super) fn add(&mut self, at: u32, like: Option<u32>) {
        self.nodes.resize(self.nodes.len().max(at as usize + 1), Held::default());
        let Some(Held { live, locks, .. }) = like.map(|like| self.nodes[like as usize]) else {
            self.nodes[at as usize] = Held::default();
            return;
        };
        self.nodes[at as usize] = Held { live, locks, older: ROOT, newer: ROOT };
        if live {
            self.link(at, like.unwrap_or(ROOT));
        }
    }

    /// Puts a node into the list, as used just before `newer`, or last of all if that is the root.
    fn link(&mut self, at: u32, newer: u32) {
        let older = self.nodes[newer as usize].older;
        self.nodes[at as usize].newer = newer;
        self.nodes[at as usize].older = older;
        self.nodes[newer as usize].older = at;
        self.nodes[older as usize].newer = at;
    }

    fn unlink(&mut self, at: u32) {
        let Held { older, newer, .. } = self.nodes[at as usize];
        self.nodes[newer as usize].older = older;
        self.nodes[older as usize].newer = newer;
    }

    /// The node used the longest ago of those that nobody has locked, from `at` on.
    fn next_unlocked(&self, mut at: u32) -> Option<u32> {
        while at != ROOT && self.nodes[at as usize].locks > 0 {
            at = self.nodes[at as usize].newer;
        }
        (at != ROOT).then_some(at)
    }

    /// A node of `tokens` loses its window, if it has it.
    pub(super) fn drop_window(&mut self, at: u32, tokens: u32) {
        if std::mem::take(&mut self.nodes[at as usize].live) {
            debug_assert_eq!(self.nodes[at as usize].locks, 0);
            self.unlink(at);
            self.evictable -= tokens;
            self.freed += tokens;
        }
    }

    /// A node of `tokens` gets its window.
    fn revive(&mut self, at: u32, tokens: u32) {
        self.nodes[at as usize].live = true;
        self.link(at, ROOT);
        if self.nodes[at as usize].locks > 0 { self.locked += tokens } else { self.evictable += tokens }
    }
}

impl RadixTree<'_> {
    /// Tokens of the windows' pool that may go.
    pub fn evictable_window(&self) -> u32 {
        self.windows.as_ref().map_or(0, |windows| windows.evictable)
    }

    /// Tokens of the windows' pool that the tree has.
    pub fn in_windows(&self) -> u32 {
        self.windows.as_ref().map_or(0, |windows| windows.evictable + windows.locked)
    }

    /// Tokens of the windows' pool that evictions have freed since this was last asked.
    pub fn take_freed_window(&mut self) -> u32 {
        self.windows.as_mut().map_or(0, |windows| std::mem::take(&mut windows.freed))
    }

    /// Keeps the window that ends with a node. Returns the token that it begins with, for
    /// [`Self::unlock_window`].
    pub fn lock_window(&mut self, mut at: u32) -> u32 {
        let Some(windows) = &mut self.windows else { return 0 };
        let (mut covered, mut from) = (0, 0);
        while at != ROOT && covered < windows.window {
            let node = &self.nodes[at as usize];
            let held = &mut windows.nodes[at as usize];
            if held.locks == 0 && held.live {
                windows.evictable -= node.tokens();
                windows.locked += node.tokens();
            }
            held.locks += 1;
            covered += node.tokens();
            if covered >= windows.window {
                from = node.from;
            }
            at = node.parent;
        }
        from
    }

    /// Lets go of the window that ends with a node and begins with token `from`.
    pub fn unlock_window(&mut self, mut at: u32, from: u32) {
        let Some(windows) = &mut self.windows else { return };
        while at != ROOT && self.nodes[at as usize].upto > from {
            let node = &self.nodes[at as usize];
            let held = &mut windows.nodes[at as usize];
            held.locks -= 1;
            if held.locks == 0 && held.live {
                windows.locked -= node.tokens();
                windows.evictable += node.tokens();
            }
            at = node.parent;
        }
    }

    /// As [`RadixTree::insert`], where layers have windows: of the first `freed` tokens, the request
    /// has given its windows back. Returns with it the tokens of windows that the tree takes over.
    pub fn insert_with_window(&mut self, request: u32, tokens: u32, shared: u32, freed: u32) -> (Inserted, u32) {
        debug_assert_eq!(tokens % self.page_size, 0);
        let content = self.content(request);
        let (mut node, mut at) = (ROOT, 0);
        let (mut duplicates, mut taken) = (0, 0);
        while let Some((child, upto)) = self.step(node, request, content, at, tokens) {
            self.touch(child);
            node = if upto < self.nodes[child as usize].upto { self.split(child, upto) } else { child };
            if shared < upto {
                taken += self.fill(node, freed, None);
                duplicates += upto - at.max(shared);
            }
            at = upto;
        }
        if at < tokens {
            node = self.add_leaf(node, request, content, at, tokens);
            // The last window is a node of its own, so that locking it locks no more.
            let window = self.windows.as_ref().map_or(0, |windows| windows.window.next_multiple_of(self.page_size));
            taken += self.fill(node, freed, Some(window));
        }
        self.use_window(node);
        (Inserted { node, duplicates }, taken)
    }

    /// Gives a node that has lost its window those of its tokens from `freed` on, and if these are more
    /// than `last`, cuts it there. Returns how many.
    fn fill(&mut self, at: u32, freed: u32, last: Option<u32>) -> u32 {
        let Node { from, upto, .. } = self.nodes[at as usize];
        let begin = from.max(freed);
        let is_live = |tree: &Self| tree.windows.as_ref().is_some_and(|windows| windows.nodes[at as usize].live);
        if begin >= upto || is_live(self) {
            return 0;
        }
        if begin > from {
            self.split(at, begin);
        }
        if let Some(last) = last.filter(|&last| last < upto - begin) {
            let above = self.split(at, upto - last);
            self.revive(above);
        }
        self.revive(at);
        upto - begin
    }

    fn revive(&mut self, at: u32) {
        let tokens = self.nodes[at as usize].tokens();
        if let Some(windows) = &mut self.windows {
            windows.revive(at, tokens);
        }
    }

    /// The window that ends with a node has been used, and a page more.
    pub(super) fn use_window(&mut self, mut at: u32) {
        let Some(windows) = &mut self.windows else { return };
        let (mut newer, mut covered) = (ROOT, 0);
        while at != ROOT && covered < windows.window + self.page_size {
            let node = &self.nodes[at as usize];
            if windows.nodes[at as usize].live {
                windows.unlink(at);
                windows.link(at, newer);
                newer = at;
            }
            covered += node.tokens();
            at = node.parent;
        }
    }

    /// Evicts windows until `wanted` tokens of their pool are free or nothing is left to evict: the one
    /// used the longest ago first, with all of its node where nothing comes after it. Returns the tokens
    /// of the other pool that this frees.
    pub fn evict_window(&mut self, wanted: u32) -> u32 {
        let mut freed = 0;
        let mut next = ROOT;
        let goal = self.windows.as_ref().map_or(0, |windows| windows.freed + wanted);
        while let Some(windows) = &mut self.windows
            && windows.freed < goal
        {
            let first = if next == ROOT { windows.nodes[ROOT as usize].newer } else { next };
            let Some(at) = windows.next_unlocked(first) else { break };
            next = windows.nodes[at as usize].newer;
            let node = self.nodes[at as usize];
            windows.drop_window(at, node.tokens());
            if is_leaf(&node) {
                freed += node.tokens();
                self.delete_leaf(at);
            }
            if next == ROOT {
                break;
            }
        }
        freed
    }

    /// Panics unless windows add up, whose locks are at these nodes from these tokens on.
    pub fn check_windows(&self, locks: &[(u32, u32)]) {
        let Some(windows) = &self.windows else { return };
        let mut counts = vec![0; self.nodes.len()];
        for &(node, from) in locks {
            let mut at = node;
            while at != ROOT && self.nodes[at as usize].upto > from {
                counts[at as usize] += 1;
                at = self.nodes[at as usize].parent;
            }
        }
        let (mut evictable, mut locked, mut live) = (0, 0, 0);
        for (at, node) in self.nodes.iter().enumerate().skip(1).filter(|(_, node)| node.upto > 0) {
            let held = windows.nodes[at];
            assert_eq!(held.locks, counts[at], "locks of the window of node {at}");
            if held.live {
                live += 1;
                *(if held.locks > 0 { &mut locked } else { &mut evictable }) += node.tokens();
            }
        }
        assert_eq!((evictable, locked), (windows.evictable, windows.locked));
        let mut at = windows.nodes[ROOT as usize].newer;
        while at != ROOT {
            live -= 1;
            at = windows.nodes[at as usize].newer;
        }
        assert_eq!(live, 0, "nodes in the list of windows");
    }
}
