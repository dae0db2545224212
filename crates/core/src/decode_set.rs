//! Rows that take one token each pass, without being touched in each pass.
//!
//! A counter k counts passes. A row stores the value at which its last token comes; all else
//! follows from it and k. So a pass costs the rows that need a block or finish, not the batch.

use std::collections::BTreeSet;

/// What identifies a row here, and where it stands in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub slot: u32,
    pub order: u64,
    /// Tokens computed before the pass that raises k to k + 1: `offset + k`.
    pub offset: i64,
    /// The counter after the pass that gives the last token.
    pub finish_at: u64,
}

#[derive(Clone, Debug)]
pub struct DecodeSet {
    block_size: u64,
    count: usize,
    offsets: i64,
    /// Rows by the residue of k at which they need a new block.
    due: Vec<Vec<u32>>,
    due_count: Vec<u32>,
    position: Vec<u32>,
    finish: BTreeSet<(u64, u64, u32)>,
}

impl DecodeSet {
    pub fn new(block_size: u32) -> Self {
        DecodeSet {
            block_size: u64::from(block_size),
            count: 0,
            offsets: 0,
            due: vec![Vec::new(); block_size as usize],
            due_count: vec![0; block_size as usize],
            position: Vec::new(),
            finish: BTreeSet::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Total context after the pass that raises the counter to `k`.
    pub fn context(&self, k: u64) -> i64 {
        self.offsets + self.count as i64 * k as i64
    }

    fn residue(&self, member: &Member) -> usize {
        (-member.offset).rem_euclid(self.block_size as i64) as usize
    }

    pub fn insert(&mut self, member: Member) {
        let residue = self.residue(&member);
        if self.position.len() <= member.slot as usize {
            self.position.resize(member.slot as usize + 1, 0);
        }
        self.position[member.slot as usize] = self.due[residue].len() as u32;
        self.due[residue].push(member.slot);
        self.due_count[residue] += 1;
        self.count += 1;
        self.offsets += member.offset;
        self.finish.insert((member.finish_at, member.order, member.slot));
    }

    pub fn remove(&mut self, member: Member) {
        let residue = self.residue(&member);
        let position = self.position[member.slot as usize] as usize;
        self.due[residue].swap_remove(position);
        if let Some(&moved) = self.due[residue].get(position) {
            self.position[moved as usize] = position as u32;
        }
        self.due_count[residue] -= 1;
        self.count -= 1;
        self.offsets -= member.offset;
        self.finish.remove(&(member.finish_at, member.order, member.slot));
    }

    /// Rows that need a block in the pass that raises the counter from `k`.
    pub fn due(&self, k: u64) -> &[u32] {
        &self.due[(k % self.block_size) as usize]
    }

    /// Blocks that `passes` passes from counter `k` on take.
    pub fn demand(&self, k: u64, passes: i64) -> i64 {
        let cycles = passes / self.block_size as i64;
        cycles * self.count as i64 + self.demand_within_cycle(k, passes % self.block_size as i64)
    }

    fn demand_within_cycle(&self, k: u64, passes: i64) -> i64 {
        let start = (k % self.block_size) as usize;
        let end = start + passes as usize;
        let size = self.block_size as usize;
        let sum = |range: std::ops::Range<usize>| self.due_count[range].iter().map(|&c| i64::from(c)).sum::<i64>();
        if end <= size { sum(start..end) } else { sum(start..size) + sum(0..end - size) }
    }

    /// The most passes from counter `k` on, up to `wanted`, whose blocks are all among `free`.
    pub fn passes_within(&self, k: u64, free: i64, wanted: i64) -> i64 {
        let per_cycle = self.count as i64;
        let size = self.block_size as i64;
        if (wanted / size + 1).saturating_mul(per_cycle) <= free {
            return wanted;
        }
        let cycles = free / per_cycle.max(1);
        let mut left = free - cycles * per_cycle;
        let mut passes = cycles * size;
        for index in 0..size {
            left -= i64::from(self.due_count[((k as i64 + index) % size) as usize]);
            if left < 0 {
                break;
            }
            passes += 1;
        }
        passes.min(wanted)
    }

    /// The least `finish_at`.
    pub fn first_finish(&self) -> Option<u64> {
        self.finish.first().map(|&(at, _, _)| at)
    }

    /// Those whose last token comes with the pass that raises the counter to `k`, or came before.
    pub fn finishing_by(&self, k: u64) -> impl Iterator<Item = u32> {
        self.finish.range(..(k + 1, 0, 0)).map(|&(_, _, slot)| slot)
    }
}
