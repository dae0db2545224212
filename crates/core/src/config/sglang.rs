//! SGLang's options.

use super::fault;
use super::speculation::{self, Acceptance, Drawn};
use crate::error::InputError;
use crate::kv::channel::Speed;
use serde::Deserialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Version {
    #[serde(rename = "0.5.23")]
    V0_5_23,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    Fcfs,
    /// Longest prefix match first.
    Lpm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WritePolicy {
    WriteThrough,
    WriteThroughSelective,
    WriteBack,
}

/// HiCache: copies of cached prefixes in host memory. All ranks of a replica copy at once, so times
/// are those of one rank.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HiCache {
    pub write_policy: WritePolicy,
    /// Size of the pool, whole pages.
    pub tokens: u32,
    /// Layers, one after the other, that a pass waits for.
    pub layers: u32,
    /// KV of a token on a rank.
    pub token_bytes: u64,
    /// From the host to the device, and back.
    pub load: Speed,
    pub store: Speed,
}

/// Layers with a sliding window, whose KV is in a pool of their own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Tokens that they look back.
    pub tokens: u32,
    /// Slots of their pool, a multiple of the page.
    pub pool_tokens: u32,
    /// SGLANG_SWA_EVICTION_INTERVAL: a decoding request gives slots back when so many tokens have left its window.
    pub eviction_interval: u32,
}

/// Options of one engine, under SGLang's names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sglang {
    pub version: Version,
    pub page_size: u32,
    /// Slots of the pool, a multiple of the page.
    pub max_total_tokens: u32,
    pub max_running_requests: u32,
    pub context_length: u32,
    /// None: prompts are never cut.
    pub chunked_prefill_size: Option<u32>,
    pub max_prefill_tokens: u32,
    pub enable_mixed_chunk: bool,
    pub schedule_policy: Policy,
    pub schedule_conservativeness: f64,
    pub disable_radix_cache: bool,
    pub enable_priority_scheduling: bool,
    pub schedule_low_priority_values_first: bool,
    pub priority_scheduling_preemption_threshold: i32,
    pub disable_priority_preemption: bool,
    pub disable_overlap_schedule: bool,
    /// Whether requests generate up to their limit whatever comes: then the scheduler counts with all of it.
    pub ignore_eos: bool,
    /// Tokens of a request in a verifying pass: the drafts, and one more. 0: no speculation.
    #[serde(default)]
    pub speculative_num_draft_tokens: u32,
    /// Of the drafts of which one follows the other: a tree has more than that.
    #[serde(default)]
    pub acceptance: Option<Acceptance>,
    /// Tokens beyond those stored for which a request holds pages while it decodes.
    #[serde(default)]
    pub decode_reserve_tokens: u32,
    /// Rows of a micro-batch of a pipeline; by default its share of `max_running_requests`.
    #[serde(default)]
    pub pp_max_micro_batch_size: Option<u32>,
    #[serde(default)]
    pub hicache: Option<HiCache>,
    #[serde(default)]
    pub window: Option<Window>,
    /// Of a decode replica.
    #[serde(default)]
    pub disaggregation: Option<Disaggregation>,
}

/// How a decode replica admits requests whose prompts are computed elsewhere.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disaggregation {
    /// Free for each request that decodes or will, when another is let in.
    pub num_reserved_decode_tokens: u32,
    /// Requests that may hold memory beside those that may run.
    pub decode_extra_slots: u32,
    /// Turns of the loop between two looks at the queues.
    pub polling_interval: u32,
}

/// A replica keeps lists by residue of the page.
const PAGE_SIZE_MAX: u32 = 1 << 16;

