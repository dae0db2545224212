//! Pipeline stages: each holds a share of the layers, and passes go through them one behind the other.

use super::{Data, Engine, Pool, Role, fault};
use crate::config::trtllm::CapacityPolicy;
use crate::config::vllm::Version;
use crate::error::InputError;
use crate::step_time::StepTime;
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// How long a pass stays in a stage, each kind of stage once.
    pub kinds: Vec<StepTime>,
    /// Of each stage, in the order of the layers, its kind.
    pub stages: Vec<u32>,
}

impl Pipeline {
    pub fn stage_count(&self) -> usize {
        self.stages.len()
    }

    pub(super) fn check(&self, pool: &Pool) -> Result<(), InputError> {
        fault(self.stages.len() < 2, "a pipeline has at least 2 stages")?;
        let known = |&kind: &u32| (kind as usize) < self.kinds.len();
        fault(!self.stages.iter().all(known), "pipeline.stages names a kind that is not there")?;
        self.kinds.iter().try_for_each(|kind| kind.check().or_else(|wrong| fault(true, wrong)))?;
        let Data { ranks, in_step, .. } = pool.data;
        fault(ranks > 1 && in_step, "a pipeline runs without data ranks in step")?;
        match &pool.engine {
            Engine::Vllm(engine) => {
                fault(engine.version != Version::V0_32, "a pipeline is modelled for vLLM 0.32")?;
                fault(engine.num_speculative_tokens > 0, "a pipeline runs without speculation")?;
                fault(engine.groups.is_some(), "a pipeline runs without other groups")?;
                fault(engine.offload.is_some(), "a pipeline runs without offload")
            }
            Engine::Sglang(engine) => {
                fault(pool.role != Role::Aggregated, "SGLang's pipeline runs without hand-overs")?;
                fault(!engine.disable_overlap_schedule, "SGLang's pipeline runs without overlap")?;
                fault(engine.acceptance.is_some(), "a pipeline runs without speculation")?;
                fault(engine.window.is_some(), "a pipeline runs without windows")?;
                fault(engine.hicache.is_some(), "a pipeline runs without HiCache")
            }
            Engine::Trtllm(engine) => {
                fault(pool.role != Role::Aggregated, "TensorRT-LLM's pipeline runs without hand-overs")?;
                fault(engine.max_draft_len > 0, "a pipeline runs without speculation")?;
                let reserves = engine.capacity_scheduler_policy == CapacityPolicy::GuaranteedNoEvict;
                fault(!reserves, "a pipeline reserves blocks to the end")
            }
        }
    }
}
