//! The frozen description of a run, as it comes in.

use crate::error::InputError;
use crate::step_time::StepTime;
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub replicas: u32,
    pub engine: Engine,
    pub step_time: StepTime,
    pub router: Router,
    pub seed: u64,
    /// Whether passes may be summed in closed form; the result is the same.
    pub leap: bool,
    /// A worker that makes no progress for so many passes is stalled.
    pub stall_passes: u64,
    /// Closed loop: so many users, each sending its next request when its last one ended.
    pub users: Option<u32>,
    /// Whether requests that can never run are turned away on arrival.
    pub check_admission: bool,
    /// Stops a worker after so many passes.
    pub max_passes: Option<u64>,
    /// Distance of the points of the time series.
    pub series_interval_ps: i64,
    #[serde(default)]
    pub record: Record,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub passes: bool,
    pub block_ids: bool,
}

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

/// Options of one vLLM engine, under vLLM's names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
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
    pub num_speculative_tokens: u32,
    #[serde(default)]
    pub acceptance: Option<Acceptance>,
    /// The order of requests of equal priority and arrival; their index if absent.
    #[serde(default)]
    pub id_ranks: Option<Vec<u32>>,
}

/// How many drafts of a verifying pass are accepted.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Acceptance {
    /// The numbers of `pattern` in turn, per request.
    Cycle { pattern: Vec<u32> },
    /// Draft i, if all before it were, with probability `thresholds[i]` / 2^64.
    Conditional { thresholds: Vec<u64>, seed: u64 },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Router {
    RoundRobin {},
    Random {},
    LeastRequests {},
    /// A router given beside the description; it sees replicas as they were at the last multiple
    /// of `interval_ps` at least `delay_ps` ago (`interval_ps` 0: as they are).
    Python {
        interval_ps: i64,
        delay_ps: i64,
    },
}

/// A replica keeps lists by residue of the block size.
const BLOCK_SIZE_MAX: u32 = 1 << 16;
const DRAFTS_MAX: u32 = 1024;
/// The shortest interval of telemetry, and the most samples on their way.
const TICK_PS_MIN: i64 = 1_000_000;
const DELAYED_MAX: i64 = 100_000;

/// Checks what the core relies on; whoever wrote the description has explained it to the user.
///
/// # Errors
/// Says which field is impossible.
pub fn check(run: &Run) -> Result<(), InputError> {
    let engine = &run.engine;
    let fault =
        |wrong: bool, what: &str| if wrong { Err(InputError::in_field("run description", what)) } else { Ok(()) };
    fault(run.replicas == 0, "replicas must be at least 1")?;
    fault(run.users == Some(0), "users must be at least 1")?;
    fault(run.series_interval_ps <= 0, "series_interval_ps must be positive")?;
    fault(engine.block_size == 0, "block_size must be at least 1")?;
    fault(engine.num_gpu_blocks == 0, "num_gpu_blocks must be at least 1")?;
    fault(engine.max_num_seqs == 0, "max_num_seqs must be at least 1")?;
    fault(engine.max_num_batched_tokens == 0, "max_num_batched_tokens must be at least 1")?;
    let drafts = engine.num_speculative_tokens > 0;
    fault(drafts && engine.async_scheduling, "speculation runs without async scheduling")?;
    let logs = run.record.passes || run.record.block_ids;
    fault(logs && run.replicas > 1, "passes are logged of a single replica")?;
    fault(engine.block_size > BLOCK_SIZE_MAX, "block_size is above 65,536")?;
    fault(engine.max_num_batched_tokens > i32::MAX as u32, "max_num_batched_tokens is above 2^31 - 1")?;
    fault(engine.num_speculative_tokens > DRAFTS_MAX, "num_speculative_tokens is above 1,024")?;
    fault(run.stall_passes == 0, "stall_passes must be at least 1")?;
    if let Router::Python { interval_ps, delay_ps } = run.router {
        fault(interval_ps != 0 && interval_ps < TICK_PS_MIN, "interval_ps is below a microsecond")?;
        fault(
            delay_ps < 0 || delay_ps > interval_ps.saturating_mul(DELAYED_MAX),
            "delay_ps is not 0 to 100,000 intervals",
        )?;
    }
    run.step_time.check().or_else(|wrong| fault(true, wrong))?;
    Ok(())
}
