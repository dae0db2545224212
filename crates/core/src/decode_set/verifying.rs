//! Rows that verify drafts: each gives as many tokens a pass as its next outcome says.
//!
//! Every question costs the batch, but only a look-up a row, or a piece of the table for all the
//! passes of a run at once.

use super::Member;
use crate::draws::{Draws, PIECE};

/// What a verifying pass is like.
#[derive(Clone, Copy, Debug)]
pub struct Verify<'a> {
    pub draws: &'a Draws,
    /// Drafts of each row in each pass.
    pub drafts: u32,
    /// Tokens beyond those stored for which a row holds blocks during a pass, and the most it does at all.
    pub slots: u32,
    pub most: u32,
    /// Whether a pass is decided before the one before it has given its tokens: then what is stored is
    /// counted without these.
    pub ahead: bool,
}

/// Of one row: when the counter is k, it has given `given + draws.total(draw + k)` tokens.
#[derive(Clone, Copy, Debug)]
pub struct Burst<'a> {
    draws: &'a Draws,
    draw: u64,
    given: i64,
}

impl<'a> Burst<'a> {
    /// Of a row that has given `given` tokens when the counter is `k` and reads on at `place`.
    pub fn new(draws: &'a Draws, place: u64, given: u32, k: u64) -> Self {
        let draw = draws.before(place, k);
        Burst { draws, draw, given: i64::from(given) - draws.total(draw + k) }
    }

    pub fn given(&self, k: u64) -> i64 {
        self.given + self.draws.total(self.draw + k)
    }

    /// What the pass gives that raises the counter from `k`.
    pub fn gives(&self, k: u64) -> u32 {
        (self.given(k + 1) - self.given(k)) as u32
    }

    /// The counter when it has given `target` tokens or more, as of `k`.
    pub fn finish_at(&self, target: u32, k: u64) -> u64 {
        k + self.draws.passes_for(self.draw + k, i64::from(target) - self.given(k))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Verifying<'a> {
    pub(super) verify: Verify<'a>,
    block_size: i64,
    slots: Vec<u32>,
    /// Of each row, its place in the table when the counter was 0, and the tokens it would have stored then.
    draws: Vec<u64>,
    bases: Vec<i64>,
    held: Vec<u32>,
    joined: Vec<u64>,
    /// Tokens for which it holds blocks while nothing is known of what it has given here.
    floors: Vec<i64>,
    position: Vec<u32>,
    /// Passes before the next one whose tokens are not known: 0 or 1. Of those after it, `verify.ahead`.
    pub(super) unknown: u64,
    /// The most passes of the next run: a run that is cut short has cost what it was planned for.
    reach: i64,
}

impl<'a> Verifying<'a> {
    pub(super) fn new(block_size: u32, verify: Verify<'a>) -> Self {
        Verifying {
            verify,
            block_size: i64::from(block_size),
            slots: Vec::new(),
            draws: Vec::new(),
            bases: Vec::new(),
            held: Vec::new(),
            joined: Vec::new(),
            floors: Vec::new(),
            position: Vec::new(),
            unknown: 0,
            reach: REACH_MIN,
        }
    }

    pub(super) fn insert(&mut self, member: &Member<'a>) {
        let burst = member.burst.expect("a row that verifies has its place in the table");
        if self.position.len() <= member.slot as usize {
            self.position.resize(member.slot as usize + 1, 0);
        }
        self.position[member.slot as usize] = self.slots.len() as u32;
        self.slots.push(member.slot);
        self.draws.push(burst.draw);
        self.bases.push(member.offset + burst.given);
        self.held.push(member.held);
        self.joined.push(member.joined);
        let stored = || self.stored(self.slots.len() - 1, member.joined);
        self.floors.push(member.floor.unwrap_or_else(|| stored() + i64::from(self.verify.slots)));
    }

