//! Interning: 64-bit hash ids to dense ones, numbered as they are first seen.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::trace::NONE;

/// Ids next to each other share a page, so that the runs of consecutive ids that make up most
/// traces cost one look-up a page. Small, because ids that are hashes have a page each.
const PAGE_BITS: u32 = 4;
const PAGE: usize = 1 << PAGE_BITS;

#[derive(Debug)]
pub struct Interner {
    page_of: HashMap<u64, u32, FxBuildHasher>,
    pages: Vec<[u32; PAGE]>,
    /// The page looked up last; no id has the initial one.
    last: u64,
    last_page: usize,
    next: u32,
}

impl Interner {
    pub fn new() -> Self {
        Interner { page_of: HashMap::default(), pages: Vec::new(), last: u64::MAX, last_page: 0, next: 0 }
    }

    pub fn intern(&mut self, id: u64) -> u32 {
        let key = id >> PAGE_BITS;
        if key != self.last {
            self.last = key;
            self.last_page = *self.page_of.entry(key).or_insert_with(|| {
                self.pages.push([NONE; PAGE]);
                self.pages.len() as u32 - 1
            }) as usize;
        }
        let slot = &mut self.pages[self.last_page][id as usize % PAGE];
        if *slot == NONE {
            *slot = self.next;
            self.next += 1;
        }
        *slot
    }

    /// An id that nothing else has or will have.
    pub fn fresh(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ids_and_only_they_are_equal() {
        let mut interner = Interner::new();
        let ids = [5, 6, u64::MAX, 5, 13, 0, u64::MAX - 1, 6];
        assert_eq!(ids.map(|id| interner.intern(id)), [0, 1, 2, 0, 3, 4, 5, 1]);
        assert_eq!(interner.fresh(), 6);
        assert_eq!(interner.intern(7), 7);
    }
}
