//! vLLM's paged KV cache with prefix caching, kept as *runs* of blocks instead of single blocks.
//!
//! A run is a range of blocks of one segment (see [`crate::chain`]) that have always been treated
//! alike: the same holders, neighbours in the free queue. All operations cost the number of runs
//! they touch, so a block size of 16 costs about what 512 does. What vLLM does block by block is
//! unchanged: the order of the free queue, which hashes are evicted, which of two copies is found.

mod others;

use crate::chain::Piece;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use others::Others;
pub use others::can_name;
use rustc_hash::FxBuildHasher;

const NIL: u32 = u32::MAX;
/// Blocks without a hash.
const ANONYMOUS: u32 = u32::MAX;
/// Blocks with a hash that nobody can ask for again: what a finished request generated alone.
const UNREACHABLE: u32 = u32::MAX - 1;

/// Where freed blocks without a hash go in the free queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeRule {
    /// To the front, to be used next (vLLM 0.32).
    UnhashedFirst,
    /// To the back like all others (vLLM 0.19).
    AllLast,
}

/// Blocks `lo..hi` of a segment. Free runs are handed out from `hi` downwards: vLLM frees a
/// request's blocks tail first.
#[derive(Clone, Copy, Debug)]
struct Run {
    segment: u32,
    lo: u32,
    hi: u32,
    holders: u32,
    /// Neighbours in the free queue, while `holders` is 0.
    prev: u32,
    next: u32,
    /// The runs of the same segment inserted before and after: the first that has a block is found.
    older: u32,
    sibling: u32,
}

impl Run {
    fn len(&self) -> u32 {
        self.hi - self.lo
    }
}

/// What one request holds: runs that cover its content from block 0 on, then blocks without a hash.
#[derive(Clone, Debug, Default)]
struct Table {
    runs: Vec<u32>,
    hashed: u32,
    anonymous: u32,
}

/// The blocks of a prefix that were found in the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hit {
    pub blocks: u32,
    /// Those among them that nobody holds: taking them takes them out of the free queue.
    pub unheld: u32,
}

/// Block numbers, followed only for recordings that show them.
#[derive(Clone, Debug, Default)]
struct BlockNumbers {
    of_run: Vec<Vec<u32>>,
    of_table: Vec<Vec<u32>>,
}

#[derive(Clone, Debug)]
pub struct BlockPool {
    usable: u32,
    free: u32,
    rule: FreeRule,
    runs: Vec<Run>,
    vacant: Vec<u32>,
    head: u32,
    tail: u32,
    /// The first and the last run of each segment that is cached.
    ends: HashMap<u32, (u32, u32), FxBuildHasher>,
    tables: Vec<Table>,
    found: Vec<(u32, u32, u32)>,
    /// Blocks with a hash of other groups of layers.
    others: Others,
    numbers: Option<BlockNumbers>,
}

impl BlockPool {
    /// A pool of `blocks` blocks, of which block 0 is the null block and never handed out.
    pub fn new(blocks: u32, rule: FreeRule, keep_numbers: bool) -> Self {
        let usable = blocks - 1;
        let mut pool = BlockPool {
            usable,
            free: 0,
            rule,
            runs: Vec::new(),
            vacant: Vec::new(),
            head: NIL,
            tail: NIL,
            ends: HashMap::default(),
            tables: Vec::new(),
            found: Vec::new(),
            others: Others::default(),
            numbers: keep_numbers.then(BlockNumbers::default),
        };
        if usable > 0 {
            let all = pool.new_run(ANONYMOUS, 0, usable, 0);
            if let Some(numbers) = &mut pool.numbers {
                numbers.of_run[all as usize] = (1..=usable).rev().collect();
            }
            pool.push_back(all);
        }
        pool
    }

    pub fn usable(&self) -> u32 {
        self.usable
    }

    pub fn free(&self) -> u32 {
        self.free
    }

    /// Blocks the request in `slot` holds.
    pub fn held(&self, slot: u32) -> u32 {
        let table = &self.tables[slot as usize];
        table.hashed + table.anonymous
    }

