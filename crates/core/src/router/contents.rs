//! What routers know of prompts: which session they belong to, and where they begin alike.

use crate::chain::Chains;
use crate::random;
use crate::trace::{NONE, Trace};

/// Blocks `start..end` of a prompt, in one segment (see [`crate::chain`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) segment: u32,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// The prompts of a trace in whole blocks, as far as any two of them agree.
pub(super) struct Contents<'a> {
    trace: &'a Trace,
    chains: &'a Chains,
    pub(super) block_size: u32,
    /// How many pieces of each request, from the first on, another request has as well.
    shared_pieces: Vec<u32>,
}

impl<'a> Contents<'a> {
    pub(super) fn new(trace: &'a Trace, chains: &'a Chains, block_size: u32) -> Self {
        let requests = 0..trace.len() as u32;
        let segments = requests.clone().flat_map(|r| chains.path(r)).map(|piece| piece.segment + 1).max().unwrap_or(0);
        let mut users = vec![0_u32; segments as usize];
        for piece in requests.clone().flat_map(|r| chains.path(r)) {
            users[piece.segment as usize] += 1;
        }
        // Whoever shares a piece shares all before it.
        let shared = |r: u32| chains.path(r).partition_point(|piece| users[piece.segment as usize] > 1) as u32;
        Contents { trace, chains, block_size, shared_pieces: requests.map(shared).collect() }
    }

    pub(super) fn input_tokens(&self, request: u32) -> u32 {
        self.trace.input_tokens[request as usize]
    }

    /// Whole blocks of its prompt.
    pub(super) fn blocks(&self, request: u32) -> u32 {
        self.input_tokens(request) / self.block_size
    }

    /// The whole blocks of its prompt that another request may have as well, up to `limit` of them.
    pub(super) fn parts(&self, request: u32, limit: u32) -> impl Iterator<Item = Part> + 'a {
        let limit = limit.min(self.blocks(request));
        let shared = self.shared_pieces[request as usize] as usize;
        let mut start = 0;
        self.chains.path(request)[..shared].iter().filter_map(move |piece| {
            let part = Part { segment: piece.segment, start, end: piece.end.min(limit) };
            (part.end > start).then(|| {
                start = part.end;
                part
            })
        })
    }

    /// One more than the greatest segment of any part.
    pub(super) fn segments(&self) -> usize {
        let last = |r: u32| self.parts(r, u32::MAX).map(|part| part.segment as usize + 1).max();
        (0..self.trace.len() as u32).filter_map(last).max().unwrap_or(0)
    }
}

/// The first request of each request's session; itself if it has none.
pub fn sessions(trace: &Trace) -> Vec<u32> {
    let mut first: Vec<u32> = vec![NONE; trace.len()];
    let mut way = Vec::new();
    for request in 0..trace.len() as u32 {
        let mut at = request;
        while first[at as usize] == NONE && trace.after[at as usize] != NONE {
            way.push(at);
            at = trace.after[at as usize];
        }
        let root = if first[at as usize] == NONE { at } else { first[at as usize] };
        first[at as usize] = root;
        for passed in way.drain(..) {
            first[passed as usize] = root;
        }
    }
    first
}

/// The session of each request as [`sessions`], or [`NONE`] for one that is alone.
pub(super) fn shared_sessions(trace: &Trace) -> Vec<u32> {
    let mut sessions = sessions(trace);
    let mut has_turns = vec![false; trace.len()];
    for (request, &root) in sessions.iter().enumerate() {
        has_turns[root as usize] |= root as usize != request;
    }
    for root in &mut sessions {
        if !has_turns[*root as usize] {
            *root = NONE;
        }
    }
    sessions
}

/// A number for the first `tokens` tokens of a prompt, as finely as the trace's ids tell them apart;
/// a prompt without ids is like no other.
pub(super) fn prefix_key(trace: &Trace, request: u32, tokens: u32) -> u64 {
    let prefix = tokens.min(trace.input_tokens[request as usize]);
    let ids = trace.blocks(request as usize);
    let needed = prefix.div_ceil(trace.block_tokens.max(1)) as usize;
    match ids.get(..needed) {
        Some(ids) if needed > 0 => ids.iter().fold(u64::from(prefix), |key, &id| random::draw(key, &[u64::from(id)])),
        _ => random::draw(u64::from(request), &[u64::MAX]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(after: &[u32], prompts: &[(u32, &[u32])]) -> Trace {
        let mut trace = Trace { block_tokens: 512, block_offsets: vec![0], ..Trace::default() };
        trace.after = after.to_vec();
        trace.arrival_ps = vec![0; after.len()];
        for (tokens, ids) in prompts {
            trace.input_tokens.push(*tokens);
            trace.block_ids.extend_from_slice(ids);
            trace.block_offsets.push(trace.block_ids.len() as u64);
        }
        trace
    }

    #[test]
    fn a_session_is_named_by_its_first_turn_wherever_its_rows_stand() {
        let trace = trace(&[2, NONE, 4, NONE, NONE, 3], &[]);
        assert_eq!(sessions(&trace), [4, 1, 4, 3, 4, 3]);
        assert_eq!(shared_sessions(&trace), [4, NONE, 4, 3, 4, 3]);
    }

    #[test]
    fn prompts_that_begin_alike_have_one_key() {
        let trace = trace(&[NONE; 5], &[(900, &[1, 2]), (600, &[1, 3]), (200, &[1]), (200, &[]), (200, &[])]);
        let key = |request, tokens| prefix_key(&trace, request, tokens);
        assert_eq!(key(0, 256), key(1, 256));
        assert_ne!(key(0, 600), key(1, 600));
        assert_ne!(key(0, 256), key(2, 256), "a shorter prompt is another prefix");
        assert_eq!(key(0, 200), key(2, 256));
        assert_ne!(key(3, 256), key(4, 256), "nothing is known of either");
    }
}
