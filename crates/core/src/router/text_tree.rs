//! The SGLang Model Gateway's picture of caches: one tree of all prompts it has sent, in which each
//! node knows the replicas that got it. It never hears of what engines really keep.
//!
//! Kept in whole blocks and segments (see [`crate::chain`]) instead of characters. What only one
//! prompt holds is a node of its own, so that sizes are right.

use super::contents::{Contents, Part};
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

const ROOT: u32 = u32::MAX;
/// Every so many steps of its clock, a match counts as a use of what it found.
const USES: u64 = 8;

pub(super) struct TextTree<'a> {
    contents: Rc<Contents<'a>>,
    segments: u32,
    nodes: HashMap<u32, Node, FxBuildHasher>,
    owners: HashMap<(u32, u32), Owner, FxBuildHasher>,
    /// Tokens of each replica's nodes.
    pub(super) tokens: Vec<u64>,
    /// Counts matches and insertions.
    clock: u64,
}

#[derive(Default)]
struct Node {
    /// In order: who got how far into it when nobody had got it so far himself.
    reached: Vec<(u32, u32)>,
}

struct Owner {
    parent: u32,
    /// Nodes below it that this replica has.
    children: u32,
    end: u32,
    tokens: u64,
    used: u64,
}

impl<'a> TextTree<'a> {
    pub(super) fn new(contents: Rc<Contents<'a>>, replicas: u32) -> Self {
        TextTree {
            segments: contents.segments() as u32,
            contents,
            nodes: HashMap::default(),
            owners: HashMap::default(),
            tokens: vec![0; replicas as usize],
            clock: 0,
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock - 1
    }

    /// The blocks at the start of the prompt that some replica got before, and the first of the
    /// replicas that got the last of them and still have it.
    pub(super) fn find(&mut self, request: u32) -> Option<(u32, u32)> {
        let mut found: Option<(u32, u32, u32)> = None;
        for part in self.contents.parts(request, u32::MAX) {
            let Some(node) = self.nodes.get(&part.segment) else { break };
            let still = |&(_, replica): &(u32, u32)| self.owners.get(&(part.segment, replica)).map_or(0, |o| o.end);
            let longest = node.reached.iter().map(still).max().unwrap_or(0).min(part.end);
            if longest <= part.start {
                break;
            }
            let owner = node.reached.iter().find(|step| step.0 >= longest && still(step) >= longest);
            if let Some(&(_, replica)) = owner {
                found = Some((longest, replica, part.segment));
            }
            if longest < part.end {
                break;
            }
        }
        let now = self.tick();
        let (blocks, replica, segment) = found?;
        if now.is_multiple_of(USES)
            && let Some(owner) = self.owners.get_mut(&(segment, replica))
        {
            owner.used = now;
        }
        Some((blocks, replica))
    }

    /// A prompt is sent to `replica`.
    pub(super) fn insert(&mut self, request: u32, replica: u32) {
        let parts: Vec<Part> = self.contents.parts(request, u32::MAX).collect();
        let block_size = u64::from(self.contents.block_size);
        let mut parent = ROOT;
        for part in &parts {
            self.own(part.segment, parent, replica, part.end, u64::from(part.end - part.start) * block_size);
            parent = part.segment;
        }
        let shared = parts.last().map_or(0, |part| u64::from(part.end) * block_size);
        let own = u64::from(self.contents.input_tokens(request)) - shared;
        if own > 0 {
            let tail = self.segments + request;
            self.own(tail, parent, replica, u32::MAX, own);
            parent = tail;
        }
        let now = self.tick();
        if let Some(owner) = self.owners.get_mut(&(parent, replica)) {
            owner.used = now;
        }
    }

    fn own(&mut self, node: u32, parent: u32, replica: u32, end: u32, tokens: u64) {
        let known = self.owners.contains_key(&(node, replica));
        let owner =
            self.owners.entry((node, replica)).or_insert(Owner { parent, children: 0, end: 0, tokens: 0, used: 0 });
        if end > owner.end {
            self.tokens[replica as usize] += tokens.saturating_sub(owner.tokens);
            owner.tokens = owner.tokens.max(tokens);
            owner.end = end;
            if node < self.segments {
                self.nodes.entry(node).or_default().reached.push((end, replica));
            }
        }
        if !known && let Some(parent) = self.owners.get_mut(&(parent, replica)) {
            parent.children += 1;
        }
    }

    /// Takes the least recently used leaves of each replica away, until it has at most `limit` tokens.
    pub(super) fn evict(&mut self, limit: u64) {
        for replica in 0..self.tokens.len() as u32 {
            if self.tokens[replica as usize] > limit {
                self.evict_of(replica, limit);
            }
        }
    }

    fn evict_of(&mut self, replica: u32, limit: u64) {
        let leaves = self.owners.iter().filter(|((_, other), owner)| *other == replica && owner.children == 0);
        let mut leaves: BinaryHeap<Reverse<(u64, u32)>> =
            leaves.map(|(&(node, _), owner)| Reverse((owner.used, node))).collect();
        while self.tokens[replica as usize] > limit
            && let Some(Reverse((_, node))) = leaves.pop()
            && let Some(gone) = self.owners.remove(&(node, replica))
        {
            self.tokens[replica as usize] -= gone.tokens;
            if let Some(node) = self.nodes.get_mut(&node) {
                node.reached.retain(|&(_, other)| other != replica);
            }
            if let Some(parent) = self.owners.get_mut(&(gone.parent, replica)) {
                parent.children -= 1;
                if parent.children == 0 {
                    leaves.push(Reverse((parent.used, gone.parent)));
                }
            }
        }
    }
}
