//! Each worker's next event, ordered.

use crate::worker::Phase;

/// Nothing will happen.
const IDLE: (i64, Phase) = (i64::MAX, Phase::Decision);

/// An indexed heap: one entry a worker, moved when its time changes, none ever stale.
/// At equal times and phases the lower replica goes first.
#[derive(Clone, Debug)]
pub struct Agenda {
    heap: Vec<u32>,
    position: Vec<u32>,
    next: Vec<(i64, Phase)>,
}

impl Agenda {
    pub fn new(workers: u32) -> Self {
        Agenda { heap: (0..workers).collect(), position: (0..workers).collect(), next: vec![IDLE; workers as usize] }
    }

    /// The earliest event and its worker.
    pub fn first(&self) -> Option<((i64, Phase), u32)> {
        let &worker = self.heap.first()?;
        let next = self.next[worker as usize];
        (next != IDLE).then_some((next, worker))
    }

    pub fn set(&mut self, worker: u32, next: Option<(i64, Phase)>) {
        self.next[worker as usize] = next.unwrap_or(IDLE);
        let at = self.position[worker as usize] as usize;
        let at = self.sift_up(at);
        self.sift_down(at);
    }

    fn key(&self, at: usize) -> (i64, Phase, u32) {
        let worker = self.heap[at];
        let (time, phase) = self.next[worker as usize];
        (time, phase, worker)
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.position[self.heap[a] as usize] = a as u32;
        self.position[self.heap[b] as usize] = b as u32;
    }

    fn sift_up(&mut self, mut at: usize) -> usize {
        while at > 0 && self.key(at) < self.key((at - 1) / 2) {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
        at
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let children = (2 * at + 1)..(2 * at + 3).min(self.heap.len()).max(2 * at + 1);
            let Some(least) = children.min_by_key(|&child| self.key(child)) else { return };
            if self.key(at) <= self.key(least) {
                return;
            }
            self.swap(at, least);
            at = least;
        }
    }
}
