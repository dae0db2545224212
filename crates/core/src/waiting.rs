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

    pub fn pop(&mut self) {
        match self {
            Queue::Fcfs(queue) => {
                queue.pop_front();
            }
            Queue::Priority(queue) => {
                queue.pop_first();
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
