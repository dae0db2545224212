//! The waiting queue.

use std::collections::{BTreeMap, VecDeque};

/// A request that waits; `slot` holds its state if it has run before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub request: u32,
    pub slot: Option<u32>,
}

/// The order of a priority queue: priority, arrival, identity.
pub type Key = (i32, i64, u32);

#[derive(Clone, Debug)]
pub enum Queue {
    Fcfs(VecDeque<Waiting>),
    Priority(BTreeMap<Key, Waiting>),
}

impl Queue {
    pub fn new(by_priority: bool) -> Self {
        if by_priority { Queue::Priority(BTreeMap::new()) } else { Queue::Fcfs(VecDeque::new()) }
    }

    pub fn len(&self) -> usize {
        match self {
            Queue::Fcfs(queue) => queue.len(),
            Queue::Priority(queue) => queue.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn head(&self) -> Option<Waiting> {
        match self {
            Queue::Fcfs(queue) => queue.front().copied(),
            Queue::Priority(queue) => queue.first_key_value().map(|(_, &waiting)| waiting),
        }
    }

    /// The one behind `index` others.
    pub fn get(&self, index: usize) -> Option<Waiting> {
        match self {
            Queue::Fcfs(queue) => queue.get(index).copied(),
            Queue::Priority(queue) => queue.values().nth(index).copied(),
        }
    }

    /// Takes out the one behind `index` others.
    pub fn take(&mut self, index: usize) {
        match self {
            Queue::Fcfs(queue) => {
                queue.remove(index);
            }
            Queue::Priority(queue) => {
                if let Some(&key) = queue.keys().nth(index) {
                    queue.remove(&key);
                }
            }
        }
    }

    pub fn push_arrival(&mut self, key: Key, waiting: Waiting) {
        match self {
            Queue::Fcfs(queue) => queue.push_back(waiting),
            Queue::Priority(queue) => {
                queue.insert(key, waiting);
            }
        }
    }

    /// First come, first served: to the front.
    pub fn push_preempted(&mut self, key: Key, waiting: Waiting) {
        match self {
            Queue::Fcfs(queue) => queue.push_front(waiting),
            Queue::Priority(queue) => {
                queue.insert(key, waiting);
            }
        }
    }

    /// Takes out one that ended while it waited: it stood near the front.
    pub fn remove(&mut self, key: Key, request: u32) {
        match self {
            Queue::Fcfs(queue) => {
                if let Some(position) = queue.iter().position(|w| w.request == request) {
                    queue.remove(position);
                }
            }
            Queue::Priority(queue) => {
                queue.remove(&key);
            }
        }
    }

    pub fn iter(&self) -> Box<dyn Iterator<Item = Waiting> + '_> {
        match self {
            Queue::Fcfs(queue) => Box::new(queue.iter().copied()),
            Queue::Priority(queue) => Box::new(queue.values().copied()),
        }
    }
}
