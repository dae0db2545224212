//! The frozen description of a run, as it comes in.

mod data;
mod handover;
mod pipeline;
mod router;
pub mod sglang;
pub mod speculation;
pub mod trtllm;
pub mod vllm;

use crate::error::InputError;
use crate::front::FrontEnd;
use crate::step_time::StepTime;
use serde::Deserialize;
use sglang::Sglang;

pub use data::{Balance, Data};
pub use handover::{Handover, Link, Order, Port};
pub use pipeline::Pipeline;
pub use router::{Assignment, Deal, Instances, Key, KvAware, LlmD, QueuePolicy, Router, Telemetry};
use trtllm::Trtllm;
use vllm::Vllm;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// One of role `aggregated`, or one of role `prefill` and after it one of role `decode`.
    pub pools: Vec<Pool>,
    /// Those that transfers share; others refer to them by their place here.
    #[serde(default)]
    pub links: Vec<Link>,
    #[serde(default)]
    pub handover: Option<Handover>,
    /// The front end that all requests pass.
    #[serde(default)]
    pub front: FrontEnd,
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

/// Replicas that are alike, behind one router.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    pub role: Role,
    pub replicas: u32,
    pub engine: Engine,
    pub step_time: StepTime,
    #[serde(default)]
    pub data: Data,
    /// Of each replica, if it has several stages; `step_time` is then that of the first.
    #[serde(default)]
    pub pipeline: Option<Pipeline>,
    pub router: Router,
    #[serde(default)]
    pub instances: Instances,
    /// Of a decode pool: what its servers take of each request before it joins a replica's queue, beside the
    /// front end that all requests pass. When tokens are with clients, [`Run::front`] says.
    #[serde(default)]
    pub front: FrontEnd,
    /// Where hand-overs leave or enter each replica; none if they cross [`Handover::links`] alone.
    #[serde(default)]
    pub ports: Vec<Port>,
}

/// What replicas of a pool do of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    #[default]
    Aggregated,
    Prefill,
    Decode,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub passes: bool,
    pub block_ids: bool,
}

/// The engine of a replica, by its `name`.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Engine {
    Vllm(Vllm),
    Sglang(Sglang),
    Trtllm(Trtllm),
}

impl Run {
    /// Replicas are numbered through all pools.
    pub fn replicas(&self) -> u32 {
        self.pools.iter().map(|pool| pool.replicas).sum()
    }
}

/// Checks what the core relies on; whoever wrote the description has explained it to the user.
///
/// # Errors
/// Says which field is impossible.
pub fn check(run: &Run) -> Result<(), InputError> {
    handover::check(run)?;
    fault(run.users == Some(0), "users must be at least 1")?;
    fault(run.series_interval_ps <= 0, "series_interval_ps must be positive")?;
    let logs = run.record.passes || run.record.block_ids;
    fault(logs && run.replicas() > 1, "passes are logged of a single replica")?;
    run.front.check().or_else(|wrong| fault(true, wrong))?;
    fault(run.stall_passes == 0, "stall_passes must be at least 1")?;
    run.pools.iter().try_for_each(|pool| {
        fault(pool.replicas == 0, "replicas must be at least 1")?;
        fault(logs && pool.data.ranks > 1, "passes are logged of a single rank")?;
        pool.data.check()?;
        pool.front.check().or_else(|wrong| fault(true, wrong))?;
        fault(pool.front.stream_ps > 0, "stream_ps is the run's")?;
        fault(pool.role != Role::Decode && !pool.front.takes_nothing(), "a front end of its own has a decode pool")?;
        pool.pipeline.as_ref().map_or(Ok(()), |pipeline| pipeline.check(pool))?;
        router::check(&pool.router, pool.instances)?;
        pool.step_time.check().or_else(|wrong| fault(true, wrong))?;
        let drafts = match &pool.engine {
            Engine::Vllm(engine) => engine.num_speculative_tokens,
            Engine::Sglang(engine) => engine.speculative_num_draft_tokens,
            Engine::Trtllm(engine) => engine.max_draft_len,
        };
        fault(drafts > 0 && pool.step_time.prices_longest(), "longest contexts are priced without drafts")?;
        let sized = matches!(&pool.engine, Engine::Sglang(engine) if engine.pp_max_micro_batch_size.is_some());
        fault(sized && pool.pipeline.is_none(), "pp_max_micro_batch_size is of a pipeline's micro-batches")?;
        let has_groups = matches!(&pool.engine, Engine::Vllm(engine) if engine.groups.is_some());
        fault(run.record.block_ids && has_groups, "block numbers are followed of one group")?;
        match &pool.engine {
            Engine::Vllm(engine) => engine.check(),
            Engine::Sglang(engine) => engine.check(),
            Engine::Trtllm(engine) => engine.check(),
        }
    })
}

/// Refuses the description with `what` if it is `wrong`.
fn fault(wrong: bool, what: &str) -> Result<(), InputError> {
    if wrong { Err(InputError::in_field("run description", what)) } else { Ok(()) }
}
