//! TensorRT-LLM's options.

use super::fault;
use super::speculation::{self, Acceptance, Drawn};
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
    /// Drafts of each request in each pass.
    #[serde(default)]
    pub max_draft_len: u32,
    #[serde(default)]
    pub acceptance: Option<Acceptance>,
    /// Slots that a drafting head fills beyond the tokens of a pass.
    #[serde(default)]
    pub num_extra_kv_tokens: u32,
    /// No drafts while more requests are active.
    #[serde(default)]
    pub max_concurrency: Option<u32>,
}

/// A replica keeps lists by residue of the block size.
const BLOCK_TOKENS_MAX: u32 = 1 << 16;

impl Trtllm {
    /// What rows that verify drafts give, if they do.
    pub fn drawn(&self) -> Option<&Drawn> {
        match &self.acceptance {
            Some(Acceptance::Drawn(drawn)) => Some(drawn),
            _ => None,
        }
    }

    /// Drafts of a pass while so many requests are active.
    pub fn drafts_for(&self, active: usize) -> u32 {
        let off = self.max_concurrency.is_some_and(|most| active > most as usize);
        if off { 0 } else { self.max_draft_len }
    }

    /// Tokens beyond its limit that a request may hold blocks for.
    pub fn overhang(&self) -> u32 {
        self.max_draft_len + self.num_extra_kv_tokens
    }

    /// # Errors
    /// As [`super::check`].
    pub(super) fn check(&self) -> Result<(), InputError> {
        fault(self.tokens_per_block == 0, "tokens_per_block must be at least 1")?;
        fault(self.tokens_per_block > BLOCK_TOKENS_MAX, "tokens_per_block is above 65,536")?;
        fault(self.num_blocks == 0 || self.num_blocks == u32::MAX, "num_blocks is not 1 to 2^32 - 2")?;
        fault(self.max_batch_size == 0, "max_batch_size must be at least 1")?;
        let drafts = self.max_draft_len;
        speculation::check(drafts, self.acceptance.as_ref())?;
        if drafts > 0 {
            fault(self.drawn().is_none_or(|drawn| drawn.longest() != drafts), "acceptance needs counts of all drafts")?;
            let pauses = self.capacity_scheduler_policy == CapacityPolicy::MaxUtilization;
            fault(pauses, "speculation without MAX_UTILIZATION")?;
        }
        let least = u64::from(self.max_batch_size) * u64::from(1 + drafts);
        fault(u64::from(self.max_num_tokens) < least, "max_num_tokens is below max_batch_size, drafts included")?;
        fault(self.max_num_tokens > i32::MAX as u32, "max_num_tokens is above 2^31 - 1")?;
        let chunked = self.enable_chunked_prefill;
        fault(chunked && self.max_num_tokens < self.tokens_per_block, "max_num_tokens is below a block")
    }
}
