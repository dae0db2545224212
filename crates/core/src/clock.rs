//! What time it is, and each worker's next event, ordered.

use crate::worker::Phase;

/// A time, and whether the decisions of that time have been taken: see [`Decisions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub ps: i64,
    pub decided: bool,
}

impl Now {
    /// Before any decision of that time.
    pub fn at(ps: i64) -> Self {
        Now { ps, decided: false }
    }

    /// All decisions before this time have been taken.
    pub fn decided_ps(self) -> i64 {
        self.ps.saturating_add(i64::from(self.decided))
    }
}

/// How far the decisions of a time have gone. Once the first is taken, all others of the time are, before
/// anything that comes of them is told to other workers: so neither a worker's number, nor whether it leaps, says
/// which of its decisions came before that.
#[derive(Clone, Copy, Debug)]
pub struct Decisions {
    last_ps: i64,
    under_way: bool,
}

impl Decisions {
    pub fn none() -> Self {
        Decisions { last_ps: i64::MIN, under_way: false }
    }

    /// One is taken.
    pub fn take(&mut self, time_ps: i64) {
        (self.last_ps, self.under_way) = (time_ps, true);
    }

    /// Something comes from outside the workers.
    pub fn pass(&mut self) {
        self.under_way = false;
    }

    pub fn now(&self, time_ps: i64) -> Now {
        Now { ps: time_ps, decided: time_ps == self.last_ps }
    }

    /// Whether workers go first at this time, whatever there is else.
    pub fn under_way(&self, time_ps: i64) -> bool {
        self.under_way && self.last_ps == time_ps
    }
}

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
