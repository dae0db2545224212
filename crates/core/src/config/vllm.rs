//! vLLM's options.

use super::fault;
use super::speculation::{self, Acceptance};
use crate::error::InputError;
use crate::kv::block_pool::can_name;
use crate::kv::channel::Speed;
use serde::Deserialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Version {
    #[serde(rename = "0.19")]
    V0_19,
    #[serde(rename = "0.32")]
    V0_32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    Fcfs,
    Priority,
}

/// Options of one engine, under vLLM's names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vllm {
    pub version: Version,
    pub max_num_seqs: u32,
    pub max_num_batched_tokens: u32,
    pub max_model_len: u32,
    pub block_size: u32,
    /// Includes the null block.
    pub num_gpu_blocks: u32,
    pub enable_prefix_caching: bool,
    pub enable_chunked_prefill: bool,
    pub long_prefill_token_threshold: u32,
    pub long_prefill_token_threshold_adaptive: bool,
    pub scheduling_policy: Policy,
    pub watermark_blocks: u32,
    pub scheduler_reserve_full_isl: bool,
    pub async_scheduling: bool,
    /// Of data ranks in step: prompts are computed in every so many passes; 1 in all of them.
    #[serde(default = "every_pass")]
    pub prefill_schedule_interval: u32,
    pub num_speculative_tokens: u32,
    #[serde(default)]
    pub acceptance: Option<Acceptance>,
    /// Slots that a drafting head fills beyond the tokens of a pass.
    #[serde(default)]
    pub num_lookahead_tokens: u32,
    /// Whether the last block that is found in the cache is computed again, for the drafting head.
    #[serde(default)]
    pub eagle_block_drop: bool,
    /// Drafts by the number of requests in the pass before: from how many on, how many. Empty: always all.
    #[serde(default)]
    pub num_speculative_tokens_per_batch_size: Vec<(u32, u32)>,
    /// The order of requests of equal priority and arrival; their index if absent.
    #[serde(default)]
    pub id_ranks: Option<Vec<u32>>,
    #[serde(default)]
    pub offload: Option<Offload>,
    #[serde(default)]
    pub groups: Option<Groups>,
}

/// KV cache groups beside that of full attention, all alike.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Groups {
    pub count: u32,
    /// Tokens that a layer looks back, itself among them.
    pub window: u32,
    /// Instead, it keeps one state.
    pub has_state: bool,
    /// Whether they come before full attention, in whose order blocks are freed.
    pub come_first: bool,
}

fn every_pass() -> u32 {
    1
}

/// Host memory that blocks are offloaded to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offload {
    /// It has room for so many blocks.
    pub blocks: u32,
    /// Of a block on all ranks, as `store` and `load` count bytes.
    pub block_bytes: u64,
    /// From the GPU to the host.
    pub store: Speed,
    /// From the host to the GPU.
    pub load: Speed,
    /// Whether the last block that is found is computed again, for the drafting head.
    #[serde(default)]
    pub drops_last_block: bool,
    /// Where the host's blocks are kept as well, in the order in which it is asked.
    #[serde(default)]
    pub below: Vec<Below>,
}

/// A tier behind host memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Below {
    pub place: Place,
    pub blocks: u32,
    /// To it, and from it, for one rank.
    pub write: Speed,
    pub read: Speed,
    pub write_policy: WritePolicy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Of one replica.
    Disk,
    /// Of all replicas of a pool.
    Shared,
}

/// Which of the host's blocks are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WritePolicy {
    /// All, when they are there.
    Through,
    /// Those that it evicts.
    OnEviction,
}

impl Vllm {
    /// The tier behind the host in that place.
    pub fn below(&self, place: Place) -> Option<&Below> {
        self.offload.as_ref()?.below.iter().find(|below| below.place == place)
    }
}

/// Blocks are named by group and content in 32 bits.
const GROUPS_MAX: u32 = 64;

/// A replica keeps lists by residue of the block size.
const BLOCK_SIZE_MAX: u32 = 1 << 16;

