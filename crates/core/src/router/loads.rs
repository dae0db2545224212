//! What a router has sent to each replica and has not come back: its own count, always of the present.

use std::collections::BTreeSet;

pub(super) struct Loads {
    of: Vec<u64>,
    order: BTreeSet<(u64, u32)>,
    total: u64,
}

impl Loads {
    pub(super) fn new(replicas: u32) -> Self {
        Loads { of: vec![0; replicas as usize], order: (0..replicas).map(|r| (0, r)).collect(), total: 0 }
    }

    pub(super) fn of(&self, replica: u32) -> u64 {
        self.of[replica as usize]
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn replicas(&self) -> u32 {
        self.of.len() as u32
    }

    /// The least load and the first replica that has it.
    pub(super) fn least(&self) -> (u64, u32) {
        *self.order.first().expect("there is a replica")
    }

    pub(super) fn most(&self) -> u64 {
        self.order.last().expect("there is a replica").0
    }

    /// All replicas of the least load, in order.
    pub(super) fn all_least(&self) -> impl Iterator<Item = u32> {
        let (least, _) = self.least();
        self.order.range(..(least + 1, 0)).map(|&(_, replica)| replica)
    }

    pub(super) fn add(&mut self, replica: u32, load: u64) {
        self.set(replica, self.of(replica) + load);
    }

    pub(super) fn remove(&mut self, replica: u32, load: u64) {
        self.set(replica, self.of(replica) - load);
    }

    fn set(&mut self, replica: u32, load: u64) {
        let old = std::mem::replace(&mut self.of[replica as usize], load);
        self.order.remove(&(old, replica));
        self.order.insert((load, replica));
        self.total = self.total - old + load;
    }
}
