//! What requests hold of other groups: the tables, and how windows move.

use crate::config::vllm as config;
use crate::decode_set::{DecodeSet, Member};
use crate::kv::block_pool::BlockPool;
use crate::kv::tier::Content;
use std::collections::BTreeSet;

/// What a row holds, the same in each group.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// Places that hold a block, in order; what lies before and between is needed no more.
    spans: Vec<(u32, u32)>,
    /// All places, those before and between among them.
    places: u32,
    /// Of these, looked at for the cache.
    stored: u32,
    /// Blocks that full attention alone had of it when it was admitted, where the others had fewer; or 0.
    junction: u32,
    /// Blocks with a hash, in all groups together.
    hashed: u32,
    /// Tokens of its last explicit pass.
    pub(super) last_tokens: u32,
    /// Of a decoding row: all it holds is without a hash, and each block leaves in its pass.
    slides: bool,
    /// Then, its tokens as it was last looked at: perhaps in a pass in which it was preempted then.
    seen: u32,
    /// Otherwise, the counter before the pass in which it is looked at next.
    next: u64,
}

impl Table {
    fn blocks(&self) -> u32 {
        self.spans.iter().map(|&(lo, hi)| hi - lo).sum()
    }

    fn holds(&self, place: u32) -> bool {
        self.spans.iter().any(|&(lo, hi)| (lo..hi).contains(&place))
    }

    fn push(&mut self, lo: u32, hi: u32) {
        match self.spans.last_mut() {
            Some(last) if last.1 == lo => last.1 = hi,
            _ if lo < hi => self.spans.push((lo, hi)),
            _ => {}
        }
        self.places = hi;
    }

    /// Gives up places before `upto`. Returns how many held a block.
    fn leave(&mut self, upto: u32) -> u32 {
        let before = self.blocks();
        self.spans.retain(|&(_, hi)| hi > upto);
        if let Some(first) = self.spans.first_mut() {
            first.0 = first.0.max(upto);
        }
        before - self.blocks()
    }
}

/// What a block of a request is known by.
fn name(content: Content<'_>, block: u32) -> (u32, u32) {
    let index = content.path.partition_point(|piece| piece.end <= block);
    (content.path.get(index).map_or(content.private, |piece| piece.segment), block)
}

pub(super) struct GroupTables<'a> {
    pub(super) count: u32,
    pub(super) come_first: bool,
    /// A state that is kept at the ends of blocks.
    pub(super) aligned: bool,
    /// Blocks of a request and group, where that is all there is to it.
    fixed: Option<u32>,
    window: u32,
    /// Blocks before a token that must be there for it to be computed.
    pub(super) needed: u32,
    block_size: u32,
    max_model_len: u32,
    /// The most tokens that are in a window or under way.
    at_once: u32,
    /// Tokens of a decoding row under way as a pass is decided.
    ahead: u32,
    caches: bool,
    tables: Vec<Table>,
    /// Decoding rows that slide.
    sliding: DecodeSet<'a>,
    /// Those that do not yet, by when they are looked at.
    next: BTreeSet<(u64, u32)>,
    /// States that the pass being decided computes: nobody starts from them in it.
    entered: Vec<(u32, u32)>,
}

impl<'a> GroupTables<'a> {
    pub(super) fn new(engine: &config::Vllm, groups: &config::Groups) -> Self {
        let window = groups.window();
        GroupTables {
            count: groups.count,
            come_first: groups.come_first,
            aligned: groups.has_state && engine.enable_prefix_caching,
            fixed: groups.fixed(engine),
            window,
            needed: groups.needed(engine.block_size),
            block_size: engine.block_size,
            max_model_len: engine.max_model_len,
            at_once: groups.at_once(engine),
            ahead: u32::from(engine.async_scheduling),
            caches: engine.enable_prefix_caching,
            tables: Vec::new(),
            sliding: DecodeSet::new(engine.block_size, None, false),
            next: BTreeSet::new(),
            entered: Vec::new(),
        }
    }

    pub(super) fn slides(&self) -> bool {
        self.fixed.is_none()
    }

    /// Blocks that a decoding row takes where a token falls into a new one: one of each group.
    pub(super) fn taken_at_once(&self) -> u32 {
        if self.slides() { 1 + self.count } else { 1 }
    }

    pub(super) fn begin_pass(&mut self) {
        self.entered.clear();
    }

    pub(super) fn last_tokens(&self, slot: u32) -> u32 {
        self.tables[slot as usize].last_tokens
    }

    pub(super) fn junction(&self, slot: u32) -> u32 {
        self.tables.get(slot as usize).map_or(0, |table| table.junction * self.block_size)
    }

    pub(super) fn table(&mut self, slot: u32) -> &mut Table {
        if self.tables.len() <= slot as usize {
            self.tables.resize_with(slot as usize + 1, Table::default);
        }
        &mut self.tables[slot as usize]
    }

    /// Whole blocks that the token after `computed` does not see.
    pub(super) fn skipped(&self, computed: u32) -> u32 {
        (computed + 1).saturating_sub(self.window) / self.block_size
    }

