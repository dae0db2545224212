//! Links, and how a prompt's KV gets from a prefill replica to a decode replica.

use super::trtllm::CapacityPolicy;
use super::{Engine, Pool, Role, Router, Run, fault};
use crate::error::InputError;
use crate::workload::HORIZON_PS;
use serde::Deserialize;
use std::mem::discriminant;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    pub bytes_per_s: u64,
    pub latency_ps: i64,
}

/// Where a replica stands, and the links its hand-overs cross there: those out of a prefill
/// replica, those into a decode replica.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    pub nvlink_domain: u32,
    /// Used between two replicas of one domain that both have one.
    pub nvlink: Option<u32>,
    pub nic: Option<u32>,
}

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The prompt is computed, then a decode replica chosen, which reserves room and fetches (vLLM).
    SourceFirst,
    /// Both are chosen on arrival; the prompt waits until the decode replica has reserved room, and
    /// is sent as it is computed (SGLang).
    DestinationFirst,
    /// Both are chosen on arrival, and the prompt is computed at once. Each of the model's layers is sent when
    /// the prompt's last pass has computed it, if the decode replica has reserved room by then (vLLM's
    /// MoRIIOConnector in write mode).
    Layerwise,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    pub order: Order,
    /// Before the first transfer between two replicas.
    pub bootstrap_ps: i64,
    /// A message from one side to the other, or by way of the router.
    pub control_ps: i64,
    /// Before each transfer.
    pub setup_ps: i64,
    /// From the end of the prefill (source first, or layer by layer), or from the arrival to the reservation and from
    /// there on (destination first), until the transfer is over. Without one, requests wait for ever.
    pub timeout_ps: Option<i64>,
    /// Prompts with no more tokens than this to compute stay with the decode replica.
    #[serde(default)]
    pub local_prefill_tokens: Option<u32>,
    /// Source first: the destination tells the source when it has reserved room, which then sends (vLLM's
    /// `NixlPushConnector`); else it fetches (`NixlConnector`).
    #[serde(default)]
    pub pushes: bool,
    /// Of the model, layer by layer.
    #[serde(default)]
    pub layers: Option<u32>,
    /// Of KV on a decode replica.
    pub bytes_per_token: u64,
    /// What goes with the last part of a prompt.
    #[serde(default)]
    pub tail: Option<Tail>,
    /// Links that every transfer crosses.
    #[serde(default)]
    pub links: Vec<u32>,
}

/// The KV that layers with a sliding window have of a prompt, in whole pages, and states of fixed size.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tail {
    pub window_tokens: u32,
    pub page_tokens: u32,
    pub bytes_per_token: u64,
    pub state_bytes: u64,
}

impl Tail {
    /// Of a prompt of so many tokens.
    pub fn bytes(&self, prompt: u32) -> u64 {
        let from = prompt.saturating_sub(self.window_tokens);
        let tokens = prompt.next_multiple_of(self.page_tokens) - (from - from % self.page_tokens);
        u64::from(tokens) * self.bytes_per_token + self.state_bytes
    }
}

/// So that a share of it is at least a byte per second, however many transfers there are.
const BYTES_PER_S_MIN: u64 = 1_000_000;

/// As [`super::check`].
pub(super) fn check(run: &Run) -> Result<(), InputError> {
    let roles: Vec<Role> = run.pools.iter().map(|pool| pool.role).collect();
    match (&roles[..], &run.handover) {
        ([Role::Aggregated], None) => {}
        ([Role::Prefill, Role::Decode], Some(handover)) => check_handover(run, handover)?,
        _ => fault(true, "pools are one aggregated, or a prefill, a decode and a handover")?,
    }
    let slow = run.links.iter().any(|link| link.bytes_per_s < BYTES_PER_S_MIN);
    fault(slow, "bytes_per_s of a link must be at least 1,000,000")?;
    fault(run.links.iter().any(|link| !is_time(link.latency_ps)), "latency_ps of a link is negative or too long")
}

