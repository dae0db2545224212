//! Where requests share content: the trace's block ids folded into *segments*.
//!
//! Two requests have the same engine block exactly if their contents agree up to the block's last
//! token. So a block is named by the trie node of its last token and its index. A maximal run of
//! trie nodes without a branch is a *segment*; a request's content is a short list of segments,
//! and caches work on ranges of blocks inside one, never on single blocks.

use crate::trace::{NONE, Trace};
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

/// A request's blocks up to (not including) `end`, from the end of the piece before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub segment: u32,
    pub end: u32,
}

/// The content of all requests, in whole engine blocks.
#[derive(Debug, Default)]
pub struct Chains {
    pieces: Vec<Piece>,
    offsets: Vec<u32>,
    segments: u32,
    generated_is_shared: bool,
}

impl Chains {
    /// Contents without any sharing: what a run without prefix caching needs.
    pub fn unshared() -> Self {
        Self::default()
    }

    /// Folds the ids of `trace` for engine blocks of `block_size` tokens.
    ///
    /// Exact whenever one size divides the other; otherwise a block takes the identity of its
    /// last token's id, which is right if an id stands for one repeated token.
    pub fn new(trace: &Trace, block_size: u32) -> Self {
        let nodes = Nodes::new(trace, block_size);
        let mut segment_of = vec![NONE; nodes.parent.len()];
        let mut pieces: Vec<Piece> = Vec::with_capacity(trace.len() * 2);
        let mut offsets = Vec::with_capacity(trace.len() + 1);
        let mut segments = 0;
        let (per_id, per_block) = (u64::from(trace.block_tokens), u64::from(block_size));
        offsets.push(0);
        for request in 0..trace.len() {
            let blocks = content_blocks(trace, request, block_size);
            let path = nodes.path(request);
            let first_piece = pieces.len();
            for (depth, &node) in path.iter().enumerate() {
                let end = blocks.min(((depth as u64 + 1) * per_id / per_block) as u32);
                if segment_of[node as usize] == NONE {
                    let parent = nodes.parent[node as usize];
                    segment_of[node as usize] = if parent == NONE || nodes.branches[parent as usize] {
                        segments += 1;
                        segments - 1
                    } else {
                        segment_of[parent as usize]
                    };
                }
                let segment = segment_of[node as usize];
                match pieces[first_piece..].last_mut() {
                    Some(last) if last.segment == segment => last.end = end,
                    Some(last) if last.end == end => {} // the branch lies inside one engine block
                    None if end == 0 => {}
                    _ => pieces.push(Piece { segment, end }),
                }
            }
            offsets.push(pieces.len() as u32);
        }
        let generated_is_shared = nodes.generated_is_shared(trace, block_size);
        Chains { pieces, offsets, segments, generated_is_shared }
    }

    pub fn path(&self, request: u32) -> &[Piece] {
        match self.offsets.get(request as usize + 1) {
            Some(&end) => &self.pieces[self.offsets[request as usize] as usize..end as usize],
            None => &[],
        }
    }

    /// Gives `requests` one and the same content of a single token.
    pub fn replace_by_one_token(&mut self, requests: impl Iterator<Item = u32>) {
        let segment = self.segments;
        self.segments += 1;
        for request in requests {
            let own = self.offsets[request as usize] as usize..self.offsets[request as usize + 1] as usize;
            self.pieces[own].fill(Piece { segment, end: 1 });
        }
    }

    /// The segment of what only this request will ever hold: its generated tail.
    pub fn private_segment(&self, request: u32) -> u32 {
        self.segments + request
    }

    /// Segments of all kinds where there are so many requests: above all that name any.
    pub fn segments_with(&self, requests: u32) -> u32 {
        self.segments + requests
    }

    /// Whether a request may find in the cache what another one is still generating. A later turn
    /// of the same session does not: it waits for the end.
    pub fn generated_is_shared(&self) -> bool {
        self.generated_is_shared
    }
}