    /// Blocks of one group for `tokens` tokens and `ahead` slots, beside `places` places.
    fn new_blocks(&self, tokens: u32, ahead: u32, places: u32) -> u32 {
        match self.fixed {
            Some(fixed) => fixed.saturating_sub(places),
            None if self.aligned => u32::from(tokens.div_ceil(self.block_size) > places),
            None => (tokens + ahead).min(self.max_model_len).div_ceil(self.block_size).saturating_sub(places),
        }
    }

    /// Those of all groups for a waiting request, of which `hit` blocks are cached.
    pub(super) fn first(&self, tokens: u32, ahead: u32, hit: u32) -> u32 {
        self.count * self.new_blocks(tokens, ahead, hit)
    }

    /// The same for its whole prompt, which a window never needs all at once.
    pub(super) fn whole(&self, tokens: u32, hit: u32) -> u32 {
        if self.slides() && !self.aligned {
            let most = self.at_once.min(self.max_model_len).div_ceil(self.block_size) + 1;
            let slots = tokens.min(self.max_model_len).div_ceil(self.block_size).min(most);
            return self.count * slots.saturating_sub(hit);
        }
        self.first(tokens, 0, hit)
    }

    pub(super) fn more(&mut self, slot: u32, tokens: u32, ahead: u32) -> u32 {
        let places = self.table(slot).places;
        self.count * self.new_blocks(tokens, ahead, places)
    }

    /// Whether the pass being decided computes what a request would start from.
    pub(super) fn puts_off(&self, content: Content<'_>, hit: u32) -> bool {
        self.aligned && hit > 0 && self.entered.contains(&name(content, hit - 1))
    }

    /// A request enters the batch with `hit` cached blocks, of `known` that full attention has.
    pub(super) fn admit(&mut self, pool: &mut BlockPool, slot: u32, hit: u32, known: u32) {
        let from = self.skipped(hit * self.block_size);
        let mut table = Table { stored: hit, junction: if known > hit { known } else { 0 }, ..Table::default() };
        table.push(from.min(hit), hit);
        table.hashed = self.count * table.blocks();
        *self.table(slot) = table;
        if hit > 0 {
            pool.hold_others(slot);
        }
    }

    /// Gives it blocks for `tokens` tokens and `ahead` slots, which are free.
    pub(super) fn grow(&mut self, pool: &mut BlockPool, slot: u32, tokens: u32, ahead: u32) {
        let places = self.table(slot).places;
        let blocks = self.new_blocks(tokens, ahead, places);
        pool.take_unassigned(self.count * blocks);
        let (aligned, places) = (self.aligned, tokens.div_ceil(self.block_size));
        let table = self.table(slot);
        match table.places {
            _ if blocks == 0 => {}
            _ if aligned => table.push(places - 1, places),
            from => table.push(from, from + blocks),
        }
    }

    /// Enters those of its full blocks into the cache that a request may start from, `known` of whose tokens are.
    pub(super) fn store(&mut self, pool: &mut BlockPool, slot: u32, content: Content<'_>, prompt: u32, known: u32) {
        let (full, replay) = (known / self.block_size, (prompt - 1) / self.block_size);
        let (count, needed, aligned) = (self.count, self.needed, self.aligned);
        if !self.caches {
            return;
        }
        let table = self.table(slot);
        let (stored, junction) = (table.stored, table.junction);
        table.stored = full.max(stored);
        let mut at = stored;
        let mut entered = Vec::new();
        for end in [replay.min(junction), replay.max(junction)] {
            let (lo, hi) = (end.saturating_sub(needed).max(at), end.min(full));
            if lo >= hi {
                continue;
            }
            at = hi;
            for index in 0..self.table(slot).spans.len() {
                let span = self.table(slot).spans[index];
                let (lo, hi) = (span.0.max(lo), span.1.min(hi));
                if lo < hi {
                    pool.hash_others(slot, content.path, content.private, lo, hi);
                    self.table(slot).hashed += count * (hi - lo);
                    entered.extend((lo..hi).filter(|_| aligned).map(|block| name(content, block)));
                }
            }
        }
        self.entered.append(&mut entered);
        self.note_state(slot, content, prompt, known);
    }

    /// The state at the end of its prompt's blocks is entered anew as long as it is the last that is whole.
    pub(super) fn note_state(&mut self, slot: u32, content: Content<'_>, prompt: u32, known: u32) {
        let replay = (prompt - 1) / self.block_size;
        if self.aligned && replay > 0 && known / self.block_size == replay && self.table(slot).holds(replay - 1) {
            self.entered.push(name(content, replay - 1));
        }
    }

    /// Gives up what the token after `processed` does not see. Returns whether there was any.
    pub(super) fn give_up(&mut self, pool: &mut BlockPool, slot: u32, processed: u32) -> bool {
        let (count, upto) = (self.count, self.skipped(processed));
        let table = self.table(slot);
        let left = table.leave(upto.min(table.places));
        if left == 0 {
            return false;
        }
        let hashed = if table.hashed > 0 { pool.leave_others(slot, upto) } else { 0 };
        table.hashed -= hashed;
        pool.give_back(count * left - hashed);
        true
    }

