//! KV offloading to host memory, by the rules of vLLM 0.32's native backend (`--kv-offloading-size`).
//!
//! Read from `vllm/distributed/kv_transfer/kv_connector/v1/offloading/scheduler.py` and
//! `vllm/v1/kv_offload/cpu/`, not recorded. Full blocks of prompts are offered to the host as they
//! are scheduled, and copied when their pass has ended; a copy can be read once it is complete. A
//! request that waits and has more on the host than on the GPU is given its blocks, and loads while
//! others run. Each direction copies one transfer after the other, so all ends are known beforehand.

use super::Vllm;
use super::below::{Below, blocks};
use super::load::Outside;
use super::row::State;
use crate::config::vllm::{self as config, Place};
use crate::kv::channel::Channel;
use crate::kv::tier::{Content, Extent, Tier};
use crate::scheduler::Store;
use crate::scheduler::pass::Pass;
use crate::waiting::Waiting;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use std::collections::BTreeSet;

pub(super) struct Offload<'a> {
    tier: Tier,
    /// Where its blocks are kept as well.
    below: Vec<Below<'a>>,
    /// By request that waits: blocks brought to the host for it, from each of these.
    brought: HashMap<u32, Vec<u32>, FxBuildHasher>,
    stores: Channel,
    loads: Channel,
    block_bytes: u64,
    drops_last_block: bool,
    /// By slot.
    rows: Vec<Offloaded>,
    /// Loads on their way: their ends and slots.
    loading: BTreeSet<(i64, u32)>,
    /// Requests that have ended since the last decision.
    ended: Vec<Ended>,
    /// Rows that the host had no room for, which are offered again in each of their passes.
    refused: Vec<u32>,
    /// When the first of the requests may go on that the last waiting loop put off.
    put_off_ps: Option<i64>,
    /// When the copies of rows that are preempted in this pass end: vLLM waits for them.
    flushed_ps: i64,
    written: Vec<Extent>,
    evicted: Vec<Extent>,
}

/// What the host has of a request.
#[derive(Clone, Debug, Default)]
struct Offloaded {
    /// Blocks offered so far, or loaded.
    offered: u32,
    /// Ranges of blocks that count as used when the request ends.
    used: Vec<(u32, u32)>,
    /// The end of its last copy.
    busy_until_ps: i64,
    /// The blocks it loads.
    load: (u32, u32),
}

struct Ended {
    request: u32,
    end_ps: i64,
    prompt_blocks: u32,
    row: Offloaded,
}

impl<'a> Offload<'a> {
    pub(super) fn new(config: &config::Offload, store: Option<&'a Store>) -> Self {
        Offload {
            tier: Tier::new(config.blocks),
            below: config.below.iter().map(|below| Below::new(below, store)).collect(),
            brought: HashMap::default(),
            stores: Channel::new(config.store),
            loads: Channel::new(config.load),
            block_bytes: config.block_bytes,
            drops_last_block: config.drops_last_block,
            rows: Vec::new(),
            loading: BTreeSet::new(),
            ended: Vec::new(),
            refused: Vec::new(),
            put_off_ps: None,
            flushed_ps: i64::MIN,
            written: Vec::new(),
            evicted: Vec::new(),
        }
    }

    /// Forgets what the request before had in `slot`.
    pub(super) fn open(&mut self, slot: u32, request: u32) {
        self.brought.remove(&request);
        if self.rows.len() <= slot as usize {
            self.rows.resize_with(slot as usize + 1, Offloaded::default);
        }
        self.rows[slot as usize] = Offloaded::default();
    }

    pub(super) fn forget_put_off(&mut self) {
        self.put_off_ps = None;
    }

    pub(super) fn has_below(&self) -> bool {
        !self.below.is_empty()
    }

    /// Whether a copy is under way at `now_ps`.
    pub(super) fn is_copying(&self, now_ps: i64) -> bool {
        !self.loading.is_empty() || self.stores.free_ps() > now_ps
    }

    fn put_off(&mut self, until_ps: i64) {
        self.put_off_ps = Some(self.put_off_ps.map_or(until_ps, |before| before.min(until_ps)));
    }

