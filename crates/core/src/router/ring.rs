//! A ring of hashes (Karger et al.: Consistent Hashing and Random Trees, 1997): each replica stands
//! at several points of it, and a key goes to the next point clockwise.

use crate::random;

/// Keeps the draws for points apart from those for keys.
const POINT: u64 = 0;
const KEY: u64 = 1;

pub(super) struct Ring {
    seed: u64,
    points: Vec<(u64, u32)>,
}

impl Ring {
    /// `virtual_nodes` points for each replica.
    pub(super) fn new(seed: u64, replicas: u32, virtual_nodes: u32) -> Self {
        let mut points: Vec<(u64, u32)> = (0..replicas)
            .flat_map(|replica| (0..virtual_nodes).map(move |node| (replica, node)))
            .map(|(replica, node)| (random::draw(seed, &[POINT, u64::from(replica), u64::from(node)]), replica))
            .collect();
        points.sort_unstable();
        Ring { seed, points }
    }

    /// Replicas in the order of the ring, from `key` clockwise; each as often as it has points.
    pub(super) fn from(&self, key: u64) -> impl Iterator<Item = u32> {
        let hash = random::draw(self.seed, &[KEY, key]);
        let at = self.points.partition_point(|&(point, _)| point < hash);
        self.points[at..].iter().chain(&self.points[..at]).map(|&(_, replica)| replica)
    }

    pub(super) fn first(&self, key: u64) -> u32 {
        self.from(key).next().expect("there is a point")
    }
}
