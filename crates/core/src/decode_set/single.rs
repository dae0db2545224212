//! Rows that give one token a pass, by the residue of k at which they need a new block.

use super::Member;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
pub(super) struct Single {
    block_size: u64,
    count: usize,
    offsets: i64,
    due: Vec<Vec<u32>>,
    due_count: Vec<u32>,
    position: Vec<u32>,
    /// Offset and slot of each row, if anybody asks for the longest context.
    ordered: Option<BTreeSet<(i64, u32)>>,
}

impl Single {
    pub(super) fn new(block_size: u32, ordered: bool) -> Self {
        Single {
            block_size: u64::from(block_size),
            count: 0,
            offsets: 0,
            due: vec![Vec::new(); block_size as usize],
            due_count: vec![0; block_size as usize],
            position: Vec::new(),
            ordered: ordered.then(BTreeSet::new),
        }
    }

    pub(super) fn context(&self, k: u64) -> i64 {
        self.offsets + self.count as i64 * k as i64
    }

    pub(super) fn longest(&self, k: u64, left_out: &[u32]) -> Option<i64> {
        let mut rows = self.ordered.as_ref()?.iter().rev();
        rows.find(|(_, slot)| !left_out.contains(slot)).map(|&(offset, _)| offset + k as i64)
    }

    fn residue(&self, member: &Member) -> usize {
        (-member.offset).rem_euclid(self.block_size as i64) as usize
    }

    pub(super) fn insert(&mut self, member: &Member) {
        let residue = self.residue(member);
        if self.position.len() <= member.slot as usize {
            self.position.resize(member.slot as usize + 1, 0);
        }
        self.position[member.slot as usize] = self.due[residue].len() as u32;
        self.due[residue].push(member.slot);
        self.due_count[residue] += 1;
        self.count += 1;
        self.offsets += member.offset;
        if let Some(ordered) = &mut self.ordered {
            ordered.insert((member.offset, member.slot));
        }
    }

    pub(super) fn remove(&mut self, member: &Member) {
        let residue = self.residue(member);
        let position = self.position[member.slot as usize] as usize;
        self.due[residue].swap_remove(position);
        if let Some(&moved) = self.due[residue].get(position) {
            self.position[moved as usize] = position as u32;
        }
        self.due_count[residue] -= 1;
        self.count -= 1;
        self.offsets -= member.offset;
        if let Some(ordered) = &mut self.ordered {
            ordered.remove(&(member.offset, member.slot));
        }
    }

    pub(super) fn due(&self, k: u64) -> &[u32] {
        &self.due[(k % self.block_size) as usize]
    }

    pub(super) fn demand(&self, k: u64, passes: i64) -> i64 {
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

    pub(super) fn passes_within(&self, k: u64, free: i64, wanted: i64) -> i64 {
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
}
