//! Blocks of layers that do not keep every token: groups with tables of their own, in the one pool.
//!
//! What is kept here are their blocks with a hash, which may be found again. In a group a segment goes by a
//! name of its own, so that everything else is as for full attention. Which places of a table hold a block,
//! with a hash or without, is the scheduler's business ([`crate::scheduler`]).

use super::{ANONYMOUS, BlockPool, NIL, Run, UNREACHABLE};
use crate::chain::Piece;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

#[derive(Clone, Debug, Default)]
pub(super) struct Others {
    /// Groups.
    count: u32,
    /// Segments that a name of full attention is below.
    segments: u32,
    /// The runs that the request in a slot holds of each group, in order, slot by slot.
    tables: Vec<Vec<u32>>,
    /// What the last [`BlockPool::find_others`] found: groups, runs, and the blocks used of them.
    found: Vec<(u32, u32, u32, u32)>,
}

impl Others {
    fn name(&self, group: u32, segment: u32) -> u32 {
        (group + 1) * self.segments + segment
    }

    fn table(&self, slot: u32, group: u32) -> usize {
        (slot * self.count + group) as usize
    }

    /// The tables that may hold a run of that name.
    pub(super) fn tables_of(&mut self, name: u32) -> impl Iterator<Item = &mut Vec<u32>> {
        let group = name.checked_div(self.segments).filter(|_| name < UNREACHABLE).unwrap_or(0);
        let first = group.checked_sub(1).map_or(self.tables.len(), |group| group as usize);
        self.tables.iter_mut().skip(first).step_by(self.count.max(1) as usize)
    }

    /// For tests: notes holders, and panics unless the runs of each table are in order.
    pub(super) fn check(&self, runs: &[Run], holders: &mut HashMap<u32, u32, FxBuildHasher>) {
        for table in &self.tables {
            let mut next = 0;
            for &run in table {
                assert!(runs[run as usize].lo >= next);
                next = runs[run as usize].hi;
                *holders.entry(run).or_default() += 1;
            }
        }
    }
}

/// Whether blocks of `count` groups beside that of full attention have names, where all segments are below `segments`.
pub fn can_name(count: u32, segments: u32) -> bool {
    (u64::from(count) + 1) * u64::from(segments) < u64::from(UNREACHABLE)
}

/// A request's content, whole.
fn pieces(path: &[Piece], private: u32, end: u32) -> impl Iterator<Item = Piece> {
    path.iter().copied().chain(std::iter::once(Piece { segment: private, end }))
}

impl BlockPool {
    /// With `count` groups beside that of full attention, where all segments are below `segments`, which [`can_name`].
    pub fn with_others(mut self, count: u32, segments: u32) -> Self {
        debug_assert!(self.numbers.is_none() && can_name(count, segments));
        self.others = Others { count, segments, tables: Vec::new(), found: Vec::new() };
        self
    }

    /// Free blocks without a hash, which are handed out before any other.
    pub fn unhashed(&self) -> u32 {
        match self.runs.get(self.head as usize) {
            Some(run) if run.segment == ANONYMOUS => run.len(),
            _ => 0,
        }
    }

    /// The most of the first `blocks` blocks after which a request may start: the `needed` before that are
    /// cached in all groups, or all there are.
    pub fn reach_of_others(&self, path: &[Piece], private: u32, blocks: u32, needed: u32) -> u32 {
        let (mut top, mut at) = (blocks, blocks);
        while at > 0 && top - at < needed.max(1) {
            let index = path.partition_point(|piece| piece.end < at);
            let start = index.checked_sub(1).map_or(0, |before| path[before].end);
            let segment = path.get(index).map_or(private, |piece| piece.segment);
            let down = (0..self.others.count).map(|group| self.cached_down_to(group, segment, start, at)).max();
            let down = down.unwrap_or(0);
            if down < at {
                at = down;
            } else {
                at = self.cached_below(segment, start, at - 1);
                top = at;
            }
        }
        top
    }

    fn runs_of(&self, group: u32, segment: u32) -> impl Iterator<Item = &Run> {
        let first = self.ends.get(&self.others.name(group, segment)).map(|&(first, _)| first);
        let next = |run: &u32| Some(self.runs[*run as usize].sibling).filter(|&sibling| sibling != NIL);
        std::iter::successors(first, next).map(|run| &self.runs[run as usize])
    }

