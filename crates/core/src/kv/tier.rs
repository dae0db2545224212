//! A tier of KV blocks below the GPU's: host memory, a disk, a store. Least recently used goes first.
//!
//! Like the [block pool](crate::kv::block_pool), it keeps *extents*: ranges of blocks of one segment
//! (see [`crate::chain`]) that have been treated alike. All operations cost the extents they touch.
//! A block is in a tier at most once. It can be read once it is *ready*: its write has ended.

use crate::chain::Piece;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

const NIL: u32 = u32::MAX;

/// When a write ends whose end is not known yet.
pub const ON_ITS_WAY: i64 = i64::MAX;

/// Blocks `lo..hi` of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub segment: u32,
    pub lo: u32,
    pub hi: u32,
}

impl Extent {
    pub fn blocks(&self) -> u32 {
        self.hi - self.lo
    }
}

/// A request's content: what its prompt is known to hold, then what only it will ever hold.
#[derive(Clone, Copy, Debug)]
pub struct Content<'p> {
    pub path: &'p [Piece],
    pub private: u32,
}

impl<'p> Content<'p> {
    /// Blocks `from..upto` of it, in order.
    pub fn extents(self, from: u32, upto: u32) -> impl DoubleEndedIterator<Item = Extent> + use<'p> {
        let known = self.path.last().map_or(0, |piece| piece.end);
        let shared = (0..self.path.len()).map(move |index| Extent {
            segment: self.path[index].segment,
            lo: if index == 0 { 0 } else { self.path[index - 1].end },
            hi: self.path[index].end,
        });
        shared
            .chain(std::iter::once(Extent { segment: self.private, lo: known, hi: u32::MAX }))
            .map(move |extent| Extent { lo: extent.lo.max(from), hi: extent.hi.min(upto), ..extent })
            .filter(|extent| extent.lo < extent.hi)
    }
}

/// What a tier holds of the blocks that were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Blocks in a row, from the first one asked for.
    pub blocks: u32,
    /// When the last of them can be read.
    pub ready_ps: i64,
    /// Whether somebody reads one of them.
    pub is_read: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    extent: Extent,
    readers: u32,
    ready_ps: i64,
    /// It is read until then, by whoever does not say when it is done.
    kept_ps: i64,
    /// Whether its last block is the least recently used, as in a prompt that was used as a whole.
    last_first: bool,
    /// It is part of what is being written: not to be evicted for its own sake.
    guarded: bool,
    /// Neighbours in order of use: `prev` was used earlier.
    prev: u32,
    next: u32,
}

impl Entry {
    fn is_evictable(&self, now_ps: i64) -> bool {
        self.readers == 0 && self.ready_ps.max(self.kept_ps) <= now_ps && !self.guarded
    }
}

#[derive(Clone, Debug)]
pub struct Tier {
    capacity: u32,
    held: u32,
    entries: Vec<Entry>,
    vacant: Vec<u32>,
    /// The entries of each segment, in the order of their blocks.
    of_segment: HashMap<u32, Vec<u32>, FxBuildHasher>,
    oldest: u32,
    newest: u32,
}

impl Tier {
    /// An empty tier for `capacity` blocks.
    pub fn new(capacity: u32) -> Self {
        Tier {
            capacity,
            held: 0,
            entries: Vec::new(),
            vacant: Vec::new(),
            of_segment: HashMap::default(),
            oldest: NIL,
            newest: NIL,
        }
    }

    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    pub fn held(&self) -> u32 {
        self.held
    }

    pub fn free(&self) -> u32 {
        self.capacity - self.held
    }

    /// How much of `wanted`, in order and without a gap, is here.
    pub fn find(&self, wanted: impl Iterator<Item = Extent>) -> Found {
        let mut found = Found { ready_ps: i64::MIN, ..Found::default() };
        for want in wanted {
            let mut at = want.lo;
            for &entry in self.covering(&want) {
                let entry = &self.entries[entry as usize];
                if entry.extent.lo > at {
                    return found;
                }
                let upto = entry.extent.hi.min(want.hi);
                found.blocks += upto - at;
                found.ready_ps = found.ready_ps.max(entry.ready_ps);
                found.is_read |= entry.readers > 0;
                at = upto;
            }
            if at < want.hi {
                return found;
            }
        }
        found
    }

