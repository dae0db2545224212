//! TensorRT-LLM's options.

use super::fault;
use crate::error::InputError;
use serde::Deserialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Version {
    #[serde(rename = "1.2")]
    V1_2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CapacityPolicy {
    GuaranteedNoEvict,
    MaxUtilization,
    StaticBatch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ChunkingPolicy {
    FirstComeFirstServed,
    EqualProgress,
}

/// Options of one engine, under TensorRT-LLM's names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trtllm {
    pub version: Version,
    pub max_batch_size: u32,
    pub max_num_tokens: u32,
    pub max_seq_len: u32,
    pub enable_chunked_prefill: bool,
    pub tokens_per_block: u32,
    /// All of them usable.
    pub num_blocks: u32,
    pub enable_block_reuse: bool,
    pub capacity_scheduler_policy: CapacityPolicy,
    pub context_chunking_policy: ChunkingPolicy,
    pub batch_wait_timeout_iters: u32,
    /// batch_wait_max_tokens_ratio · max_num_tokens.
    pub batch_wait_tokens: u32,
}

/// A replica keeps lists by residue of the block size.
const BLOCK_TOKENS_MAX: u32 = 1 << 16;

impl Trtllm {
    /// # Errors
    /// As [`super::check`].
    pub(super) fn check(&self) -> Result<(), InputError> {
        fault(self.tokens_per_block == 0, "tokens_per_block must be at least 1")?;
        fault(self.tokens_per_block > BLOCK_TOKENS_MAX, "tokens_per_block is above 65,536")?;
        fault(self.num_blocks == 0 || self.num_blocks == u32::MAX, "num_blocks is not 1 to 2^32 - 2")?;
        fault(self.max_batch_size == 0, "max_batch_size must be at least 1")?;
        fault(self.max_num_tokens < self.max_batch_size, "max_num_tokens is below max_batch_size")?;
        fault(self.max_num_tokens > i32::MAX as u32, "max_num_tokens is above 2^31 - 1")?;
        let chunked = self.enable_chunked_prefill;
        fault(chunked && self.max_num_tokens < self.tokens_per_block, "max_num_tokens is below a block")
    }
}
