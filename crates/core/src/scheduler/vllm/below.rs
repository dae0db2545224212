//! Tiers behind host memory, as vLLM's `TieringOffloadingManager` uses them.
//!
//! Read from `vllm/v1/kv_offload/tiering/manager.py` of 0.32, not recorded. What the host has is
//! written on, at once or when the host evicts it. Blocks that the host lacks are brought back to it
//! first: the request that asked is put off until they are there.

use crate::config::vllm::{Below as Config, Place, WritePolicy};
use crate::kv::channel::Channel;
use crate::kv::tier::{Extent, Tier};
use crate::scheduler::Store;

pub(super) struct Below<'a> {
    pub(super) place: Place,
    policy: WritePolicy,
    contents: Contents<'a>,
    writes: Channel,
    reads: Channel,
    written: Vec<Extent>,
    evicted: Vec<Extent>,
}

enum Contents<'a> {
    Own(Tier),
    Shared(&'a Store),
}

impl Contents<'_> {
    fn with<T>(&mut self, act: impl FnOnce(&mut Tier) -> T) -> T {
        match self {
            Contents::Own(tier) => act(tier),
            Contents::Shared(store) => act(&mut store.borrow_mut()),
        }
    }
}

/// All blocks of `extents`.
pub(super) fn blocks(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| u64::from(extent.blocks())).sum()
}

impl<'a> Below<'a> {
    pub(super) fn new(config: &Config, store: Option<&'a Store>) -> Self {
        let contents = match (config.place, store) {
            (Place::Shared, Some(store)) => Contents::Shared(store),
            _ => Contents::Own(Tier::new(config.blocks)),
        };
        Below {
            place: config.place,
            policy: config.write_policy,
            contents,
            writes: Channel::new(config.write),
            reads: Channel::new(config.read),
            written: Vec::new(),
            evicted: Vec::new(),
        }
    }

    /// The host took in `written`, complete at `ready_ps`, and evicted others for them, at `now_ps`.
    /// Returns until when it has to keep what was written.
    pub(super) fn follow(
        &mut self,
        written: &[Extent],
        evicted: &[Extent],
        now_ps: i64,
        ready_ps: i64,
        block_bytes: u64,
    ) -> i64 {
        match self.policy {
            WritePolicy::Through => self.write(written, now_ps, ready_ps, block_bytes),
            WritePolicy::OnEviction => {
                self.write(evicted, now_ps, now_ps, block_bytes);
                i64::MIN
            }
        }
    }

    fn write(&mut self, extents: &[Extent], now_ps: i64, at_ps: i64, block_bytes: u64) -> i64 {
        let Self { contents, writes, written, evicted, .. } = self;
        contents.with(|tier| {
            if !tier.write(extents.iter().copied(), now_ps, written, evicted) || written.is_empty() {
                return i64::MIN;
            }
            let end_ps = writes.submit(at_ps, blocks(written) * block_bytes);
            tier.set_ready(written, end_ps);
            end_ps
        })
    }

    /// How many blocks of `wanted`, from its first on, can be read at `now_ps`; they count as used.
    pub(super) fn readable(&mut self, wanted: Extent, now_ps: i64) -> u32 {
        self.contents.with(|tier| {
            let (mut count, mut gap) = (0, false);
            tier.stretches(std::iter::once(wanted), |extent, ready_ps| {
                gap |= ready_ps.is_none_or(|ready_ps| ready_ps > now_ps);
                count += if gap { 0 } else { extent.blocks() };
            });
            if count > 0 {
                tier.touch(std::iter::once(Extent { hi: wanted.lo + count, ..wanted }), now_ps);
            }
            count
        })
    }

    /// Brings so many blocks to the host from `now_ps` on. Returns when they are there.
    pub(super) fn read(&mut self, blocks: u64, now_ps: i64, block_bytes: u64) -> i64 {
        self.reads.submit(now_ps, blocks * block_bytes)
    }

    pub(super) fn check(&self) {
        match &self.contents {
            Contents::Own(tier) => tier.check(),
            Contents::Shared(store) => store.borrow().check(),
        }
    }
}