    /// Tells of `wanted`, in order, what is missing, and what is here and when it can be read.
    pub fn stretches(&self, wanted: impl Iterator<Item = Extent>, mut told: impl FnMut(Extent, Option<i64>)) {
        for want in wanted {
            let mut at = want.lo;
            for &entry in self.covering(&want) {
                let entry = &self.entries[entry as usize];
                if at < entry.extent.lo {
                    told(Extent { lo: at, hi: entry.extent.lo, ..want }, None);
                    at = entry.extent.lo;
                }
                let upto = entry.extent.hi.min(want.hi);
                told(Extent { lo: at, hi: upto, ..want }, Some(entry.ready_ps));
                at = upto;
            }
            if at < want.hi {
                told(Extent { lo: at, ..want }, None);
            }
        }
    }

    /// Writes what is missing of `offered`, which is in order: blocks enter as the most recently
    /// used, one after the other, and others are evicted for them, but none of `offered`. `written`
    /// and `evicted` are told which; the writes end at [`ON_ITS_WAY`] until [`Self::set_ready`] is
    /// told better. Returns false, and changes nothing, if too few blocks can be evicted at `now_ps`.
    pub fn write(
        &mut self,
        offered: impl Iterator<Item = Extent>,
        now_ps: i64,
        written: &mut Vec<Extent>,
        evicted: &mut Vec<Extent>,
    ) -> bool {
        written.clear();
        evicted.clear();
        let offered: Vec<Extent> = offered.collect();
        let mut guarded: Vec<u32> = Vec::new();
        for extent in &offered {
            self.isolate(extent);
            guarded.extend(self.covering(extent));
        }
        self.stretches(offered.into_iter(), |extent, ready_ps| {
            if ready_ps.is_none() {
                written.push(extent);
            }
        });
        for &entry in &guarded {
            self.entries[entry as usize].guarded = true;
        }
        let missing: u64 = written.iter().map(|extent| u64::from(extent.blocks())).sum();
        let fits = self.make_room(missing, now_ps, evicted);
        for &entry in &guarded {
            self.entries[entry as usize].guarded = false;
        }
        if !fits {
            written.clear();
            return false;
        }
        for &extent in written.iter() {
            self.insert(extent);
        }
        true
    }

    /// Says when the writes of `written` end.
    pub fn set_ready(&mut self, written: &[Extent], ready_ps: i64) {
        for extent in written {
            self.isolate(extent);
            for entry in self.covering(extent).to_vec() {
                self.entries[entry as usize].ready_ps = ready_ps;
            }
        }
    }

    /// Keeps what is here of `extents` until `kept_ps`.
    pub fn keep(&mut self, extents: &[Extent], kept_ps: i64) {
        for extent in extents {
            self.isolate(extent);
            for entry in self.covering(extent).to_vec() {
                let entry = &mut self.entries[entry as usize];
                entry.kept_ps = entry.kept_ps.max(kept_ps);
            }
        }
    }

    /// Keeps `extents`, all of which are here, until [`Self::release`].
    pub fn hold(&mut self, extents: impl Iterator<Item = Extent>) {
        for extent in extents {
            self.isolate(&extent);
            for entry in self.covering(&extent).to_vec() {
                self.entries[entry as usize].readers += 1;
            }
        }
    }

    /// Undoes one [`Self::hold`].
    pub fn release(&mut self, extents: impl Iterator<Item = Extent>) {
        for extent in extents {
            self.isolate(&extent);
            for entry in self.covering(&extent).to_vec() {
                self.entries[entry as usize].readers -= 1;
            }
        }
    }