fn check_handover(run: &Run, handover: &Handover) -> Result<(), InputError> {
    let times = [handover.bootstrap_ps, handover.control_ps, handover.setup_ps];
    fault(
        !times.into_iter().chain(handover.timeout_ps).all(is_time),
        "a time of the handover is negative or too long",
    )?;
    fault(handover.timeout_ps == Some(0), "timeout_ps must be positive")?;
    fault(handover.bytes_per_token == 0, "bytes_per_token must be at least 1")?;
    fault(handover.tail.is_some_and(|tail| tail.page_tokens == 0), "tail.page_tokens must be at least 1")?;
    let in_parts = handover.order == Order::DestinationFirst;
    fault(handover.tail.is_some() && !in_parts, "a tail where the destination asks for what it wants")?;
    fault(handover.pushes && handover.order != Order::SourceFirst, "who reserves first is always sent to")?;
    let layerwise = handover.order == Order::Layerwise;
    fault(layerwise != handover.layers.is_some(), "layers are counted where they are sent by themselves")?;
    fault(handover.layers == Some(0), "layers must be at least 1")?;
    let staged = |pool: &Pool| pool.pipeline.is_some();
    fault(staged(&run.pools[0]) && !handover.pushes, "prefill replicas with stages push")?;
    fault(staged(&run.pools[1]), "a decode replica has no stages")?;
    let [prefill, decode] = [&run.pools[0].engine, &run.pools[1].engine];
    fault(discriminant(prefill) != discriminant(decode), "both pools run one engine")?;
    fault(layerwise && !matches!(prefill, Engine::Vllm(_)), "vLLM alone sends layer by layer")?;
    for engine in [prefill, decode] {
        if let Engine::Trtllm(engine) = engine {
            fault(handover.order != Order::SourceFirst, "TensorRT-LLM computes prompts first")?;
            fault(handover.local_prefill_tokens.is_some(), "generation replicas of TensorRT-LLM compute no prompts")?;
            let pauses = engine.capacity_scheduler_policy != CapacityPolicy::GuaranteedNoEvict;
            fault(pauses, "pools of TensorRT-LLM without GUARANTEED_NO_EVICT")?;
        }
    }
    let keeps_back = |router: &Router| matches!(router, Router::KvAware(options) if options.queue_threshold.is_some());
    fault(keeps_back(&run.pools[1].router), "the router of a decode pool keeps nothing back")?;
    let sglang = |role: Role| {
        run.pools.iter().find(|pool| pool.role == role).and_then(|pool| match &pool.engine {
            Engine::Sglang(engine) => Some(engine),
            _ => None,
        })
    };
    if sglang(Role::Prefill).is_some() || sglang(Role::Decode).is_some() {
        fault(handover.order != Order::DestinationFirst, "SGLang reserves at the destination first")?;
        fault(handover.local_prefill_tokens.is_some(), "SGLang's decode replicas compute no prompts")?;
        let options = sglang(Role::Decode).map(|engine| engine.disaggregation.is_some());
        fault(options != Some(true), "both pools run SGLang, and the decode pool has its disaggregation options")?;
    }
    let has_groups = |engine: &Engine| matches!(engine, Engine::Vllm(engine) if engine.groups.is_some());
    fault(run.pools.iter().any(|pool| has_groups(&pool.engine)), "hand-overs of other groups")?;
    for pool in &run.pools {
        let ports = pool.ports.len();
        fault(ports != 0 && ports != pool.replicas as usize, "ports are none, or one a replica")?;
    }
    let ports = run.pools.iter().flat_map(|pool| &pool.ports);
    let links = ports.clone().flat_map(|port| [port.nvlink, port.nic]).flatten().chain(handover.links.iter().copied());
    fault(links.into_iter().any(|link| link as usize >= run.links.len()), "a link is named that there is not")
}

fn is_time(time_ps: i64) -> bool {
    (0..=HORIZON_PS).contains(&time_ps)
}
