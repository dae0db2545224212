//! The workload: columnar, immutable, one row a request.

/// No predecessor: the request arrives at its own time.
pub const NONE: u32 = u32::MAX;

/// Requests in order of (arrival, row). All columns have one entry a request, but `block_ids`.
///
/// Content is known as a chain of interned block ids, each standing for `block_tokens` tokens:
/// two requests share their first n tokens exactly as far as their ids agree. The ids of a
/// request cover its prompt, the last one possibly in part; what they cover beyond the prompt is
/// generated text that later prompts may repeat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Picoseconds; with a predecessor, the delay after its end instead.
    pub arrival_ps: Vec<i64>,
    pub input_tokens: Vec<u32>,
    /// What the model really generates.
    pub output_tokens: Vec<u32>,
    /// The limit a client asked for: all that schedulers, routers and views may see.
    pub max_output_tokens: Vec<u32>,
    /// Smaller is served first, under a scheduler that heeds it.
    pub priority: Vec<i32>,
    /// The request that must end before this one arrives, or `NONE`.
    pub after: Vec<u32>,
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

    /// The first turn of each request's session: itself, if it follows none.
    pub fn first_turns(&self) -> Vec<u32> {
        let mut first: Vec<u32> = Vec::with_capacity(self.len());
        for (request, &after) in self.after.iter().enumerate() {
            first.push(if after == NONE { request as u32 } else { first[after as usize] });
        }
        first
    }

    pub fn blocks(&self, request: usize) -> &[u32] {
        &self.block_ids[self.block_offsets[request] as usize..self.block_offsets[request + 1] as usize]
    }
}
