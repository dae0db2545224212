//! The workload: columnar, immutable, one row a request.

/// No predecessor: nothing in its session comes before the request.
pub const NONE: u32 = u32::MAX;

/// Requests in order of (arrival, row). All columns have one entry a request, but `block_ids` and `wait_for`.
///
/// A *session* is a chain of turns, each after the end of the one before. Requests may wait for more than that: a
/// session that another one called for a turn of that one, a turn that called others for their last. A *trajectory*
/// is all that hangs together by such waits: what one user, or agent, set out to do.
///
/// Content is known as a chain of interned block ids, each standing for `block_tokens` tokens:
/// two requests share their first n tokens exactly as far as their ids agree. The ids of a
/// request cover its prompt, the last one possibly in part; what they cover beyond the prompt is
/// generated text that later prompts may repeat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Picoseconds; of a request that waits, the delay after the end of the last it waits for instead.
    pub arrival_ps: Vec<i64>,
    pub input_tokens: Vec<u32>,
    /// What the model really generates.
    pub output_tokens: Vec<u32>,
    /// The limit a client asked for: all that schedulers, routers and views may see.
    pub max_output_tokens: Vec<u32>,
    /// Smaller is served first, under a scheduler that heeds it.
    pub priority: Vec<i32>,
    /// The turn before it, which must end before this one arrives, or `NONE`. A turn has one next turn at most.
    pub after: Vec<u32>,
    /// What else must end before a request arrives, of all requests, one after the other.
    pub wait_for: Vec<u32>,
    /// Request r waits for `wait_for[wait_offsets[r]..wait_offsets[r + 1]]`; empty if nobody does.
    pub wait_offsets: Vec<u64>,
    /// Tokens one block id stands for.
    pub block_tokens: u32,
    /// Interned ids, dense from 0, of all requests, one after the other.
    pub block_ids: Vec<u32>,
    /// Request r owns `block_ids[block_offsets[r]..block_offsets[r + 1]]`.
    pub block_offsets: Vec<u64>,
}

impl Trace {
    pub fn len(&self) -> usize {
        self.arrival_ps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.arrival_ps.is_empty()
    }

    pub fn blocks(&self, request: usize) -> &[u32] {
        &self.block_ids[self.block_offsets[request] as usize..self.block_offsets[request + 1] as usize]
    }

    /// What a request waits for besides the turn before it.
    pub fn waits(&self, request: usize) -> &[u32] {
        if self.wait_offsets.is_empty() {
            return &[];
        }
        &self.wait_for[self.wait_offsets[request] as usize..self.wait_offsets[request + 1] as usize]
    }

    /// All that must end before a request arrives.
    pub fn predecessors(&self, request: usize) -> impl Iterator<Item = u32> + '_ {
        let before = Some(self.after[request]).filter(|&before| before != NONE);
        before.into_iter().chain(self.waits(request).iter().copied())
    }

    /// Whether it comes at its own time.
    pub fn is_root(&self, request: usize) -> bool {
        self.after[request] == NONE && self.waits(request).is_empty()
    }

    /// Whether any request waits for another.
    pub fn has_waits(&self) -> bool {
        !self.wait_for.is_empty() || self.after.iter().any(|&after| after != NONE)
    }

    /// The first turn of each request's session: itself, if it follows none.
    pub fn first_turns(&self) -> Vec<u32> {
        let mut first: Vec<u32> = Vec::with_capacity(self.len());
        for (request, &after) in self.after.iter().enumerate() {
            first.push(if after == NONE { request as u32 } else { first[after as usize] });
        }
        first
    }

    /// The first request of each request's trajectory, which comes at its own time.
    pub fn trajectories(&self) -> Vec<u32> {
        let mut joined = Joined::new(self.len());
        for request in 0..self.len() {
            for before in self.predecessors(request) {
                joined.join(before, request as u32);
            }
        }
        (0..self.len() as u32).map(|request| joined.top(request)).collect()
    }
}

/// Rows that were found to belong together.
pub(crate) struct Joined {
    above: Vec<u32>,
}

impl Joined {
    pub(crate) fn new(rows: usize) -> Self {
        Joined { above: (0..rows as u32).collect() }
    }

    /// The first of all rows that belong with this one.
    pub(crate) fn top(&mut self, mut row: u32) -> u32 {
        while self.above[row as usize] != row {
            let above = self.above[row as usize];
            self.above[row as usize] = self.above[above as usize];
            row = above;
        }
        row
    }

    /// The earlier row stands for both.
    pub(crate) fn join(&mut self, one: u32, other: u32) {
        let (one, other) = (self.top(one), self.top(other));
        self.above[one.max(other) as usize] = one.min(other);
    }
}