    /// Whether each pass has to be decided on its own: something may change that no event announces.
    pub(super) fn must_step(&self) -> bool {
        !self.refused.is_empty()
    }

    pub(super) fn first_load_end_ps(&self) -> Option<i64> {
        self.loading.first().map(|&(end_ps, _)| end_ps)
    }

    /// When to look again if nothing runs.
    pub(super) fn next_wake_ps(&self) -> Option<i64> {
        self.first_load_end_ps().into_iter().chain(self.put_off_ps).min()
    }

    /// A row loses its blocks: its copies are waited for.
    pub(super) fn preempt(&mut self, slot: u32) {
        self.flushed_ps = self.flushed_ps.max(self.rows[slot as usize].busy_until_ps);
        self.refused.retain(|&other| other != slot);
    }

    /// How long a pass that starts at `start_ps` waits for such copies.
    pub(super) fn take_flush(&mut self, start_ps: i64) -> i64 {
        std::mem::replace(&mut self.flushed_ps, i64::MIN).saturating_sub(start_ps).max(0)
    }

    pub(super) fn end(&mut self, slot: u32, request: u32, prompt_blocks: u32, end_ps: i64) {
        let row = std::mem::take(&mut self.rows[slot as usize]);
        self.refused.retain(|&other| other != slot);
        self.ended.push(Ended { request, end_ps, prompt_blocks, row });
    }

    /// Offers the blocks of `row` up to `upto`; they can be copied from `at_ps` on. Returns whether
    /// the host took them.
    fn offer(&mut self, content: Content, row: &mut Offloaded, upto: u32, now_ps: i64, at_ps: i64) -> bool {
        if upto <= row.offered {
            return true;
        }
        let offered = content.extents(row.offered, upto);
        self.tier.stretches(offered, |extent, ready_ps| {
            // What another request is still writing is not this one's.
            if ready_ps.is_none_or(|ready_ps| ready_ps <= now_ps) {
                note(&mut row.used, (extent.lo, extent.hi));
            }
        });
        let offered = content.extents(row.offered, upto);
        if !self.tier.write(offered, now_ps, &mut self.written, &mut self.evicted) {
            return false;
        }
        row.offered = upto;
        let blocks = blocks(&self.written);
        if blocks > 0 {
            let end_ps = self.stores.submit(at_ps, blocks * self.block_bytes);
            self.tier.set_ready(&self.written, end_ps);
            row.busy_until_ps = row.busy_until_ps.max(end_ps);
            self.write_on(now_ps, end_ps);
        }
        true
    }

    /// Tells the tiers below what the host has just taken in, complete at `ready_ps`, and evicted.
    fn write_on(&mut self, now_ps: i64, ready_ps: i64) {
        for below in &mut self.below {
            let kept_ps = below.follow(&self.written, &self.evicted, now_ps, ready_ps, self.block_bytes);
            self.tier.keep(&self.written, kept_ps);
        }
    }

    /// Brings to the host what it lacks of `wanted`, in order, as far as the tiers below have it.
    fn bring(&mut self, request: u32, wanted: impl Iterator<Item = Extent>, now_ps: i64) {
        if self.below.is_empty() {
            return;
        }
        let mut missing = Vec::new();
        self.tier.stretches(wanted, |extent, ready_ps| {
            if ready_ps.is_none() {
                missing.push(extent);
            }
        });
        let mut brought: Vec<Vec<Extent>> = vec![Vec::new(); self.below.len()];
        'missing: for mut extent in missing {
            while extent.lo < extent.hi {
                let mut counts = self.below.iter_mut().map(|below| below.readable(extent, now_ps)).enumerate();
                let Some((from, count)) = counts.find(|&(_, count)| count > 0) else { break 'missing };
                let part = Extent { hi: extent.lo + count, ..extent };
                if !self.tier.write(std::iter::once(part), now_ps, &mut self.written, &mut self.evicted) {
                    break 'missing;
                }
                self.written.clear(); // those below have it
                self.write_on(now_ps, now_ps);
                brought[from].push(part);
                extent.lo = part.hi;
            }
        }
        for (from, parts) in brought.iter().enumerate().filter(|(_, parts)| !parts.is_empty()) {
            let count = blocks(parts);
            let end_ps = self.below[from].read(count, now_ps, self.block_bytes);
            self.tier.set_ready(parts, end_ps);
            let sources = self.brought.entry(request).or_insert_with(|| vec![0; self.below.len()]);
            sources[from] += count as u32;
        }
    }