    pub fn hashed(&self, slot: u32) -> u32 {
        self.tables[slot as usize].hashed
    }

    /// Makes room for tables up to `slot`.
    pub fn open(&mut self, slot: u32) {
        if self.tables.len() <= slot as usize {
            self.tables.resize_with(slot as usize + 1, Table::default);
            if let Some(numbers) = &mut self.numbers {
                numbers.of_table.resize_with(slot as usize + 1, Vec::new);
            }
        }
    }

    /// The numbers of the blocks that `slot` holds, in order, if they are followed.
    pub fn block_numbers(&self, slot: u32) -> &[u32] {
        self.numbers.as_ref().map_or(&[], |n| &n.of_table[slot as usize])
    }

    /// Looks for the longest cached prefix of `path` and `private`, of at most `limit` blocks.
    /// Remembers what it found for [`Self::hold_found`].
    pub fn find(&mut self, path: &[Piece], private: u32, limit: u32) -> Hit {
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let mut unheld = 0;
        let end_of = |run: u32| self.runs[run as usize].hi;
        let private_tail = Piece { segment: private, end: limit };
        let pieces = path.iter().copied().chain(std::iter::once(private_tail));
        let blocks = self.walk(pieces, 0, limit, end_of, |run, from, upto| {
            found.push((run, from, upto));
            if self.runs[run as usize].holders == 0 {
                unheld += upto - from;
            }
        });
        self.found = found;
        Hit { blocks, unheld }
    }

    /// How many of the first `limit` blocks of `path` would be found once `taken` more blocks have
    /// been handed out. Changes nothing. Costs the runs it finds, and those that are handed out.
    pub fn cached(&self, path: &[Piece], limit: u32, taken: u32) -> u32 {
        let handed_out = self.handed_out(taken);
        let end_of = |run: u32| match handed_out.iter().find(|&&(other, _)| other == run) {
            Some(&(_, end)) => end,
            None => self.runs[run as usize].hi,
        };
        self.walk(path.iter().copied(), 0, limit, end_of, |_, _, _| {})
    }

    /// The runs that lose blocks when the next `taken` are handed out, each with the end it keeps;
    /// only those that can be found.
    fn handed_out(&self, mut taken: u32) -> Vec<(u32, u32)> {
        let mut runs = Vec::new();
        let mut at = self.head;
        while taken > 0 && at != NIL {
            let run = &self.runs[at as usize];
            let lost = taken.min(run.len());
            if run.segment < UNREACHABLE {
                runs.push((at, run.hi - lost));
            }
            taken -= lost;
            at = run.next;
        }
        runs
    }

    /// Whether a block of `segment` is cached.
    pub fn caches(&self, segment: u32) -> bool {
        self.ends.contains_key(&segment)
    }

    /// Follows `pieces` through the cache from block `from` on, for at most `limit` blocks, telling `found` of each run
    /// and the blocks used of it; a run counts up to `end_of` it. Returns the blocks found.
    fn walk(
        &self,
        pieces: impl Iterator<Item = Piece>,
        from: u32,
        limit: u32,
        end_of: impl Fn(u32) -> u32,
        mut found: impl FnMut(u32, u32, u32),
    ) -> u32 {
        let mut blocks = from;
        for piece in pieces {
            let end = piece.end.min(limit);
            if end <= blocks {
                continue;
            }
            let Some(&(first, _)) = self.ends.get(&piece.segment) else { break };
            while blocks < end {
                let mut at = first;
                let mut end = end;
                while at != NIL && !(self.runs[at as usize].lo..end_of(at)).contains(&blocks) {
                    let run = &self.runs[at as usize];
                    if run.lo > blocks {
                        end = end.min(run.lo); // inserted earlier, so found first from there on
                    }
                    at = run.sibling;
                }
                if at == NIL {
                    return blocks;
                }
                let upto = end.min(end_of(at));
                found(at, blocks, upto);
                blocks = upto;
            }
        }
        blocks
    }