    /// How far down, but not below `start`, all blocks before `end` are cached.
    fn cached_down_to(&self, group: u32, segment: u32, start: u32, end: u32) -> u32 {
        let mut at = end;
        while at > start
            && let Some(run) = self.runs_of(group, segment).find(|run| run.lo < at && run.hi >= at)
        {
            at = run.lo.max(start);
        }
        at
    }

    /// The highest place, at most `end`, before which a block of this segment is cached in all groups; or
    /// where its part begins.
    fn cached_below(&self, segment: u32, start: u32, end: u32) -> u32 {
        let mut at = end;
        while at > start {
            let highest = |group: u32| {
                let below = self.runs_of(group, segment).filter(|run| run.lo < at);
                below.map(|run| run.hi.min(at)).max().unwrap_or(start)
            };
            let lowest = (0..self.others.count).map(highest).min().unwrap_or(start).max(start);
            if lowest == at {
                break;
            }
            at = lowest;
        }
        at
    }

    /// Notes the blocks `from..upto` of each group, all cached, for [`Self::hold_others`]. Returns how many of
    /// them nobody holds.
    pub fn find_others(&mut self, path: &[Piece], private: u32, from: u32, upto: u32) -> u32 {
        let mut found = std::mem::take(&mut self.others.found);
        found.clear();
        let mut unheld = 0;
        for group in 0..self.others.count {
            let named = pieces(path, private, upto)
                .map(|piece| Piece { segment: self.others.name(group, piece.segment), ..piece });
            let end_of = |run: u32| self.runs[run as usize].hi;
            let end = self.walk(named, from, upto, end_of, |run, from, upto| {
                found.push((group, run, from, upto));
                if self.runs[run as usize].holders == 0 {
                    unheld += upto - from;
                }
            });
            debug_assert_eq!(end, upto);
        }
        self.others.found = found;
        unheld
    }

    /// Gives `slot`, which holds nothing, the blocks of the last [`Self::find_others`].
    pub fn hold_others(&mut self, slot: u32) {
        self.open_others(slot);
        let mut found = std::mem::take(&mut self.others.found);
        // From the last on: an earlier copy may lie in the middle of a run.
        for (group, run, from, upto) in found.drain(..).rev() {
            let mut run = run;
            if self.runs[run as usize].hi > upto {
                self.split(run, upto);
            }
            if self.runs[run as usize].lo < from {
                run = self.split(run, from);
            }
            if self.runs[run as usize].holders == 0 {
                self.unlink(run);
            }
            self.runs[run as usize].holders += 1;
            let table = self.others.table(slot, group);
            self.others.tables[table].insert(0, run);
        }
        self.others.found = found;
    }

    fn open_others(&mut self, slot: u32) {
        let tables = self.others.table(slot + 1, 0);
        if self.others.tables.len() < tables {
            self.others.tables.resize_with(tables, Vec::new);
        }
    }

    /// Enters blocks `lo..hi` of each group of `slot`, which it holds without a hash, into the cache.
    pub fn hash_others(&mut self, slot: u32, path: &[Piece], private: u32, lo: u32, hi: u32) {
        self.open_others(slot);
        for group in 0..self.others.count {
            let mut from = lo;
            for piece in pieces(path, private, hi) {
                let upto = piece.end.min(hi);
                if upto > from {
                    let name = self.others.name(group, piece.segment);
                    let run = self.new_run(name, from, upto, 1);
                    self.append_sibling(name, run);
                    let table = self.others.table(slot, group);
                    self.others.tables[table].push(run);
                    from = upto;
                }
            }
        }
    }

    /// `slot` gives up its blocks with a hash before `upto`, each group's last first. Returns their number.
    pub fn leave_others(&mut self, slot: u32, upto: u32) -> u32 {
        let mut left = 0;
        for group in 0..self.others.count {
            let table = self.others.table(slot, group);
            let runs = self.others.tables.get(table).into_iter().flatten();
            let mut count = runs.take_while(|&&run| self.runs[run as usize].lo < upto).count();
            if count > 0 {
                let last = self.others.tables[table][count - 1];
                if self.runs[last as usize].hi > upto {
                    self.split(last, upto);
                }
            }
            while count > 0 {
                count -= 1;
                let run = self.others.tables[table].remove(count);
                left += self.runs[run as usize].len();
                self.runs[run as usize].holders -= 1;
                if self.runs[run as usize].holders == 0 {
                    self.push_back(run);
                }
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::can_name;

    #[test]
    fn groups_and_segments_have_names_in_32_bits() {
        assert!(can_name(63, (1 << 26) - 1));
        assert!(!can_name(63, 1 << 26));
        assert!(!can_name(u32::MAX, u32::MAX));
    }
}