    /// What is here of `used`, which is in order, was used just now: its first block last, so that
    /// the beginnings of prompts outlive their ends.
    pub fn touch(&mut self, used: impl DoubleEndedIterator<Item = Extent>, now_ps: i64) {
        for extent in used.rev() {
            self.isolate(&extent);
            for entry in self.covering(&extent).to_vec().into_iter().rev() {
                self.unlink(entry);
                self.entries[entry as usize].last_first = true;
                self.push_newest(entry);
                self.merge_with_older(entry, now_ps);
            }
        }
    }

    /// Drops `extents`, where they are here and nobody reads them.
    pub fn remove(&mut self, extents: impl Iterator<Item = Extent>) {
        for extent in extents {
            self.isolate(&extent);
            for entry in self.covering(&extent).to_vec() {
                if self.entries[entry as usize].readers == 0 {
                    self.forget(entry);
                }
            }
        }
    }

    /// Evicts until `blocks` are free; false, and nothing is evicted, if they cannot be.
    fn make_room(&mut self, blocks: u64, now_ps: i64, evicted: &mut Vec<Extent>) -> bool {
        let Some(mut wanted) = blocks.checked_sub(u64::from(self.free())).filter(|&wanted| wanted > 0) else {
            return true;
        };
        let mut evictable = 0;
        let mut at = self.oldest;
        while at != NIL && evictable < wanted {
            let entry = &self.entries[at as usize];
            if entry.is_evictable(now_ps) {
                evictable += u64::from(entry.extent.blocks());
            }
            at = entry.next;
        }
        if evictable < wanted {
            return false;
        }
        let mut at = self.oldest;
        while wanted > 0 {
            let Entry { extent, last_first, next, .. } = self.entries[at as usize];
            if self.entries[at as usize].is_evictable(now_ps) {
                let taken = wanted.min(u64::from(extent.blocks())) as u32;
                wanted -= u64::from(taken);
                let gone = if last_first {
                    Extent { lo: extent.hi - taken, ..extent }
                } else {
                    Extent { hi: extent.lo + taken, ..extent }
                };
                evicted.push(gone);
                if taken == extent.blocks() {
                    self.forget(at);
                } else {
                    let kept = &mut self.entries[at as usize].extent;
                    if last_first {
                        kept.hi = gone.lo
                    } else {
                        kept.lo = gone.hi
                    }
                    self.held -= taken;
                }
            }
            at = next;
        }
        true
    }

    /// The entries with a block of `extent`.
    fn covering(&self, extent: &Extent) -> &[u32] {
        let Some(entries) = self.of_segment.get(&extent.segment) else { return &[] };
        let first = entries.partition_point(|&entry| self.entries[entry as usize].extent.hi <= extent.lo);
        let count = entries[first..].partition_point(|&entry| self.entries[entry as usize].extent.lo < extent.hi);
        &entries[first..first + count]
    }

    /// Splits entries so that none is partly in `extent`.
    fn isolate(&mut self, extent: &Extent) {
        for at in [extent.lo, extent.hi] {
            let inside = |entry: &&u32| {
                let here = self.entries[**entry as usize].extent;
                here.lo < at && at < here.hi
            };
            let entry = self.covering(&Extent { lo: at.saturating_sub(1), hi: at, ..*extent }).iter().find(inside);
            if let Some(&entry) = entry {
                self.split(entry, at);
            }
        }
    }

    fn split(&mut self, entry: u32, at: u32) {
        let whole = self.entries[entry as usize];
        let upper = self.new_entry(Entry { extent: Extent { lo: at, ..whole.extent }, ..whole });
        self.entries[entry as usize].extent.hi = at;
        let entries = self.of_segment.get_mut(&whole.extent.segment).expect("the segment of an entry");
        let position = entries.iter().position(|&other| other == entry).expect("an entry of its segment");
        entries.insert(position + 1, upper);
        // The part that is used up first stands before the other.
        let (first, second) = if whole.last_first { (upper, entry) } else { (entry, upper) };
        self.entries[first as usize].prev = whole.prev;
        self.entries[first as usize].next = second;
        self.entries[second as usize].prev = first;
        self.entries[second as usize].next = whole.next;
        if whole.prev == NIL {
            self.oldest = first
        } else {
            self.entries[whole.prev as usize].next = first
        }
        if whole.next == NIL { self.newest = second } else { self.entries[whole.next as usize].prev = second }
    }

