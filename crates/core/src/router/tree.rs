//! A tournament tree: keys of replicas, the least of them first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub(super) struct Tree<K> {
    replicas: u32,
    leaves: u32,
    /// The least key below each node; node 1 is the root, `leaves + r` is replica r.
    keys: Vec<K>,
}

/// Nodes still to be looked at: the least key below, the least place below, the node.
pub(super) type Open<K> = BinaryHeap<Reverse<(K, u32, u32)>>;

impl<K: Ord + Copy> Tree<K> {
    /// All replicas with `key`, which is below `greatest`.
    pub(super) fn new(replicas: u32, key: K, greatest: K) -> Self {
        let leaves = replicas.next_power_of_two();
        let mut keys = vec![greatest; 2 * leaves as usize];
        keys[leaves as usize..][..replicas as usize].fill(key);
        for node in (1..leaves as usize).rev() {
            keys[node] = keys[2 * node].min(keys[2 * node + 1]);
        }
        Tree { replicas, leaves, keys }
    }

    pub(super) fn key(&self, replica: u32) -> K {
        self.keys[(self.leaves + replica) as usize]
    }

    pub(super) fn least(&self) -> K {
        self.keys[1]
    }

    pub(super) fn set(&mut self, replica: u32, key: K) {
        let mut node = (self.leaves + replica) as usize;
        self.keys[node] = key;
        while node > 1 {
            node /= 2;
            let least = self.keys[2 * node].min(self.keys[2 * node + 1]);
            if self.keys[node] == least {
                return;
            }
            self.keys[node] = least;
        }
    }

    /// Calls `visit(replica, key, place)` by key; equal keys from replica `first` on and then around,
    /// of which `place` is the count. Goes on until `visit` returns false. Costs a logarithm each.
    /// `open` is a buffer.
    pub(super) fn in_order(&self, open: &mut Open<K>, first: u32, mut visit: impl FnMut(u32, K, u32) -> bool) {
        open.clear();
        open.push(Reverse((self.keys[1], 0, 1)));
        while let Some(Reverse((key, place, node))) = open.pop() {
            if node >= self.leaves {
                if !visit(node - self.leaves, key, place) {
                    break;
                }
                continue;
            }
            for child in [2 * node, 2 * node + 1] {
                if let Some(place) = self.first_place(child, first) {
                    open.push(Reverse((self.keys[child as usize], place, child)));
                }
            }
        }
    }

    /// The least place of the replicas below `node`, or less; none if there are none.
    fn first_place(&self, node: u32, first: u32) -> Option<u32> {
        let size = self.leaves >> node.ilog2();
        let start = (node << (self.leaves.ilog2() - node.ilog2())) - self.leaves;
        if start >= self.replicas {
            None
        } else if (start..start + size).contains(&first) {
            Some(0)
        } else {
            Some((start + self.replicas - first) % self.replicas)
        }
    }
}

/// The place of `replica` if counting starts at `first`.
pub(super) fn place(replica: u32, first: u32, replicas: u32) -> u32 {
    (replica + replicas - first) % replicas
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::mix;

    #[test]
    fn replicas_come_by_key_and_then_around_from_the_first() {
        let mut state = 1;
        let mut roll = |below: u64| {
            state = mix(state);
            state % below
        };
        for _ in 0..500 {
            let replicas = roll(40) as u32 + 1;
            let mut tree = Tree::new(replicas, 3, u64::MAX);
            let mut keys = vec![3; replicas as usize];
            for _ in 0..roll(80) {
                let (replica, key) = (roll(u64::from(replicas)) as u32, roll(6));
                tree.set(replica, key);
                keys[replica as usize] = key;
            }
            let first = roll(u64::from(replicas)) as u32;
            let mut expected: Vec<(u64, u32, u32)> =
                keys.iter().zip(0..).map(|(&key, replica)| (key, place(replica, first, replicas), replica)).collect();
            expected.sort_unstable();
            expected.truncate(roll(45) as usize + 1);
            let mut seen = Vec::new();
            tree.in_order(&mut Open::new(), first, |replica, key, place| {
                seen.push((key, place, replica));
                seen.len() < expected.len()
            });
            assert_eq!(seen, expected);
            assert_eq!(tree.least(), *keys.iter().min().unwrap());
        }
    }
}