    /// Gives `slot`, which holds nothing, the blocks of the last [`Self::find`].
    pub fn hold_found(&mut self, slot: u32) {
        let mut found = std::mem::take(&mut self.found);
        for (run, from, upto) in found.drain(..) {
            let mut run = run;
            if self.runs[run as usize].lo < from {
                run = self.split(run, from);
            }
            if self.runs[run as usize].hi > upto {
                self.split(run, upto);
            }
            if self.runs[run as usize].holders == 0 {
                self.unlink(run);
            }
            self.runs[run as usize].holders += 1;
            let table = &mut self.tables[slot as usize];
            table.runs.push(run);
            table.hashed += upto - from;
            if let Some(numbers) = &mut self.numbers {
                let BlockNumbers { of_run, of_table } = numbers;
                of_table[slot as usize].extend_from_slice(&of_run[run as usize]);
            }
        }
        self.found = found;
    }

    /// Hands `count` free blocks to `slot`, from the head of the free queue; their old hashes are gone.
    pub fn allocate(&mut self, slot: u32, count: u32) {
        self.tables[slot as usize].anonymous += count;
        self.take(count, Some(slot));
    }

    /// Takes `count` free blocks for rows that will be told later ([`Self::settle`]).
    pub fn take_unassigned(&mut self, count: u32) {
        self.take(count, None);
    }

    /// Frees `count` blocks without a hash that no table knows of. Not where block numbers are followed.
    pub fn give_back(&mut self, count: u32) {
        debug_assert!(self.numbers.is_none());
        if count > 0 {
            self.free_anonymous(0, count);
        }
    }

    /// Tells `slot` of blocks taken for it by [`Self::take_unassigned`]: it now holds `held`.
    pub fn settle(&mut self, slot: u32, held: u32) {
        let table = &mut self.tables[slot as usize];
        debug_assert!(held >= table.hashed + table.anonymous);
        table.anonymous = held - table.hashed;
    }

    fn take(&mut self, mut count: u32, slot: Option<u32>) {
        debug_assert!(count <= self.free);
        self.free -= count;
        while count > 0 {
            let head = self.head;
            let run = &mut self.runs[head as usize];
            let taken = count.min(run.len());
            run.hi -= taken;
            count -= taken;
            let empty = run.hi == run.lo;
            if let (Some(numbers), Some(slot)) = (&mut self.numbers, slot) {
                let BlockNumbers { of_run, of_table } = numbers;
                let left = of_run[head as usize].len() - taken as usize;
                of_table[slot as usize].extend(of_run[head as usize].drain(left..).rev());
            }
            if empty {
                self.unlink_empty(head);
                self.forget(head);
            }
        }
    }

    /// Enters the first `blocks` blocks of `slot` into the cache under their content's hashes.
    pub fn hash_upto(&mut self, slot: u32, path: &[Piece], private: u32, blocks: u32) {
        let mut from = self.tables[slot as usize].hashed;
        if blocks <= from {
            return;
        }
        debug_assert!(blocks <= self.held(slot));
        let private_tail = Piece { segment: private, end: blocks };
        let skipped = path.partition_point(|piece| piece.end <= from);
        for piece in path[skipped..].iter().chain(std::iter::once(&private_tail)) {
            let upto = piece.end.min(blocks);
            if upto > from {
                self.insert(slot, piece.segment, from, upto);
                from = upto;
            }
        }
    }

    fn insert(&mut self, slot: u32, segment: u32, lo: u32, hi: u32) {
        let last = self.tables[slot as usize].runs.last().copied();
        let extended = last.filter(|&run| {
            let r = &self.runs[run as usize];
            // Only the segment's sole run may grow: another copy's blocks could have been inserted before these.
            r.segment == segment
                && r.holders == 1
                && r.hi == lo
                && r.sibling == NIL
                && (segment == UNREACHABLE || self.ends.get(&segment) == Some(&(run, run)))
        });
        let run = match extended {
            Some(run) => {
                self.runs[run as usize].hi = hi;
                run
            }
            None => {
                let run = self.new_run(segment, lo, hi, 1);
                if segment != UNREACHABLE {
                    self.append_sibling(segment, run);
                }
                self.tables[slot as usize].runs.push(run);
                run
            }
        };
        let table = &mut self.tables[slot as usize];
        table.hashed += hi - lo;
        table.anonymous -= hi - lo;
        if let Some(numbers) = &mut self.numbers {
            let BlockNumbers { of_run, of_table } = numbers;
            of_run[run as usize].extend_from_slice(&of_table[slot as usize][lo as usize..hi as usize]);
        }
    }