impl Vllm {
    /// # Errors
    /// As [`super::check`].
    pub(super) fn check(&self) -> Result<(), InputError> {
        fault(self.block_size == 0, "block_size must be at least 1")?;
        fault(self.num_gpu_blocks == 0, "num_gpu_blocks must be at least 1")?;
        fault(self.max_num_seqs == 0, "max_num_seqs must be at least 1")?;
        fault(self.max_num_batched_tokens == 0, "max_num_batched_tokens must be at least 1")?;
        fault(self.block_size > BLOCK_SIZE_MAX, "block_size is above 65,536")?;
        fault(self.max_num_batched_tokens > i32::MAX as u32, "max_num_batched_tokens is above 2^31 - 1")?;
        let drafts = self.num_speculative_tokens;
        speculation::check(drafts, self.acceptance.as_ref())?;
        if let Some(Acceptance::Drawn(drawn)) = &self.acceptance {
            fault(drawn.longest() != drafts, "acceptance.counts needs one more than num_speculative_tokens")?;
        }
        let schedule = &self.num_speculative_tokens_per_batch_size;
        fault(!schedule.is_sorted_by(|a, b| a.0 < b.0), "num_speculative_tokens_per_batch_size is not in order")?;
        let others = self.num_lookahead_tokens > 0 || self.eagle_block_drop || !schedule.is_empty();
        fault(drafts == 0 && others, "options of speculation without it")?;
        fault(self.prefill_schedule_interval == 0, "prefill_schedule_interval must be at least 1")?;
        if let Some(groups) = &self.groups {
            fault(groups.window == 0 && !groups.has_state, "groups.window must be at least 1")?;
            fault(groups.count == 0, "groups.count must be at least 1")?;
            fault(groups.count > GROUPS_MAX, "more groups than can be")?;
            let caches = self.enable_prefix_caching;
            fault(caches && self.version != Version::V0_32, "prefix caching of other groups is modelled for 0.32")?;
            fault(caches && groups.has_state && drafts > 0, "speculation beside states that are cached")?;
            fault(caches && groups.has_state && !self.enable_chunked_prefill, "states need chunked prefill")?;
            fault(caches && self.eagle_block_drop, "drafting heads beside other groups that are cached")?;
            fault(self.offload.is_some(), "offloading beside other groups")?;
        }
        let Some(offload) = &self.offload else { return Ok(()) };
        fault(offload.blocks == 0, "offload.blocks must be at least 1")?;
        fault(offload.block_bytes == 0, "offload.block_bytes must be at least 1")?;
        for speed in [offload.store, offload.load] {
            fault(speed.bytes_per_s == 0, "the bytes_per_s of offload must be at least 1")?;
            fault(speed.latency_ps < 0, "the latency_ps of offload must not be negative")?;
        }
        for below in &offload.below {
            fault(below.blocks == 0, "the blocks of a tier must be at least 1")?;
            for speed in [below.write, below.read] {
                fault(speed.bytes_per_s == 0, "the bytes_per_s of a tier must be at least 1")?;
                fault(speed.latency_ps < 0, "the latency_ps of a tier must not be negative")?;
            }
        }
        let count = |place: Place| offload.below.iter().filter(|below| below.place == place).count();
        fault(count(Place::Disk).max(count(Place::Shared)) > 1, "a place below the host is there once")?;
        fault(!self.enable_prefix_caching, "offload needs enable_prefix_caching")?;
        fault(offload.drops_last_block && drafts == 0, "options of speculation without it")?;
        fault(self.version != Version::V0_32, "offload is modelled for 0.32")
    }

    /// # Errors
    /// Contents in so many segments cannot be told apart in each group of layers.
    pub fn check_segments(&self, segments: u32) -> Result<(), InputError> {
        let Some(groups) = self.groups.filter(|_| self.enable_prefix_caching) else { return Ok(()) };
        if can_name(groups.count, segments) {
            return Ok(());
        }
        let message = format!("too many requests and prefixes to cache in {} groups of layers more", groups.count);
        Err(InputError::in_field("engine.enable_prefix_caching", message))
    }

    /// Drafts of the next pass, after one of `requests` requests.
    pub fn drafts_after(&self, requests: usize) -> u32 {
        let from = self.num_speculative_tokens_per_batch_size.partition_point(|&(from, _)| from as usize <= requests);
        match from.checked_sub(1) {
            Some(index) => self.num_speculative_tokens_per_batch_size[index].1.min(self.num_speculative_tokens),
            None => self.num_speculative_tokens,
        }
    }
}