    /// Of `blocks` that a request loads, how many came from each of the tiers below.
    pub(super) fn sources(&mut self, request: u32, blocks: u32) -> Vec<(Place, u32)> {
        let Some(counts) = self.brought.remove(&request) else { return Vec::new() };
        let mut left = blocks;
        let taken = counts.into_iter().map(|count| {
            let count = count.min(left);
            left -= count;
            count
        });
        self.below.iter().map(|below| below.place).zip(taken).collect()
    }

    pub(super) fn check(&self) {
        self.tier.check();
        self.below.iter().for_each(Below::check);
    }
}

/// Whether a range is among others, which are in order and apart.
fn is_noted(ranges: &[(u32, u32)], (lo, hi): (u32, u32)) -> bool {
    ranges.iter().any(|&(start, end)| start <= lo && hi <= end)
}

/// Adds a range to others, which are in order and apart.
fn note(ranges: &mut Vec<(u32, u32)>, (mut lo, mut hi): (u32, u32)) {
    let first = ranges.partition_point(|&(_, end)| end < lo);
    let last = ranges.partition_point(|&(start, _)| start <= hi);
    if first < last {
        (lo, hi) = (lo.min(ranges[first].0), hi.max(ranges[last - 1].1));
    }
    ranges.splice(first..last, [(lo, hi)]);
}

impl<'a> Vllm<'a> {
    /// What the host has of the `known` tokens of `head`, beyond the `local` blocks that the GPU has.
    pub(super) fn look_at_host(&mut self, head: Waiting, known: u32, local: u32, now_ps: i64) -> Outside {
        let content = self.content(head.request);
        let whole = known.min(self.s.engine.max_model_len) / self.s.engine.block_size;
        let Some(offload) = &mut self.offload else { return Outside::Nothing };
        if let Some(slot) = head.slot
            && offload.rows[slot as usize].busy_until_ps > now_ps
        {
            offload.put_off(offload.rows[slot as usize].busy_until_ps);
            return Outside::Later;
        }
        offload.bring(head.request, content.extents(local, whole), now_ps);
        let mut found = offload.tier.find(content.extents(local, whole));
        if offload.drops_last_block && found.ready_ps <= now_ps && found.blocks > 0 {
            found = offload.tier.find(content.extents(local, local + found.blocks - 1));
        }
        if found.blocks == 0 {
            Outside::Nothing
        } else if found.ready_ps > now_ps {
            offload.put_off(found.ready_ps);
            Outside::Later
        } else if let Some(end_ps) = offload.first_load_end_ps()
            && found.is_read
        {
            offload.put_off(end_ps);
            Outside::Later
        } else {
            Outside::Host(found.blocks)
        }
    }

    /// Starts to load blocks `from..upto` of the request in `slot`.
    pub(super) fn load_from_host(&mut self, slot: u32, from: u32, upto: u32, now_ps: i64) {
        let content = self.content(self.rows[slot as usize].request);
        let Some(offload) = &mut self.offload else { return };
        offload.tier.hold(content.extents(from, upto));
        let end_ps = offload.loads.submit(now_ps, u64::from(upto - from) * offload.block_bytes);
        offload.loading.insert((end_ps, slot));
        let row = &mut offload.rows[slot as usize];
        note(&mut row.used, (from, upto));
        (row.offered, row.busy_until_ps, row.load) = (upto, end_ps, (from, upto));
    }

