//! Rows that decode, without being touched in each pass.
//!
//! A counter k counts passes. A row stores the value at which its last token comes; all else
//! follows from it and k. Where a row gives one token a pass, a pass costs the rows that need a block
//! or finish, not the batch; where rows verify drafts, a look-up a row.

mod single;
mod verifying;

use single::Single;
use std::collections::BTreeSet;
use verifying::Verifying;
pub use verifying::{Burst, Verify};

/// What identifies a row here, and where it stands in the batch.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    pub slot: u32,
    pub order: u64,
    /// Tokens computed before the pass that raises k to k + 1: `offset + k`, or, where it verifies
    /// drafts, `offset` and what its burst has given by k.
    pub offset: i64,
    /// The counter after the pass that gives the last token.
    pub finish_at: u64,
    pub burst: Option<Burst<'a>>,
    /// Where it verifies drafts: blocks it holds as it joins, and the counter then.
    pub held: u32,
    pub joined: u64,
    /// Tokens for which it holds blocks in its first pass here, if not for what it has stored by then and
    /// `slots` more.
    pub floor: Option<i64>,
}

#[derive(Clone, Debug)]
enum Rows<'a> {
    Single(Single),
    Verifying(Verifying<'a>),
}

#[derive(Clone, Debug)]
pub struct DecodeSet<'a> {
    rows: Rows<'a>,
    /// Counter at the end, place in the batch, slot.
    finish: BTreeSet<(u64, u64, u32)>,
}

impl<'a> DecodeSet<'a> {
    /// Of rows that give one token a pass, or verify drafts as `verify` says. `ordered`: it is asked for the
    /// longest context, of rows that give one token a pass.
    pub fn new(block_size: u32, verify: Option<Verify<'a>>, ordered: bool) -> Self {
        let rows = match verify {
            None => Rows::Single(Single::new(block_size, ordered)),
            Some(verify) => Rows::Verifying(Verifying::new(block_size, verify)),
        };
        DecodeSet { rows, finish: BTreeSet::new() }
    }

    /// The longest context after the pass that raises the counter to `k`, of all but the rows in `left_out`;
    /// None if it does not keep them in order, or has no such rows.
    pub fn longest(&self, k: u64, left_out: &[u32]) -> Option<i64> {
        match &self.rows {
            Rows::Single(rows) => rows.longest(k, left_out),
            Rows::Verifying(_) => None,
        }
    }

    pub fn len(&self) -> usize {
        self.finish.len()
    }

    pub fn is_empty(&self) -> bool {
        self.finish.is_empty()
    }

    /// How rows verify drafts, if they do.
    pub fn verify(&self) -> Option<Verify<'a>> {
        match &self.rows {
            Rows::Single(_) => None,
            Rows::Verifying(rows) => Some(rows.verify),
        }
    }

    /// Drafts of each row in each pass.
    pub fn drafts(&self) -> u32 {
        self.verify().map_or(0, |verify| verify.drafts)
    }

    /// Where rows verify drafts: whether the pass before the next one is not known to have given
    /// anything as blocks are taken for that.
    pub fn set_unknown(&mut self, is_unknown: bool) {
        if let Rows::Verifying(rows) = &mut self.rows {
            rows.unknown = u64::from(is_unknown);
        }
    }

    /// Total context after the pass that raises the counter to `k`, drafts included.
    pub fn context(&self, k: u64) -> i64 {
        match &self.rows {
            Rows::Single(rows) => rows.context(k),
            Rows::Verifying(rows) => rows.context(k),
        }
    }

    /// The same of each of at most [`crate::draws::PIECE`] passes, where rows verify drafts.
    pub fn contexts(&self, k: u64, passes: i64, each: impl FnMut(i64)) {
        if let Rows::Verifying(rows) = &self.rows {
            rows.contexts(k, passes, each);
        }
    }

    /// Tokens that all rows have stored when the counter is `k`, as if nobody ended.
    pub fn stored(&self, k: u64) -> i64 {
        match &self.rows {
            Rows::Single(rows) => rows.context(k),
            Rows::Verifying(rows) => rows.all_stored(k),
        }
    }

    /// Tokens that `passes` passes from counter `k` on give, as if nobody ended.
    pub fn given(&self, k: u64, passes: i64) -> i64 {
        match &self.rows {
            Rows::Single(_) => passes * self.len() as i64,
            Rows::Verifying(rows) => rows.all_stored(k + passes as u64) - rows.all_stored(k),
        }
    }

    pub fn insert(&mut self, member: Member<'a>) {
        match &mut self.rows {
            Rows::Single(rows) => rows.insert(&member),
            Rows::Verifying(rows) => rows.insert(&member),
        }
        self.finish.insert((member.finish_at, member.order, member.slot));
    }

    pub fn remove(&mut self, member: Member<'a>) {
        match &mut self.rows {
            Rows::Single(rows) => rows.remove(&member),
            Rows::Verifying(rows) => rows.remove(member.slot),
        }
        self.finish.remove(&(member.finish_at, member.order, member.slot));
    }

    /// Rows that need a block in the pass that raises the counter from `k`; where they verify drafts,
    /// all rows.
    pub fn due(&self, k: u64) -> &[u32] {
        match &self.rows {
            Rows::Single(rows) => rows.due(k),
            Rows::Verifying(rows) => rows.slots(),
        }
    }

    /// Blocks that one row takes in the pass that raises the counter from `k`, when it has `stored` tokens.
    pub fn demand_of(&self, slot: u32, stored: u32, block_size: u32, k: u64) -> u32 {
        match &self.rows {
            Rows::Single(_) => u32::from(stored.is_multiple_of(block_size)),
            Rows::Verifying(rows) => rows.demand_of(slot, k),
        }
    }

    /// Blocks that a row with `stored` tokens holds.
    pub fn held(&self, slot: u32, stored: u32, block_size: u32) -> u32 {
        match &self.rows {
            Rows::Single(_) => stored.div_ceil(block_size),
            Rows::Verifying(rows) => rows.held(slot),
        }
    }

    /// Blocks that `passes` passes from counter `k` on take.
    pub fn demand(&self, k: u64, passes: i64) -> i64 {
        match &self.rows {
            Rows::Single(rows) => rows.demand(k, passes),
            Rows::Verifying(rows) => rows.demand(k, passes),
        }
    }

    /// As [`Self::demand`], and the rows have them.
    pub fn take(&mut self, k: u64, passes: i64) -> i64 {
        match &mut self.rows {
            Rows::Single(rows) => rows.demand(k, passes),
            Rows::Verifying(rows) => rows.take(k, passes),
        }
    }

    /// The most passes from counter `k` on, up to `wanted`, whose blocks are all among `free`. Where
    /// rows verify drafts, perhaps fewer.
    pub fn passes_within(&self, k: u64, free: i64, wanted: i64) -> i64 {
        match &self.rows {
            Rows::Single(rows) => rows.passes_within(k, free, wanted),
            Rows::Verifying(rows) => rows.passes_within(k, free, wanted),
        }
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