    pub(super) fn remove(&mut self, slot: u32) {
        let position = self.position[slot as usize] as usize;
        self.slots.swap_remove(position);
        self.draws.swap_remove(position);
        self.bases.swap_remove(position);
        self.held.swap_remove(position);
        self.joined.swap_remove(position);
        self.floors.swap_remove(position);
        if let Some(&moved) = self.slots.get(position) {
            self.position[moved as usize] = position as u32;
        }
    }

    pub(super) fn slots(&self) -> &[u32] {
        &self.slots
    }

    fn stored(&self, row: usize, k: u64) -> i64 {
        self.bases[row] + self.verify.draws.total(self.draws[row] + k)
    }

    /// Tokens that all rows have stored when the counter is `k`.
    pub(super) fn all_stored(&self, k: u64) -> i64 {
        (0..self.slots.len()).map(|row| self.stored(row, k)).sum()
    }

    /// Total context after the pass that raises the counter to `k`, all drafts included.
    pub(super) fn context(&self, k: u64) -> i64 {
        self.all_stored(k - 1) + self.slots.len() as i64 * (1 + i64::from(self.verify.drafts))
    }

    /// The same of each of `passes` passes, from the one that raises the counter to `k`.
    pub(super) fn contexts(&self, k: u64, passes: i64, mut each: impl FnMut(i64)) {
        let mut sums = [0; PIECE];
        let sums = &mut sums[..passes as usize];
        for &draw in &self.draws {
            self.verify.draws.add_to(draw + k - 1, sums);
        }
        let mut context = self.context(k);
        for &tokens in sums.iter() {
            each(context);
            context += i64::from(tokens);
        }
    }

    /// Blocks that a row holds in the last of `passes` passes from counter `k` on.
    fn blocks(&self, row: usize, k: u64, passes: i64) -> u32 {
        let unknown = if passes == 1 { self.unknown } else { u64::from(self.verify.ahead) };
        let known = (k + passes as u64 - 1).saturating_sub(unknown);
        let tokens = if known < self.joined[row] {
            self.floors[row]
        } else {
            self.stored(row, known) + i64::from(self.verify.slots)
        };
        let tokens = tokens.min(i64::from(self.verify.most));
        ((tokens + self.block_size - 1) / self.block_size) as u32
    }

    pub(super) fn held(&self, slot: u32) -> u32 {
        self.held[self.position[slot as usize] as usize]
    }

    /// Blocks that one row takes in the pass that raises the counter from `k`.
    pub(super) fn demand_of(&self, slot: u32, k: u64) -> u32 {
        let row = self.position[slot as usize] as usize;
        self.blocks(row, k, 1).saturating_sub(self.held[row])
    }

    /// Blocks that `passes` passes from counter `k` on take.
    pub(super) fn demand(&self, k: u64, passes: i64) -> i64 {
        (0..self.slots.len()).map(|row| i64::from(self.blocks(row, k, passes).saturating_sub(self.held[row]))).sum()
    }

    /// As [`Self::demand`], and they have them.
    pub(super) fn take(&mut self, k: u64, passes: i64) -> i64 {
        self.reach = (2 * passes).clamp(REACH_MIN, PIECE as i64);
        let mut taken = 0;
        for row in 0..self.slots.len() {
            let blocks = self.blocks(row, k, passes).max(self.held[row]);
            taken += i64::from(blocks - self.held[row]);
            self.held[row] = blocks;
        }
        taken
    }

    /// The most passes from counter `k` on, up to `wanted`, whose blocks are all among `free`.
    pub(super) fn passes_within(&self, k: u64, free: i64, wanted: i64) -> i64 {
        let (mut low, mut high) = (0, wanted.min(self.reach));
        let tokens = high * (1 + i64::from(self.verify.drafts)) + i64::from(self.verify.slots);
        if self.slots.len() as i64 * (tokens / self.block_size + 1) <= free || self.demand(k, high) <= free {
            return high;
        }
        while low < high - 1 {
            let middle = (low + high) / 2;
            if self.demand(k, middle) <= free { low = middle } else { high = middle }
        }
        low
    }
}

const REACH_MIN: i64 = 8;