    /// Takes in what has happened by a decision at `now_ps`: loads that have ended, and requests
    /// that ended when nothing else was left to decide.
    pub(super) fn catch_up(&mut self, now_ps: i64) {
        if self.offload.is_none() {
            return;
        }
        self.take_leave(|ended| ended.end_ps < now_ps, None);
        while let Some(offload) = &mut self.offload
            && let Some(&(end_ps, slot)) = offload.loading.first()
            && end_ps <= now_ps
        {
            offload.loading.pop_first();
            let (from, upto) = offload.rows[slot as usize].load;
            let content = self.content(self.rows[slot as usize].request);
            if let Some(offload) = &mut self.offload {
                offload.tier.release(content.extents(from, upto));
            }
            self.rows[slot as usize].state = State::Loaded;
            self.head_blocked = false;
        }
    }

    /// Offers what `pass` computes of prompts, then parts with requests that have ended. `pass` is
    /// none if nothing could be scheduled.
    pub(super) fn offload_pass(&mut self, pass: Option<&Pass>, now_ps: i64) {
        if self.offload.is_none() {
            return;
        }
        // vLLM hands stores in at the start of the next step, behind what computes them.
        let at_ps = pass.map_or(now_ps, |pass| pass.start_ps.saturating_add(pass.times.time(1)));
        if pass.is_some_and(|pass| !pass.is_run) {
            let mut slots: Vec<u32> = self.planned.iter().chain(&self.admitted).map(|planned| planned.slot).collect();
            let Some(offload) = &mut self.offload else { return };
            let decodes = |slot: &u32| {
                let row = &self.rows[*slot as usize];
                row.state == State::Decoding && row.left_out_at != self.k
            };
            slots.extend(offload.refused.iter().copied().filter(decodes));
            slots.sort_unstable_by_key(|&slot| self.rows[slot as usize].order);
            slots.dedup();
            offload.refused.retain(|slot| !slots.contains(slot));
            for slot in slots {
                self.offer_prompt(slot, now_ps, at_ps);
            }
            if self.offload.as_ref().is_some_and(|offload| offload.is_copying(now_ps)) {
                self.head_blocked = false; // the head may be put off now, and others pass it
            }
        }
        self.take_leave(|_| true, Some((now_ps, at_ps)));
    }

    fn offer_prompt(&mut self, slot: u32, now_ps: i64, at_ps: i64) {
        let row = &self.rows[slot as usize];
        let computed = match row.state {
            State::Explicit => row.computed,
            State::Decoding | State::Draining => row.prompt,
            State::Waiting | State::Loading | State::Loaded => return,
        };
        let upto = computed.min(row.prompt) / self.s.engine.block_size;
        let content = self.content(row.request);
        let Some(offload) = &mut self.offload else { return };
        let mut offloaded = std::mem::take(&mut offload.rows[slot as usize]);
        if !offload.offer(content, &mut offloaded, upto, now_ps, at_ps) {
            // What is greater than the host is refused for ever, but each offer notes what can be read by then.
            let fits = upto - offloaded.offered <= offload.tier.capacity();
            if fits || !is_noted(&offloaded.used, (offloaded.offered, upto)) {
                offload.refused.push(slot);
            }
        }
        offload.rows[slot as usize] = offloaded;
    }

    /// Parts with requests that have ended: offers what is left of their prompts, and notes that what
    /// they had was used. `now_ps` and the time from which on copies can begin, or for each its end.
    fn take_leave(&mut self, leaves: impl Fn(&Ended) -> bool, times_ps: Option<(i64, i64)>) {
        let Some(offload) = &mut self.offload else { return };
        let leaving: Vec<Ended> = offload.ended.extract_if(.., |ended| leaves(ended)).collect();
        for mut ended in leaving {
            let content = self.content(ended.request);
            let Some(offload) = &mut self.offload else { return };
            let (now_ps, at_ps) = times_ps.unwrap_or((ended.end_ps, ended.end_ps));
            offload.offer(content, &mut ended.row, ended.prompt_blocks, now_ps, at_ps);
            for &(from, upto) in ended.row.used.iter().rev() {
                offload.tier.touch(content.extents(from, upto), now_ps);
            }
        }
    }

    pub(super) fn content(&self, request: u32) -> Content<'a> {
        Content { path: self.s.chains.path(request), private: self.s.chains.private_segment(request) }
    }
}