    fn insert(&mut self, extent: Extent) {
        let entry = Entry {
            extent,
            readers: 0,
            ready_ps: ON_ITS_WAY,
            kept_ps: i64::MIN,
            last_first: false,
            guarded: false,
            prev: NIL,
            next: NIL,
        };
        let entry = self.new_entry(entry);
        self.held += extent.blocks();
        let entries = &self.entries;
        let of_segment = self.of_segment.entry(extent.segment).or_default();
        let position = of_segment.partition_point(|&other| entries[other as usize].extent.lo < extent.lo);
        of_segment.insert(position, entry);
        self.push_newest(entry);
    }

    /// Makes one of `entry` and the one used just before it, where they are alike and the blocks of
    /// the latter come next.
    fn merge_with_older(&mut self, entry: u32, now_ps: i64) {
        let newer = self.entries[entry as usize];
        if newer.prev == NIL {
            return;
        }
        let older = self.entries[newer.prev as usize];
        let adjoins = older.extent.segment == newer.extent.segment && newer.extent.hi == older.extent.lo;
        let at_rest = |entry: &Entry| entry.readers == 0 && entry.ready_ps.max(entry.kept_ps) <= now_ps;
        if adjoins && older.last_first && at_rest(&older) && at_rest(&newer) {
            self.forget(newer.prev);
            self.entries[entry as usize].extent.hi = older.extent.hi;
            self.held += older.extent.blocks();
        }
    }

    fn new_entry(&mut self, entry: Entry) -> u32 {
        if let Some(at) = self.vacant.pop() {
            self.entries[at as usize] = entry;
            at
        } else {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        }
    }

    fn forget(&mut self, entry: u32) {
        let extent = self.entries[entry as usize].extent;
        self.held -= extent.blocks();
        self.unlink(entry);
        let of_segment = self.of_segment.get_mut(&extent.segment).expect("the segment of an entry");
        of_segment.retain(|&other| other != entry);
        if of_segment.is_empty() {
            self.of_segment.remove(&extent.segment);
        }
        self.vacant.push(entry);
    }

    fn push_newest(&mut self, entry: u32) {
        self.entries[entry as usize].prev = self.newest;
        self.entries[entry as usize].next = NIL;
        if self.newest == NIL {
            self.oldest = entry
        } else {
            self.entries[self.newest as usize].next = entry
        }
        self.newest = entry;
    }

    fn unlink(&mut self, entry: u32) {
        let Entry { prev, next, .. } = self.entries[entry as usize];
        if prev == NIL {
            self.oldest = next
        } else {
            self.entries[prev as usize].next = next
        }
        if next == NIL { self.newest = prev } else { self.entries[next as usize].prev = prev }
    }

    /// Panics unless each block is here once, in its segment's list and in the order of use, and no
    /// more than the capacity. For tests.
    pub fn check(&self) {
        assert!(self.held <= self.capacity);
        let mut in_order = 0;
        let (mut at, mut before) = (self.oldest, NIL);
        while at != NIL {
            let entry = &self.entries[at as usize];
            assert!(entry.prev == before && entry.extent.lo < entry.extent.hi && !entry.guarded);
            assert!(self.of_segment[&entry.extent.segment].contains(&at));
            in_order += entry.extent.blocks();
            before = at;
            at = entry.next;
        }
        assert_eq!(self.newest, before);
        assert_eq!(in_order, self.held);
        for entries in self.of_segment.values() {
            let extents = entries.iter().map(|&entry| self.entries[entry as usize].extent);
            extents.reduce(|before, next| {
                assert!(before.hi <= next.lo);
                next
            });
        }
    }
}

#[cfg(test)]
mod tests;
