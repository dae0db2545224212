//! Tokens on their way between the pool, the tree and the rows.

use super::Sglang;
use super::hicache::Copies;
use super::row::State;
use crate::kv::radix::ROOT;

impl Sglang<'_> {
    /// Tokens of so many pages; as good as endless if there cannot be so many.
    pub(super) fn tokens_of(&self, pages: usize) -> u32 {
        u32::try_from(pages).map_or(u32::MAX, |pages| pages.saturating_mul(self.s.engine.page_size))
    }

    /// Evicts cached prefixes until `tokens` are free. False if even then they are not.
    pub(super) fn make_room(&mut self, tokens: u32) -> bool {
        if tokens > self.available {
            self.available += self.tree.evict(tokens - self.available);
            if let Some(pool) = &mut self.window {
                pool.available += i64::from(self.tree.take_freed_window());
            }
        }
        tokens <= self.available
    }

    /// Enters what a row has stored, `stored` tokens, into the tree, and locks it there. What the tree
    /// had already is given back.
    pub(super) fn checkpoint(&mut self, slot: u32, stored: u32) {
        let engine = self.s.engine;
        if engine.disable_radix_cache {
            return;
        }
        if self.window.is_some() {
            return self.checkpoint_with_window(slot, stored, false);
        }
        let row = &mut self.rows[slot as usize];
        let whole = engine.floor_page(stored);
        let inserted = self.tree.insert(row.request, whole, row.protected, row.entered);
        row.entered = row.entered.max(whole);
        self.available += inserted.duplicates;
        // The prompt gets a node of its own, so that what was generated can be evicted without it.
        let prompt = engine.floor_page(row.prompt);
        if 0 < prompt && prompt < whole {
            self.tree.insert(row.request, prompt, prompt, prompt);
        }
        self.tree.lock(inserted.node);
        self.tree.unlock(row.node);
        row.node = inserted.node;
        row.protected = whole;
    }

    /// Frees what a row holds beside the tree, `stored` tokens in all, and unlocks its prefix.
    pub(super) fn free_row(&mut self, slot: u32, stored: u32) {
        let row = &mut self.rows[slot as usize];
        let held = self.s.engine.ceil_page(stored).max(row.pages * self.s.engine.page_size);
        self.available += held - row.protected;
        row.protected = 0;
        row.pages = 0;
        let node = std::mem::replace(&mut row.node, ROOT);
        let window = std::mem::take(&mut row.window);
        if let Some(pool) = &mut self.window {
            pool.available += i64::from(window.tokens);
            self.tree.unlock_window(node, window.locked_from);
        }
        self.tree.unlock(node);
    }

    /// A request is over: enters what it has stored into the tree, and frees the rest.
    pub(super) fn store_row(&mut self, slot: u32, stored: u32) {
        if self.window.is_some() && !self.s.engine.disable_radix_cache {
            self.checkpoint_with_window(slot, stored, true);
        } else {
            self.checkpoint(slot, stored);
        }
        self.free_row(slot, stored);
    }

    /// Panics unless every slot is accounted for once.
    pub(super) fn check_memory(&self) {
        let engine = self.s.engine;
        let (mut held, mut locks) = (0, Vec::new());
        let (mut in_windows, mut windows) = (0, Vec::new());
        let prefilling = self.chunked.iter().chain(&self.joining).chain(&self.sender.sending);
        let received = self.receiver.reserved.iter().map(|(slot, _)| slot).chain(&self.receiver.ready);
        let own = prefilling.chain(&self.running).chain(&self.draining).chain(received).map(|&slot| (slot, self.k));
        let others =
            self.others().flat_map(|other| other.running.iter().chain(&other.joining).map(|&slot| (slot, other.k)));
        for (slot, k) in own.chain(others) {
            let row = &self.rows[slot as usize];
            let stored = match row.state {
                State::Decoding => row.stored(k),
                State::Draining => row.prompt + row.target - 1,
                State::Reserved => row.prompt,
                State::Ready => row.tokens() - 1,
                _ => row.extend_end,
            };
            let pages = match row.state {
                State::Decoding => self.decoding.held(slot, stored, engine.page_size),
                _ => stored.div_ceil(engine.page_size).max(row.pages),
            };
            held += pages * engine.page_size - row.protected;
            locks.push(row.node);
            in_windows += i64::from(row.window.tokens);
            windows.push((row.node, row.window.locked_from));
        }
        assert_eq!(self.available + self.tree.on_device() + held, engine.max_total_tokens);
        let on_host = self.tree.check(&locks, self.copies.as_ref().map(Copies::pinned).unwrap_or_default());
        let hicache = engine.hicache.as_ref().map(|hicache| hicache.tokens);
        assert_eq!(hicache, self.tree.host_free().map(|free| free + on_host));
        self.tree.check_windows(&windows);
        if let Some(pool) = &self.window {
            assert_eq!(pool.available + i64::from(self.tree.in_windows()) + in_windows, i64::from(pool.total));
        }
        assert_eq!(self.decoding.len(), self.running.len());
    }
}