    /// Frees all that `slot` holds, tail first. Blocks nobody else holds join the free queue.
    pub fn release(&mut self, slot: u32) {
        let anonymous = std::mem::take(&mut self.tables[slot as usize].anonymous);
        self.tables[slot as usize].hashed = 0;
        let mut runs = std::mem::take(&mut self.tables[slot as usize].runs);
        if anonymous > 0 {
            self.free_anonymous(slot, anonymous);
        }
        for run in runs.drain(..).rev() {
            self.runs[run as usize].holders -= 1;
            if self.runs[run as usize].holders == 0 {
                self.push_back(run);
            }
        }
        self.tables[slot as usize].runs = runs;
        if let Some(numbers) = &mut self.numbers {
            numbers.of_table[slot as usize].clear();
        }
    }

    /// As [`Self::hash_upto`] of a request that has ended: its private tail keeps its place in the queue, but
    /// can never be found again.
    pub fn hash_ended(&mut self, slot: u32, path: &[Piece], blocks: u32) {
        self.hash_upto(slot, path, UNREACHABLE, blocks);
    }

    /// The same, and [`Self::release`].
    pub fn release_ended(&mut self, slot: u32, path: &[Piece], blocks: u32) {
        self.hash_ended(slot, path, blocks);
        self.release(slot);
    }

    fn free_anonymous(&mut self, slot: u32, count: u32) {
        let front = self.rule == FreeRule::UnhashedFirst;
        let neighbour = if front { self.head } else { self.tail };
        let mergeable = neighbour != NIL && self.runs[neighbour as usize].segment == ANONYMOUS;
        // At the back the new blocks come after the old ones, and runs are used from their end:
        // only runs whose numbers nobody follows can be merged there.
        let run = if mergeable && (front || self.numbers.is_none()) {
            self.runs[neighbour as usize].hi += count;
            self.free += count;
            neighbour
        } else {
            let run = self.new_run(ANONYMOUS, 0, count, 0);
            if front {
                self.push_front(run)
            } else {
                self.push_back(run)
            }
            run
        };
        if let Some(numbers) = &mut self.numbers {
            let BlockNumbers { of_run, of_table } = numbers;
            let held = &of_table[slot as usize];
            of_run[run as usize].extend_from_slice(&held[held.len() - count as usize..]);
        }
    }

    // Runs

    fn new_run(&mut self, segment: u32, lo: u32, hi: u32, holders: u32) -> u32 {
        let run = Run { segment, lo, hi, holders, prev: NIL, next: NIL, older: NIL, sibling: NIL };
        if let Some(at) = self.vacant.pop() {
            self.runs[at as usize] = run;
            at
        } else {
            self.runs.push(run);
            if let Some(numbers) = &mut self.numbers {
                numbers.of_run.push(Vec::new());
            }
            (self.runs.len() - 1) as u32
        }
    }

    fn append_sibling(&mut self, segment: u32, run: u32) {
        match self.ends.entry(segment) {
            Entry::Vacant(entry) => {
                entry.insert((run, run));
            }
            Entry::Occupied(mut entry) => {
                let last = std::mem::replace(&mut entry.get_mut().1, run);
                self.runs[last as usize].sibling = run;
                self.runs[run as usize].older = last;
            }
        }
    }

    /// Removes an empty run that is in no list but its segment's.
    fn forget(&mut self, run: u32) {
        let Run { segment, older, sibling, .. } = self.runs[run as usize];
        if segment < UNREACHABLE {
            if older == NIL && sibling == NIL {
                self.ends.remove(&segment);
            } else if let Some(ends) = self.ends.get_mut(&segment) {
                if older == NIL {
                    ends.0 = sibling
                } else {
                    self.runs[older as usize].sibling = sibling
                }
                if sibling == NIL { ends.1 = older } else { self.runs[sibling as usize].older = older }
            }
        }
        self.vacant.push(run);
    }

