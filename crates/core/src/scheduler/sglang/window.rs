//! The pool of layers with a sliding window: what requests hold of it beside what the tree has.
//!
//! A request gives back what lies before its window as its prompt is computed and as it decodes. While it
//! decodes, it is charged with the most that it will hold at once, so a run of decodes changes nothing
//! here; SGLang would retract nobody that fits so, but may admit a request earlier.

use super::Sglang;
use super::promise::CLIP_TOKENS;
use crate::config::sglang as config;

/// What one request holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hold {
    /// Slots beside the tree's.
    pub(super) tokens: u32,
    /// Of so many tokens at its beginning it has given them back.
    pub(super) freed: u32,
    /// The first token of the window that it has locked in the tree.
    pub(super) locked_from: u32,
    /// More than its prefix is cached, up to here, but for the window: it will be stored up to here first.
    pub(super) branch: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct WindowPool {
    /// Tokens that layers look back.
    window: u32,
    page_size: u32,
    /// A decoding request gives back when so many tokens have left its window.
    interval: u32,
    /// Tokens behind the last one that are kept at least, whole pages where prefixes are shared.
    kept: u32,
    pub(super) total: u32,
    /// Free slots. Negative where the charges of decoding requests exceed what they hold yet.
    pub(super) available: i64,
}

impl WindowPool {
    pub(super) fn new(engine: &config::Sglang) -> Option<Self> {
        let config::Window { tokens, pool_tokens, eviction_interval } = *engine.window.as_ref()?;
        let kept = if engine.disable_radix_cache { tokens } else { engine.ceil_page(tokens) };
        Some(WindowPool {
            window: tokens,
            page_size: engine.page_size,
            interval: eviction_interval,
            kept,
            total: pool_tokens,
            available: i64::from(pool_tokens),
        })
    }

    /// Tokens stored since it last gave back when a decoding request does so again.
    fn period(&self) -> u32 {
        (self.window + self.interval).max(self.page_size + self.kept)
    }

    /// Of how many tokens at its beginning a request has given back before a decode at which it has
    /// `stored`, if it had of `freed` when it began, with `shared` tokens of the tree's: as if its tokens
    /// came one by one.
    fn freed_by(&self, mut freed: u32, shared: u32, stored: u32) -> u32 {
        let floor = |tokens: u32| tokens - tokens % self.page_size;
        let looks = freed + self.window + self.interval;
        if freed < shared {
            if stored < looks {
                return freed;
            }
            // It gives back nothing of the tree's.
            freed = if looks >= shared + self.page_size + self.kept { floor(looks - self.kept) } else { shared };
        }
        let (period, step) = (self.period(), floor(self.period() - self.kept));
        if stored < freed + period { freed } else { freed + step * ((stored - freed - period) / step + 1) }
    }

    /// Slots that a prefill is expected to need for a request, by SGLang's estimate_swa_kv_tokens.
    fn needed(&self, extend: i64, output: i64, chunk: Option<i64>) -> i64 {
        let window = i64::from(self.window);
        let allocated = chunk.map_or(extend, |chunk| extend.min(chunk));
        (allocated - window).max(0) + (extend + output).min(window) + i64::from(self.page_size)
    }

    /// What a decode replica reserves for a prompt: whole pages that hold its last window.
    pub(super) fn tail(&self, tokens: u32) -> u32 {
        let from = tokens.saturating_sub(self.window);
        tokens.next_multiple_of(self.page_size) - (from - from % self.page_size)
    }
}

