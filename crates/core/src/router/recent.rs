//! llm-d's approximate prefix index: for each replica, the blocks of the prompts it was sent last, as
//! many as its cache is taken to hold. Kept, and dropped, a segment at a time (see [`crate::chain`]).

use super::contents::{Contents, Part};
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use std::collections::BTreeMap;
use std::rc::Rc;

pub(super) struct Recent<'a> {
    contents: Rc<Contents<'a>>,
    segments: u32,
    /// Blocks of a replica.
    capacity: u64,
    /// Blocks at the start of a prompt that count.
    limit: u32,
    /// By segment: the replicas that have it, and up to which block.
    by_segment: HashMap<u32, Vec<(u32, u32)>, FxBuildHasher>,
    replicas: Vec<OneReplica>,
    uses: u64,
}

#[derive(Default)]
struct OneReplica {
    blocks: u64,
    /// By node: its last use and its blocks.
    nodes: HashMap<u32, (u64, u64), FxBuildHasher>,
    by_use: BTreeMap<u64, u32>,
}

impl<'a> Recent<'a> {
    pub(super) fn new(contents: Rc<Contents<'a>>, replicas: u32, capacity: u64, limit: u32) -> Self {
        Recent {
            segments: contents.segments() as u32,
            contents,
            capacity,
            limit,
            by_segment: HashMap::default(),
            replicas: (0..replicas).map(|_| OneReplica::default()).collect(),
            uses: 0,
        }
    }

    /// Blocks of the prompt that count.
    pub(super) fn blocks(&self, request: u32) -> u32 {
        self.contents.blocks(request).min(self.limit)
    }

    /// Adds to each replica's entry in `matched` the blocks of the prompt it got lately, from the
    /// first on as long as any replica got them.
    pub(super) fn find(&self, request: u32, matched: &mut [u32]) {
        for part in self.contents.parts(request, self.limit) {
            let Some(holders) = self.by_segment.get(&part.segment) else { break };
            let mut longest = part.start;
            for &(replica, end) in holders {
                let end = end.min(part.end);
                matched[replica as usize] += end.saturating_sub(part.start);
                longest = longest.max(end);
            }
            if longest < part.end {
                break;
            }
        }
    }

    /// A prompt is sent to `replica`.
    pub(super) fn insert(&mut self, request: u32, replica: u32) {
        let parts: Vec<Part> = self.contents.parts(request, self.limit).collect();
        for part in &parts {
            let holders = self.by_segment.entry(part.segment).or_default();
            let blocks = match holders.iter_mut().find(|(other, _)| *other == replica) {
                Some((_, end)) => {
                    *end = part.end.max(*end);
                    *end - part.start
                }
                None => {
                    holders.push((replica, part.end));
                    part.end - part.start
                }
            };
            self.use_node(part.segment, replica, u64::from(blocks));
        }
        let own = self.blocks(request) - parts.last().map_or(0, |part| part.end);
        if own > 0 {
            self.use_node(self.segments + request, replica, u64::from(own));
        }
        while self.replicas[replica as usize].blocks > self.capacity {
            self.drop_oldest(replica);
        }
    }

    fn use_node(&mut self, node: u32, replica: u32, blocks: u64) {
        self.uses += 1;
        let one = &mut self.replicas[replica as usize];
        if let Some((used, old)) = one.nodes.insert(node, (self.uses, blocks)) {
            one.by_use.remove(&used);
            one.blocks -= old;
        }
        one.by_use.insert(self.uses, node);
        one.blocks += blocks;
    }

    fn drop_oldest(&mut self, replica: u32) {
        let one = &mut self.replicas[replica as usize];
        let Some((_, node)) = one.by_use.pop_first() else { return };
        if let Some((_, blocks)) = one.nodes.remove(&node) {
            one.blocks -= blocks;
        }
        if let Some(holders) = self.by_segment.get_mut(&node) {
            holders.retain(|&(other, _)| other != replica);
        }
    }
}