impl Sglang {
    /// # Errors
    /// As [`super::check`].
    pub(super) fn check(&self) -> Result<(), InputError> {
        fault(self.page_size == 0, "page_size must be at least 1")?;
        fault(self.page_size > PAGE_SIZE_MAX, "page_size is above 65,536")?;
        fault(self.max_total_tokens > i32::MAX as u32, "max_total_tokens is above 2^31 - 1")?;
        fault(self.max_total_tokens < self.page_size, "max_total_tokens is below one page")?;
        fault(!self.max_total_tokens.is_multiple_of(self.page_size), "max_total_tokens is not whole pages")?;
        fault(self.max_running_requests == 0, "max_running_requests must be at least 1")?;
        fault(self.max_prefill_tokens == 0, "max_prefill_tokens must be at least 1")?;
        fault(self.pp_max_micro_batch_size == Some(0), "pp_max_micro_batch_size must be at least 1")?;
        fault(
            self.chunked_prefill_size.is_some_and(|chunk| chunk < self.page_size),
            "chunked_prefill_size is below one page",
        )?;
        let drafts = self.speculative_num_draft_tokens.saturating_sub(1);
        speculation::check(drafts, self.acceptance.as_ref())?;
        if drafts > 0 {
            let cycle = matches!(self.acceptance, Some(Acceptance::Cycle { .. }));
            fault(cycle, "acceptance in cycles is vLLM's alone")?;
            fault(self.mixes(), "speculation without mixed chunks")?;
            // With overlap a pass may begin a pass's tokens behind what is known.
            let tokens =
                u64::from(self.speculative_num_draft_tokens) * if self.disable_overlap_schedule { 1 } else { 2 };
            fault(u64::from(self.decode_reserve_tokens) < tokens, "decode_reserve_tokens does not hold the drafts")?;
        }
        if let Some(disaggregation) = &self.disaggregation {
            fault(!self.disable_radix_cache, "a decode replica with a radix cache")?;
            fault(disaggregation.polling_interval == 0, "disaggregation.polling_interval must be at least 1")?;
        }
        if let Some(hicache) = &self.hicache {
            fault(self.disable_radix_cache, "hicache without a radix cache")?;
            fault(hicache.tokens < self.page_size, "hicache.tokens is below one page")?;
            fault(hicache.tokens > i32::MAX as u32, "hicache.tokens is above 2^31 - 1")?;
            fault(!hicache.tokens.is_multiple_of(self.page_size), "hicache.tokens is not whole pages")?;
            fault(hicache.layers == 0, "hicache.layers must be at least 1")?;
            let speeds = [hicache.load, hicache.store];
            fault(speeds.iter().any(|speed| speed.bytes_per_s == 0), "a speed of hicache is 0")?;
            fault(speeds.iter().any(|speed| speed.latency_ps < 0), "a latency of hicache is negative")?;
        }
        if let Some(window) = &self.window {
            fault(self.hicache.is_some(), "hicache with sliding windows")?;
            fault(self.mixes(), "mixed chunks with sliding windows")?;
            fault(window.tokens == 0, "window.tokens must be at least 1")?;
            fault(window.eviction_interval == 0, "window.eviction_interval must be at least 1")?;
            fault(window.pool_tokens > i32::MAX as u32, "window.pool_tokens is above 2^31 - 1")?;
            fault(!window.pool_tokens.is_multiple_of(self.page_size), "window.pool_tokens is not whole pages")?;
            let least = u64::from(self.chunked_prefill_size.unwrap_or(0)) + 2 * self.window_floor();
            fault(u64::from(window.pool_tokens) <= least, "window.pool_tokens does not hold a chunk and two windows")?;
        }
        let conservativeness = self.schedule_conservativeness;
        fault(
            !conservativeness.is_finite() || conservativeness < 0.0,
            "schedule_conservativeness must be a number of at least 0",
        )
    }

    /// What rows that verify drafts give, if they do.
    pub fn drawn(&self) -> Option<&Drawn> {
        match &self.acceptance {
            Some(Acceptance::Drawn(drawn)) => Some(drawn),
            _ => None,
        }
    }

    /// The most tokens of one request, prompt and output, less the one that is never stored.
    pub fn max_req_len(&self) -> u32 {
        self.context_length.saturating_sub(1).min(self.max_total_tokens - 1)
    }

    /// Prompts of so many tokens and more are aborted.
    pub fn max_req_input_len(&self) -> u32 {
        self.max_req_len().saturating_sub(5)
    }

    /// The prompt that the engine computes of one of `tokens`: those that are too long are aborted, but
    /// pass through the queue and one prefill as a single token.
    pub fn prompt(&self, tokens: u32) -> u32 {
        if tokens >= self.max_req_input_len() { 1 } else { tokens }
    }

    /// What the engine lets a request give that asks for `limit` tokens after `prompt`.
    pub fn limit(&self, prompt: u32, limit: u32) -> u32 {
        let context = self.max_req_len().saturating_sub(prompt).saturating_sub(1);
        let held =
            u64::from(prompt.div_ceil(self.page_size)) * u64::from(self.page_size) + u64::from(self.page_size) + 1;
        let pool = u64::from(self.max_total_tokens).saturating_sub(held) as u32;
        limit.min(context).min(pool)
    }

    pub fn ceil_page(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.page_size) * self.page_size
    }

    pub fn floor_page(&self, tokens: u32) -> u32 {
        tokens - tokens % self.page_size
    }

    /// Slots of windows that one request may keep for good, in whole pages: its prefix's in the tree.
    fn window_floor(&self) -> u64 {
        self.window.as_ref().map_or(0, |window| u64::from(self.ceil_page(window.tokens)) + u64::from(self.page_size))
    }

    /// Whether a prompt that is not cut may find no room among the windows, even alone.
    pub fn exceeds_windows(&self, prompt: u32) -> bool {
        let whole = u64::from(self.ceil_page(prompt)) + 2 * self.window_floor();
        let pool = self.window.as_ref().filter(|_| self.chunked_prefill_size.is_none());
        pool.is_some_and(|window| whole >= u64::from(window.pool_tokens))
    }

    /// Whether urgent requests may take the place of running ones.
    pub fn preempts(&self) -> bool {
        self.enable_priority_scheduling && !self.disable_priority_preemption
    }

    /// Whether decodes share passes with prefills.
    pub fn mixes(&self) -> bool {
        self.enable_mixed_chunk && self.chunked_prefill_size.is_some()
    }
}