/// Whole engine blocks whose content is known: of the prompt, and of what the ids say beyond it.
fn content_blocks(trace: &Trace, request: usize, block_size: u32) -> u32 {
    let prompt = u64::from(trace.input_tokens[request]);
    let whole = prompt + u64::from(trace.output_tokens[request]);
    let covered = trace.blocks(request).len() as u64 * u64::from(trace.block_tokens);
    let ids_for_prompt = prompt.div_ceil(u64::from(trace.block_tokens));
    let known =
        if trace.blocks(request).len() as u64 <= ids_for_prompt { covered.min(prompt) } else { covered.min(whole) };
    (known / u64::from(block_size)) as u32
}

/// A trie over block ids. Nearly every id has one context, so its first node is found by index; the
/// rest by key.
pub(crate) struct Trie {
    pub(crate) parent: Vec<u32>,
    first_node: Vec<u32>,
    other_nodes: HashMap<(u32, u32), u32, FxBuildHasher>,
}

impl Trie {
    pub(crate) fn new(trace: &Trace) -> Self {
        let ids = trace.block_ids.iter().max().map_or(0, |&id| id as usize + 1);
        Trie { parent: Vec::with_capacity(ids), first_node: vec![NONE; ids], other_nodes: HashMap::default() }
    }

    /// The node of `id` below node `at`, and whether it is new.
    pub(crate) fn step(&mut self, at: u32, id: u32) -> (u32, bool) {
        let first = self.first_node[id as usize];
        let known = if first != NONE && self.parent[first as usize] == at {
            Some(first)
        } else if first != NONE {
            self.other_nodes.get(&(at, id)).copied()
        } else {
            None
        };
        if let Some(node) = known {
            return (node, false);
        }
        let node = self.parent.len() as u32;
        self.parent.push(at);
        if first == NONE {
            self.first_node[id as usize] = node;
        } else {
            self.other_nodes.insert((at, id), node);
        }
        (node, true)
    }
}

/// The nodes of all requests.
struct Nodes {
    parent: Vec<u32>,
    branches: Vec<bool>,
    of_id: Vec<u32>,
    offsets: Vec<u64>,
}

impl Nodes {
    fn new(trace: &Trace, block_size: u32) -> Self {
        let mut trie = Trie::new(trace);
        let mut has_child: Vec<bool> = Vec::with_capacity(trie.parent.capacity());
        let mut branches: Vec<bool> = Vec::with_capacity(trie.parent.capacity());
        let mut of_id = Vec::with_capacity(trace.block_ids.len());
        let mut offsets = Vec::with_capacity(trace.len() + 1);
        offsets.push(0);
        for request in 0..trace.len() {
            let tokens = u64::from(content_blocks(trace, request, block_size)) * u64::from(block_size);
            let needed = tokens.div_ceil(u64::from(trace.block_tokens)) as usize;
            let mut at = NONE;
            for &id in &trace.blocks(request)[..needed] {
                let (node, new) = trie.step(at, id);
                if new {
                    if at != NONE {
                        branches[at as usize] = has_child[at as usize];
                        has_child[at as usize] = true;
                    }
                    has_child.push(false);
                    branches.push(false);
                }
                at = node;
                of_id.push(at);
            }
            offsets.push(of_id.len() as u64);
        }
        Nodes { parent: trie.parent, branches, of_id, offsets }
    }

    /// Whether a generated node has a user outside the line of turns that begins with its generator.
    fn generated_is_shared(&self, trace: &Trace, block_size: u32) -> bool {
        // Where the first node that holds generated text is in a request's path; none if none has a name.
        let generated_from = |request: usize| {
            let prompt = trace.input_tokens[request];
            let named = content_blocks(trace, request, block_size) > prompt / block_size;
            if named { (prompt / trace.block_tokens) as usize } else { usize::MAX }
        };
        if (0..trace.len()).all(|request| generated_from(request) == usize::MAX) {
            return false;
        }
        let session = trace.first_turns();
        let mut first_user = vec![NONE; self.parent.len()];
        for request in 0..trace.len() {
            let own_from = generated_from(request);
            for (depth, &node) in self.path(request).iter().enumerate() {
                let first = first_user[node as usize];
                if first == NONE {
                    first_user[node as usize] = request as u32;
                } else if depth >= own_from
                    || depth >= generated_from(first as usize) && session[first as usize] != session[request]
                {
                    return true;
                }
            }
        }
        false
    }

    fn path(&self, request: usize) -> &[u32] {
        &self.of_id[self.offsets[request] as usize..self.offsets[request + 1] as usize]
    }
}