    /// Frees all that a row holds.
    pub(super) fn release(&mut self, pool: &mut BlockPool, slot: u32) {
        let table = std::mem::take(self.table(slot));
        if table.hashed > 0 {
            pool.leave_others(slot, u32::MAX);
        }
        let unhashed = self.count * table.blocks() - table.hashed;
        if unhashed > 0 {
            pool.give_back(unhashed);
        }
    }

    // Rows in the decode set

    /// As a member of the rows that slide: it takes a block there in the pass in which one leaves its window.
    fn window_member(&self, member: Member<'a>) -> Member<'a> {
        Member { offset: member.offset - i64::from(self.ahead) - i64::from(self.window) + 1, ..member }
    }

    /// A row joins the decode set as the counter is `k`: it is looked at in its first pass.
    pub(super) fn join(&mut self, slot: u32, k: u64) {
        let table = self.table(slot);
        table.slides = false;
        table.next = k;
        self.next.insert((k, slot));
    }

    /// It leaves that with `computed` tokens.
    pub(super) fn part(&mut self, member: Member<'a>, computed: u32) {
        let mut table = std::mem::take(self.table(member.slot));
        if table.slides {
            self.sliding.remove(self.window_member(member));
        } else {
            self.next.remove(&(table.next, member.slot));
        }
        self.bring_up_to_date(&mut table, computed);
        table.slides = false;
        *self.table(member.slot) = table;
    }

    /// What it is about to see no more is given up in the pass after counter `k`, `processed` of its tokens
    /// being computed and not on their way. Returns whether there was any.
    pub(super) fn look_at(&mut self, pool: &mut BlockPool, member: Member<'a>, k: u64, processed: u32) -> bool {
        let (slot, block_size) = (member.slot, i64::from(self.block_size));
        let skips = self.window_member(member).offset + k as i64;
        if self.table(slot).slides {
            let leaves = skips % block_size == 0;
            if leaves {
                pool.give_back(self.count);
                self.table(slot).seen = (member.offset + k as i64) as u32;
            }
            return leaves;
        }
        if self.table(slot).next > k {
            return false;
        }
        let mut table = std::mem::take(self.table(slot));
        self.next.remove(&(table.next, slot));
        self.bring_up_to_date(&mut table, (member.offset + k as i64) as u32);
        *self.table(slot) = table;
        let left = self.give_up(pool, slot, processed);
        let steady = i64::from(processed) + i64::from(self.ahead) == member.offset + k as i64;
        if steady && skips >= 0 && self.table(slot).hashed == 0 {
            self.table(slot).slides = true;
            self.table(slot).seen = (member.offset + k as i64) as u32;
            self.sliding.insert(self.window_member(member));
            return left;
        }
        let passes = if steady { (i64::from(self.skipped(processed)) + 1) * block_size - skips } else { 1 };
        let next = k + passes as u64;
        self.table(slot).next = next;
        self.next.insert((next, slot));
        left
    }

    /// Adds the decoding rows for which the pass after counter `k` is more than a token.
    pub(super) fn add_due(&self, k: u64, slots: &mut Vec<u32>) {
        slots.extend_from_slice(self.sliding.due(k));
        slots.extend(self.next.range(..(k + 1, 0)).map(|&(_, slot)| slot));
    }

    /// Blocks that leave windows in `passes` passes from counter `k` on, if these are all of rows that slide.
    pub(super) fn freed(&self, k: u64, passes: i64) -> u32 {
        self.count * self.sliding.demand(k, passes.max(0)) as u32
    }

    /// Of `wanted` passes from counter `k` on, the first in which no block with a hash is freed; if somebody
    /// `waits` for blocks, no other either.
    pub(super) fn quiet_passes(&self, k: u64, wanted: i64, waits: bool) -> i64 {
        let wanted = self.next.first().map_or(wanted, |&(next, _)| wanted.min(next as i64 - k as i64));
        let frees = |pass: &i64| waits && !self.sliding.due(k + *pass as u64).is_empty();
        (0..wanted.min(i64::from(self.block_size))).find(frees).unwrap_or(wanted)
    }

    fn bring_up_to_date(&self, table: &mut Table, computed: u32) {
        let places = computed.div_ceil(self.block_size).max(table.places);
        if table.slides {
            let front = self.skipped((computed - 1).max(table.seen).saturating_sub(self.ahead));
            table.spans.clear();
            table.places = front.min(places);
        }
        let from = table.places;
        table.push(from, places);
    }

    /// Blocks without a hash that a decoding row with `computed` tokens holds; or any other, if None. For tests.
    pub(super) fn unhashed(&self, slot: u32, computed: Option<u32>) -> u32 {
        let Some(mut table) = self.tables.get(slot as usize).cloned() else { return 0 };
        if let Some(computed) = computed.filter(|_| self.slides()) {
            self.bring_up_to_date(&mut table, computed);
        }
        self.count * table.blocks() - table.hashed
    }
}
