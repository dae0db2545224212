//! Blocks of layers that do not keep every token: vLLM's other KV cache groups.
//!
//! A group of layers with a sliding window gives blocks back once they have left it; a group of layers
//! with a state holds one block a request. They share the pool with the group of full attention. Without
//! prefix caching, how many a request holds is all there is to know of them. While it decodes, it is charged
//! with the most it will hold at once, so a run of decodes changes nothing here.

use super::Vllm;
use super::row::Row;
use crate::config::vllm::Groups;

impl Groups {
    /// Blocks of these groups while a request has `before` tokens computed and computes up to `upto`.
    fn held(&self, block_size: u32, before: u32, upto: u32) -> u32 {
        let skipped = (before + 1).saturating_sub(self.window) / block_size;
        self.windows * (upto.div_ceil(block_size) - skipped.min(upto.div_ceil(block_size))) + self.states
    }

    /// The most of them while it decodes, `ahead` tokens at most at once, and has up to `tokens`.
    fn decoding(&self, block_size: u32, tokens: u32, ahead: u32) -> u32 {
        let most = (self.window + ahead + block_size - 1).div_ceil(block_size);
        self.windows * most.min(tokens.div_ceil(block_size)) + self.states
    }

    /// The most of them for a request of `tokens` tokens, `budget` a pass: what its admission asks for
    /// (SlidingWindowSpec.max_memory_usage_bytes).
    pub(super) fn most(&self, block_size: u32, tokens: u32, budget: u32) -> u32 {
        let window = (self.window - 1).saturating_add(budget).div_ceil(block_size) + 1;
        self.windows * window.min(tokens.div_ceil(block_size)) + self.states
    }
}

impl Vllm<'_> {
    /// Blocks of other groups that a row needs beyond its own to compute `tokens` more.
    pub(super) fn more_of_groups(&self, row: &Row<'_>, tokens: u32) -> u32 {
        self.engine_groups().map_or(0, |groups| {
            let ends_prompt = row.computed + tokens >= row.tokens();
            self.of_groups(groups, row, row.computed, tokens, ends_prompt).saturating_sub(row.extra)
        })
    }

    /// Those of a request that is to be admitted, `known` tokens long, with the first `new` of them.
    pub(super) fn first_of_groups(&self, request: u32, known: u32, new: u32) -> u32 {
        self.engine_groups().map_or(0, |groups| {
            let row = self.new_row(request, 0);
            self.of_groups(groups, &row, 0, new, new >= known)
        })
    }

    /// The most of them for a prompt.
    pub(super) fn most_of_groups(&self, tokens: u32) -> u64 {
        let engine = self.s.engine;
        let most = |groups: &Groups| groups.most(engine.block_size, tokens, engine.max_num_batched_tokens);
        u64::from(engine.groups.as_ref().map_or(0, most))
    }

    fn engine_groups(&self) -> Option<&Groups> {
        self.s.engine.groups.as_ref()
    }

    fn of_groups(&self, groups: &Groups, row: &Row<'_>, before: u32, tokens: u32, ends_prompt: bool) -> u32 {
        let engine = self.s.engine;
        let upto = (before + tokens + engine.num_lookahead_tokens).min(engine.max_model_len);
        let held = groups.held(engine.block_size, before, upto);
        if ends_prompt { held.max(self.of_groups_decoding(groups, row)) } else { held }
    }

    fn of_groups_decoding(&self, groups: &Groups, row: &Row<'_>) -> u32 {
        let engine = self.s.engine;
        // With async scheduling, the blocks of a pass under way are kept beside those of the next.
        let under_way = if engine.async_scheduling { 1 + engine.num_speculative_tokens } else { 0 };
        let ahead = under_way + engine.num_speculative_tokens + engine.num_lookahead_tokens;
        let tokens = (row.prompt + row.target + ahead).min(engine.max_model_len);
        groups.decoding(engine.block_size, tokens, ahead)
    }

    /// Takes blocks of other groups for a row.
    pub(super) fn take_of_groups(&mut self, slot: u32, blocks: u32) {
        self.pool.take_unassigned(blocks);
        self.rows[slot as usize].extra += blocks;
    }

    /// Rows of the last passes give back what has left their windows.
    pub(super) fn leave_windows(&mut self) {
        let Some(groups) = &self.s.engine.groups else { return };
        for slot in std::mem::take(&mut self.computed) {
            let row = &self.rows[slot as usize];
            let block_size = self.s.engine.block_size;
            let keeps = if row.prefilling {
                groups.held(block_size, row.computed, row.computed)
            } else {
                self.of_groups_decoding(groups, row)
            };
            let row = &mut self.rows[slot as usize];
            if row.extra > keeps {
                self.pool.give_back(row.extra - keeps);
                row.extra = keeps;
                self.head_blocked = false;
            }
        }
    }

    /// A row gives back all of its blocks of other groups.
    pub(super) fn leave_groups(&mut self, slot: u32) {
        let extra = std::mem::take(&mut self.rows[slot as usize].extra);
        if extra > 0 {
            self.pool.give_back(extra);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_a_window_come_and_go() {
        let groups = Groups { window: 128, windows: 2, states: 0 };
        assert_eq!(groups.held(16, 0, 2048), 2 * 128);
        // At 2,048 tokens, token 1,921 is the first that the next one sees: blocks 0 to 119 are gone.
        assert_eq!(groups.held(16, 2048, 4096), 2 * (256 - 120));
        // Decoding: 9 blocks, but 8 where a block ends with the window.
        let decode = |tokens: u32| groups.held(16, tokens - 1, tokens);
        assert_eq!((decode(144), decode(145), decode(160), decode(161)), (16, 18, 16, 18));
        assert_eq!((decode(40), groups.decoding(16, 40, 0), groups.decoding(16, 4000, 0)), (6, 6, 18));
        assert!((1..3000).all(|tokens| decode(tokens) <= groups.decoding(16, 3000, 0)));
        assert_eq!(groups.most(16, 100_000, 2048), 2 * (136 + 1)); // 2,175 tokens, and one block for where they begin
        assert_eq!(Groups { window: 1, windows: 0, states: 3 }.held(544, 10_000, 10_001), 3);
    }
}
