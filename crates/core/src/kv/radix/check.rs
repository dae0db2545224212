//! What must hold of the tree between any two operations. For tests.

use super::{EVICTABLE, LOCKED, PINNED, ROOT, RadixTree};

impl RadixTree<'_> {
    /// Panics unless sizes, locks and pins add up. `locks` are the nodes locked, one entry a lock, and
    /// `pins` those pinned, but for copies that nobody has taken yet. Returns the tokens on the host.
    pub fn check(&self, locks: &[u32], mut pins: Vec<u32>) -> u32 {
        pins.extend(self.host.iter().flat_map(|host| &host.backups).map(|backup| backup.node));
        let (locks, pins) = (self.on_paths(locks), self.on_paths(&pins));
        let (mut tokens, mut on_host) = ([0; 3], 0);
        let mut children = vec![(0, 0); self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate().skip(1).filter(|(_, node)| node.upto > 0) {
            let parent = &self.nodes[node.parent as usize];
            assert_eq!((node.locks, node.pins), (locks[at], pins[at]), "locks and pins of node {at}");
            assert!(node.from < node.upto && node.from.is_multiple_of(self.page_size));
            assert_eq!(node.from, parent.upto, "node {at} does not follow its parent");
            assert!(node.device || node.host, "node {at} is nowhere");
            assert!(!node.device || parent.device, "node {at} is on the device without its parent");
            assert!(node.device || node.pins == 0, "node {at} is pinned, but not on the device");
            children[node.parent as usize].0 += 1;
            children[node.parent as usize].1 += u32::from(node.device);
            if node.device {
                tokens[if node.locks > 0 {
                    LOCKED
                } else if node.pins > 0 {
                    PINNED
                } else {
                    EVICTABLE
                }] += node.tokens();
            }
            on_host += if node.host { node.tokens() } else { 0 };
        }
        assert_eq!(tokens, self.tokens);
        assert!(self.nodes.iter().zip(&children).all(|(node, &counts)| (node.children, node.on_device) == counts));
        assert_eq!(self.children.len() as u32, children.iter().map(|&(all, _)| all).sum::<u32>());
        on_host
    }

    /// How many of `nodes` lie at or below each node.
    fn on_paths(&self, nodes: &[u32]) -> Vec<u32> {
        let mut counts = vec![0; self.nodes.len()];
        for &node in nodes {
            let mut at = node;
            while at != ROOT {
                counts[at as usize] += 1;
                at = self.nodes[at as usize].parent;
            }
        }
        counts
    }
}
