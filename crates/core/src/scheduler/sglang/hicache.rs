//! HiCache: when prefixes are copied between device and host, and what waits for it.
//!
//! A GPU has one copy engine each way, and SGLang one stream for each: copies of one direction follow
//! each other. So their ends are known when they begin, and they are no events of the loop.

use super::Sglang;
use crate::config::sglang::{HiCache, WritePolicy};
use crate::kv::channel::Channel;
use crate::kv::radix::{self, Backup, HostTier, Match};

/// SGLang's load_back_threshold: so few tokens are not worth a copy.
const LOAD_BACK_TOKENS: u32 = 10;

/// The pool that `hicache` describes. SGLang copies a node the first time it is inserted, or the second.
pub(super) fn pool(hicache: &HiCache) -> HostTier {
    let policy = match hicache.write_policy {
        WritePolicy::WriteThrough => radix::WritePolicy::Through(1),
        WritePolicy::WriteThroughSelective => radix::WritePolicy::Through(2),
        WritePolicy::WriteBack => radix::WritePolicy::Back,
    };
    HostTier::new(policy, hicache.tokens)
}

#[derive(Debug)]
pub(super) struct Copies {
    token_bytes: u64,
    layers: i64,
    load: Channel,
    store: Channel,
    /// Asked for, and not submitted yet.
    backups: Vec<Backup>,
    /// Ends of copies, and the nodes that they pin.
    under_way: Vec<(i64, u32)>,
    /// Nodes, and their tokens, that the pass being decided waits for.
    loading: Vec<u32>,
    load_tokens: u32,
}

impl Copies {
    pub(super) fn new(hicache: &HiCache) -> Self {
        Copies {
            token_bytes: hicache.token_bytes,
            layers: i64::from(hicache.layers),
            load: Channel::new(hicache.load),
            store: Channel::new(hicache.store),
            backups: Vec::new(),
            under_way: Vec::new(),
            loading: Vec::new(),
            load_tokens: 0,
        }
    }

    pub(super) fn are_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Whether the pass being decided waits for some.
    pub(super) fn is_loading(&self) -> bool {
        !self.loading.is_empty()
    }

    /// The first end of those under way.
    pub(super) fn first_end_ps(&self) -> Option<i64> {
        self.under_way.iter().map(|&(end_ps, _)| end_ps).min()
    }

    /// The nodes that are pinned, one entry a pin.
    pub(super) fn pinned(&self) -> Vec<u32> {
        let under_way = self.under_way.iter().map(|&(_, node)| node);
        under_way.chain(self.backups.iter().map(|backup| backup.node)).collect()
    }
}

impl Sglang<'_> {
    /// Takes notice of the copies that have ended. SGLang looks once a turn of its loop.
    pub(super) fn end_copies(&mut self, now_ps: i64) {
        let (Some(copies), tree) = (&mut self.copies, &mut self.tree) else { return };
        copies.under_way.retain(|&(end_ps, node)| {
            if end_ps <= now_ps {
                tree.unpin(node);
            }
            end_ps > now_ps
        });
    }

    /// Starts the copies to the host that have been asked for, as one, at `start_ps` or after those before it.
    pub(super) fn submit_backups(&mut self, start_ps: i64) {
        let Some(copies) = &mut self.copies else { return };
        self.tree.take_backups(&mut copies.backups);
        if copies.backups.is_empty() {
            return;
        }
        let tokens: u64 = copies.backups.iter().map(|backup| u64::from(backup.tokens)).sum();
        let end_ps = copies.store.submit(start_ps, tokens * copies.token_bytes);
        copies.under_way.extend(copies.backups.drain(..).map(|backup| (end_ps, backup.node)));
    }

    /// Takes room on the device for the part of a hit that is on the host, for the pass being decided
    /// to load. If it is not worth it or there is no room, the hit ends where the device's part does.
    pub(super) fn load_back(&mut self, hit: &mut Match) -> bool {
        let Match { tokens, node, host_tokens, host_node, .. } = *hit;
        self.tree.lock(host_node);
        let loads = host_tokens >= LOAD_BACK_TOKENS && self.make_room(host_tokens);
        if loads {
            self.available -= host_tokens;
            self.tree.load_back(host_node);
            self.tree.unlock(node);
            if let Some(copies) = &mut self.copies {
                copies.loading.push(host_node);
                copies.load_tokens += host_tokens;
            }
            *hit = Match { tokens: tokens + host_tokens, node: host_node, ..Match::NOTHING };
        } else {
            self.tree.unlock(host_node);
            *hit = Match { host_tokens: 0, host_node: node, ..*hit };
        }
        loads
    }

    /// The time of a pass that starts at `start_ps` and takes `time` but for copies: it waits for what
    /// was evicted for it, and each layer for what is loaded of it.
    pub(super) fn with_copies(&mut self, time: i64, start_ps: i64) -> i64 {
        let Some(copies) = &mut self.copies else { return time };
        let mut begin_ps = start_ps;
        for tokens in self.tree.take_waited() {
            begin_ps = copies.store.submit(begin_ps, u64::from(tokens) * copies.token_bytes);
        }
        let waited = begin_ps - start_ps;
        if copies.loading.is_empty() {
            return waited + time;
        }
        let bytes = u64::from(std::mem::take(&mut copies.load_tokens)) * copies.token_bytes;
        let end_ps = copies.load.submit(begin_ps, bytes);
        copies.under_way.extend(copies.loading.drain(..).map(|node| (end_ps, node)));
        waited + layer_by_layer(time, end_ps - begin_ps, copies.layers)
    }
}

/// The time of a pass whose layers are computed in `compute` and loaded in `load` together, each
/// taking the same share: one that is loaded is computed while the next is loaded.
fn layer_by_layer(compute: i64, load: i64, layers: i64) -> i64 {
    let (short, long) = (compute.min(load), compute.max(load));
    long + (short + layers - 1) / layers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_computed_while_others_are_loaded() {
        // Of four layers, loaded at 10, 20, 30, 40: computed at 10-13, 20-23, 30-33, 40-43.
        assert_eq!(layer_by_layer(12, 40, 4), 43);
        // Loaded at 3, 6, 9, 12, computed from 3 on without a gap.
        assert_eq!(layer_by_layer(40, 12, 4), 43);
        assert_eq!(layer_by_layer(40, 12, 1), 52, "nothing overlaps");
    }
}