    /// Splits `run` at block `at`; returns the upper part. Costs the number of tables if the run is
    /// held, which takes two copies of one block or a request that is a strict prefix of a running one.
    fn split(&mut self, run: u32, at: u32) -> u32 {
        let Run { segment, hi, holders, prev, sibling, lo, .. } = self.runs[run as usize];
        let upper = self.new_run(segment, at, hi, holders);
        self.runs[run as usize].hi = at;
        self.runs[run as usize].sibling = upper;
        self.runs[upper as usize].older = run;
        self.runs[upper as usize].sibling = sibling;
        if sibling != NIL {
            self.runs[sibling as usize].older = upper;
        } else if let Some(ends) = self.ends.get_mut(&segment) {
            ends.1 = upper;
        }
        if let Some(numbers) = &mut self.numbers {
            numbers.of_run[upper as usize] = numbers.of_run[run as usize].split_off((at - lo) as usize);
        }
        if holders == 0 {
            // The upper part is freed first, so it stands before the lower one.
            self.runs[upper as usize].prev = prev;
            self.runs[upper as usize].next = run;
            self.runs[run as usize].prev = upper;
            if prev == NIL { self.head = upper } else { self.runs[prev as usize].next = upper }
        } else {
            let others = self.others.tables_of(segment);
            for runs in self.tables.iter_mut().map(|table| &mut table.runs).chain(others) {
                if let Some(position) = runs.iter().position(|&held| held == run) {
                    runs.insert(position + 1, upper);
                }
            }
        }
        upper
    }

    // The free queue

    fn push_back(&mut self, run: u32) {
        self.free += self.runs[run as usize].len();
        self.runs[run as usize].prev = self.tail;
        self.runs[run as usize].next = NIL;
        if self.tail == NIL {
            self.head = run
        } else {
            self.runs[self.tail as usize].next = run
        }
        self.tail = run;
    }

    fn push_front(&mut self, run: u32) {
        self.free += self.runs[run as usize].len();
        self.runs[run as usize].prev = NIL;
        self.runs[run as usize].next = self.head;
        if self.head == NIL {
            self.tail = run
        } else {
            self.runs[self.head as usize].prev = run
        }
        self.head = run;
    }

    fn unlink(&mut self, run: u32) {
        self.free -= self.runs[run as usize].len();
        self.unlink_empty(run);
    }

    fn unlink_empty(&mut self, run: u32) {
        let Run { prev, next, .. } = self.runs[run as usize];
        if prev == NIL {
            self.head = next
        } else {
            self.runs[prev as usize].next = next
        }
        if next == NIL { self.tail = prev } else { self.runs[next as usize].prev = prev }
    }

    /// Panics unless every block is accounted for once. `unassigned` are those of
    /// [`Self::take_unassigned`] that no table knows of yet. For tests.
    pub fn check(&self, unassigned: u32) {
        let mut queued = 0;
        let mut at = self.head;
        let mut before = NIL;
        while at != NIL {
            let run = &self.runs[at as usize];
            assert!(run.holders == 0 && run.prev == before && run.lo < run.hi);
            queued += run.len();
            before = at;
            at = run.next;
        }
        assert_eq!(self.tail, before);
        assert_eq!(queued, self.free);
        let mut holders: HashMap<u32, u32, FxBuildHasher> = HashMap::default();
        let mut anonymous = 0;
        for table in &self.tables {
            let mut next = 0;
            for &run in &table.runs {
                assert_eq!(self.runs[run as usize].lo, next);
                next = self.runs[run as usize].hi;
                *holders.entry(run).or_default() += 1;
            }
            assert_eq!(next, table.hashed);
            anonymous += table.anonymous;
        }
        self.others.check(&self.runs, &mut holders);
        let held: u32 = holders
            .iter()
            .map(|(&run, &count)| {
                assert_eq!(self.runs[run as usize].holders, count);
                self.runs[run as usize].len()
            })
            .sum();
        assert_eq!(held + anonymous + unassigned + self.free, self.usable);
    }
}