impl Sglang<'_> {
    /// How long the next part of a prompt can be for want of windows, if `taken` are. None if there is nothing.
    pub(super) fn window_chunk(&self, chunk: i64, taken: i64) -> Option<i64> {
        let Some(pool) = &self.window else { return Some(chunk) };
        let most = chunk.min(self.window_left(taken) - i64::from(pool.page_size));
        (most > 0).then_some(most)
    }

    /// The chunk that a request may be cut to, which computes `extend` tokens and may give `output`. None if
    /// it has to wait for windows.
    pub(super) fn window_fits(&self, extend: i64, output: i64, chunk: Option<i64>, taken: i64) -> Option<Option<i64>> {
        let Some(pool) = &self.window else { return Some(chunk) };
        let left = self.window_left(taken);
        let needed = pool.needed(extend, output, chunk);
        if needed < left {
            return Some(chunk);
        }
        // Only what would never fit is cut.
        let page_size = i64::from(pool.page_size);
        let cut = (left - pool.needed(0, output, None)) / page_size * page_size;
        let chunk = chunk.filter(|_| needed >= i64::from(pool.total) && cut > 0)?;
        Some(Some(chunk.min(cut)))
    }

    /// What a prefill charges for the windows of a request.
    pub(super) fn window_charge(&self, extend: i64, output: i64, chunk: Option<i64>) -> i64 {
        self.window.as_ref().map_or(0, |pool| pool.needed(extend, output.min(CLIP_TOKENS), chunk))
    }

    /// Slots of windows that are free or could be, if `taken` are not.
    pub(super) fn window_left(&self, taken: i64) -> i64 {
        let evictable = i64::from(self.tree.evictable_window());
        self.window.as_ref().map_or(i64::MAX, |pool| pool.available + evictable - taken)
    }

    /// Evicts windows until `tokens` of them are free, or none is left.
    pub(super) fn make_window_room(&mut self, tokens: u32) {
        let Some(pool) = &mut self.window else { return };
        let short = i64::from(tokens) - pool.available;
        if short > 0 {
            self.available += self.tree.evict_window(short.min(i64::from(u32::MAX)) as u32);
            pool.available += i64::from(self.tree.take_freed_window());
        }
    }

    /// Takes slots for a row.
    pub(super) fn take_window(&mut self, slot: u32, tokens: u32) {
        if let Some(pool) = &mut self.window {
            pool.available -= i64::from(tokens);
            self.rows[slot as usize].window.tokens += tokens;
        }
    }

    /// A row begins to decode: it is charged with the most that it will hold.
    pub(super) fn take_window_of_decodes(&mut self, slot: u32) {
        let Some(pool) = &self.window else { return };
        let (engine, row) = (self.s.engine, &self.rows[slot as usize]);
        let reserve = engine.decode_reserve_tokens;
        let end = engine.ceil_page(row.prompt + row.target - 1 + reserve);
        let whole = end.saturating_sub(row.window.freed.max(row.protected));
        let most = whole.min(pool.period() + engine.page_size + engine.ceil_page(reserve));
        self.take_window(slot, most.saturating_sub(row.window.tokens));
    }

    /// Whether a decode replica has the windows of a prompt.
    pub(super) fn has_window_tail(&self, tokens: u32) -> bool {
        self.window.as_ref().is_none_or(|pool| i64::from(pool.tail(tokens)) <= pool.available)
    }

    /// Takes them.
    pub(super) fn take_window_tail(&mut self, slot: u32, tokens: u32) {
        if let Some(pool) = &self.window {
            let tail = pool.tail(tokens);
            self.rows[slot as usize].window.freed = tokens.next_multiple_of(pool.page_size) - tail;
            self.take_window(slot, tail);
        }
    }

    /// A row gives back what lies before the window of its next token, if `stored` come before that.
    pub(super) fn leave_window(&mut self, slot: u32, stored: u32) {
        let Some(pool) = &mut self.window else { return };
        let row = &mut self.rows[slot as usize];
        let hold = &mut row.window;
        if stored < hold.freed + pool.window + 1 {
            return;
        }
        hold.freed = hold.freed.max(row.protected);
        let upto = stored.saturating_sub(pool.kept);
        let upto = upto - upto % pool.page_size;
        if upto > hold.freed {
            pool.available += i64::from(upto - hold.freed);
            hold.tokens -= upto - hold.freed;
            hold.freed = upto;
        }
    }

    /// As [`Sglang::checkpoint`], where layers have windows; at the end of a request if it `ends`.
    pub(super) fn checkpoint_with_window(&mut self, slot: u32, stored: u32, ends: bool) {
        let Some(pool) = self.window else { return };
        let engine = self.s.engine;
        let row = &mut self.rows[slot as usize];
        let branch = Some(row.window.branch).filter(|&branch| branch > row.protected && branch <= stored);
        let entered = branch.unwrap_or(stored);
        if !ends {
            self.leave_window(slot, entered - 1);
        } else if row.given > 1 {
            // Its last pass began with all but the last stored.
            row.window.freed = pool.freed_by(row.window.freed, row.protected, stored - 1);
        }
        let row = &mut self.rows[slot as usize];
        let whole = engine.floor_page(entered);
        let (inserted, taken) = self.tree.insert_with_window(row.request, whole, row.protected, row.window.freed);
        self.available += inserted.duplicates;
        let own = whole.saturating_sub(row.window.freed.max(row.protected)).min(row.window.tokens);
        let free = &mut self.window.as_mut().expect("there is one").available;
        *free += i64::from(own) - i64::from(taken);
        row.window.tokens -= own;
        let locked_from = self.hold(inserted.node);
        let row = &mut self.rows[slot as usize];
        let (node, from) = (row.node, std::mem::replace(&mut row.window.locked_from, locked_from));
        row.node = inserted.node;
        row.protected = whole;
        self.let_go(node, from);
        if branch.is_some() {
            self.rows[slot as usize].window.branch = 0;
            if !ends {
                self.leave_window(slot, stored - 1);
            }
        }
    }

    /// Locks a node, with all above it, and the window that ends with it; returns where that begins.
    #[inline]
    pub(super) fn hold(&mut self, node: u32) -> u32 {
        self.tree.lock(node);
        self.tree.lock_window(node)
    }

    /// The reverse of [`Self::hold`].
    pub(super) fn let_go(&mut self, node: u32, locked_from: u32) {
        self.tree.unlock_window(node, locked_from);
        self.tree.unlock(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(window: u32, page_size: u32, kept: u32) -> WindowPool {
        WindowPool { window, page_size, interval: 128, kept, total: 4096, available: 4096 }
    }

    /// Pass by pass, as SGLang looks: `maybe_evict_swa` and `free_swa_out_of_window_slots`.
    fn stepped(pool: &WindowPool, mut freed: u32, shared: u32, stored: std::ops::RangeInclusive<u32>) -> u32 {
        for stored in stored {
            if stored >= freed + pool.window + pool.interval {
                freed = freed.max(shared);
                let upto = stored.saturating_sub(pool.kept);
                freed = freed.max(upto - upto % pool.page_size);
            }
        }
        freed
    }

    #[test]
    fn what_has_been_given_back_is_that_of_the_steps() {
        for (window, page_size) in [(128_u32, 256_u32), (128, 1), (128, 64), (1024, 16), (100, 64), (4096, 1), (3, 1)] {
            let kept = window.max(page_size).next_multiple_of(page_size);
            let pool = pool(window, page_size, kept);
            for pages in [0, 1, 2, 7, 40] {
                let shared = pages * page_size;
                for freed in [0, shared.saturating_sub(3 * page_size), shared] {
                    for length in [1, 5, 130, 700, 3000, 9001] {
                        let found = pool.freed_by(freed, shared, shared + length);
                        let expected = stepped(&pool, freed, shared, shared..=shared + length);
                        assert_eq!(found, expected, "{window} {page_size} {freed} {shared} {length}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_prompt_is_estimated_by_its_chunk_and_its_window() {
        let pool = pool(128, 256, 256);
        assert_eq!(pool.needed(1024, 100, Some(8192)), 1024 - 128 + 128 + 256);
        assert_eq!(pool.needed(100_352, 4096, Some(8192)), 8192 - 128 + 128 + 256);
        assert_eq!(pool.needed(0, 50, None), 50 + 256);
        assert_eq!((pool.tail(1000), pool.tail(100)), (256, 256)); // 872 to 1000: the page 768 to 1024
        assert_eq!(pool.tail(1100), 512); // 972 to 1100: two pages
    }
}
