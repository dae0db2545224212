//! Routers as a run description gives them, under the names of the specs they come from.

use super::fault;
use crate::error::InputError;
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Router {
    RoundRobin {},
    Random {},
    LeastRequests {},
    LeastTokens(LeastTokens),
    PowerOfTwo(PowerOfTwo),
    SessionAffinity(SessionAffinity),
    ConsistentHashing(ConsistentHashing),
    PrefixHash(PrefixHash),
    CacheAware(CacheAware),
    LlmD(LlmD),
    KvAware(KvAware),
    /// A router given beside the description.
    Python(Telemetry),
}

/// Replicas are seen as they were at the last multiple of `interval_ps` at least `delay_ps` ago
/// (`interval_ps` 0: as they are).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    pub interval_ps: i64,
    pub delay_ps: i64,
}

/// How many of the router there are, each with its own counts, and how requests come to them.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instances {
    pub count: u32,
    pub deal: Deal,
}

impl Default for Instances {
    fn default() -> Self {
        Instances { count: 1, deal: Deal::RoundRobin }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deal {
    /// In turn, in the order of arrival.
    RoundRobin,
    /// By a hash of the session, or of the request if it has none.
    Hash,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeastTokens {
    pub expected_output_tokens: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerOfTwo {
    /// If given, tokens in use as telemetry tells them are compared; else the router's own requests.
    pub telemetry: Option<Telemetry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assignment {
    Random,
    MinLoad,
    MinGroup,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionAffinity {
    pub assignment_mode: Assignment,
    pub max_idle_ps: i64,
    pub eviction_interval_ps: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    Session,
    Prefix,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistentHashing {
    pub key: Key,
    pub prefix_tokens: u32,
    pub virtual_nodes: u32,
    pub max_load_skew: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixHash {
    pub prefix_token_count: u32,
    pub load_factor: f64,
    pub virtual_nodes: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheAware {
    pub cache_threshold: f64,
    pub balance_abs_threshold: u64,
    pub balance_rel_threshold: f64,
    pub eviction_interval_ps: i64,
    /// Tokens of a replica.
    pub max_tree_size: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlmD {
    pub queue_scorer_weight: f64,
    pub kv_cache_utilization_scorer_weight: f64,
    pub prefix_cache_scorer_weight: f64,
    pub max_prefix_tokens_to_match: u32,
    /// Blocks.
    pub lru_capacity_per_server: u64,
    pub interval_ps: i64,
    pub delay_ps: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueuePolicy {
    Fcfs,
    Lcfs,
    Wspt,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvAware {
    pub overlap_score_credit: f64,
    pub overlap_score_credit_decay: f64,
    pub prefill_load_scale: f64,
    pub decode_active_request_weight: f64,
    pub temperature: f64,
    pub track_prefill_tokens: bool,
    pub track_active_blocks: bool,
    pub assume_kv_reuse: bool,
    pub use_kv_events: bool,
    /// Without events: how long a prompt is taken to stay cached.
    pub ttl_ps: i64,
    pub queue_threshold: Option<f64>,
    pub queue_policy: QueuePolicy,
}

/// The shortest interval of telemetry, and the most samples on their way.
const TICK_PS_MIN: i64 = 1_000_000;
const DELAYED_MAX: i64 = 100_000;
const INSTANCES_MAX: u32 = 4096;
const VIRTUAL_NODES_MAX: u32 = 100_000;
/// Greater weights of costs could overflow.
const WEIGHT_MAX: f64 = 1e6;

fn is_weight(value: f64) -> bool {
    (0.0..=WEIGHT_MAX).contains(&value)
}

fn check_telemetry(interval_ps: i64, delay_ps: i64) -> Result<(), InputError> {
    fault(interval_ps < 0 || interval_ps != 0 && interval_ps < TICK_PS_MIN, "interval_ps is below a microsecond")?;
    fault(delay_ps < 0 || delay_ps > interval_ps.saturating_mul(DELAYED_MAX), "delay_ps is not 0 to 100,000 intervals")
}

/// As [`super::check`].
pub(super) fn check(router: &Router, instances: Instances) -> Result<(), InputError> {
    fault(!(1..=INSTANCES_MAX).contains(&instances.count), "instances are not 1 to 4,096")?;
    fault(instances.count > 1 && matches!(router, Router::Python(_)), "a router of one's own has one instance")?;
    match router {
        Router::RoundRobin {} | Router::Random {} | Router::LeastRequests {} | Router::LeastTokens(_) => Ok(()),
        Router::Python(Telemetry { interval_ps, delay_ps }) => check_telemetry(*interval_ps, *delay_ps),
        Router::PowerOfTwo(options) => {
            options.telemetry.as_ref().map_or(Ok(()), |t| check_telemetry(t.interval_ps, t.delay_ps))
        }
        Router::SessionAffinity(options) => {
            fault(options.max_idle_ps <= 0, "max_idle_ps must be positive")?;
            fault(options.eviction_interval_ps <= 0, "eviction_interval_ps must be positive")
        }
        Router::ConsistentHashing(options) => {
            fault(options.max_load_skew.is_some_and(|skew| skew.is_nan() || skew < 1.0), "max_load_skew is below 1")?;
            fault(!(1..=VIRTUAL_NODES_MAX).contains(&options.virtual_nodes), "virtual_nodes are not 1 to 100,000")
        }
        Router::PrefixHash(options) => {
            fault(options.load_factor.is_nan() || options.load_factor < 1.0, "load_factor is below 1")?;
            fault(!(1..=VIRTUAL_NODES_MAX).contains(&options.virtual_nodes), "virtual_nodes are not 1 to 100,000")
        }
        Router::CacheAware(options) => {
            fault(!(0.0..=1.0).contains(&options.cache_threshold), "cache_threshold is not 0 to 1")?;
            fault(options.balance_rel_threshold.is_nan(), "balance_rel_threshold is no number")?;
            fault(options.eviction_interval_ps < 0, "eviction_interval_ps is negative")
        }
        Router::LlmD(options) => {
            let weights = [
                options.queue_scorer_weight,
                options.kv_cache_utilization_scorer_weight,
                options.prefix_cache_scorer_weight,
            ];
            fault(!weights.iter().all(|&weight| is_weight(weight)), "a weight is not 0 to 1,000,000")?;
            fault(options.lru_capacity_per_server == 0, "lru_capacity_per_server must be at least 1")?;
            check_telemetry(options.interval_ps, options.delay_ps)
        }
        Router::KvAware(options) => {
            let credit = options.overlap_score_credit;
            fault(!(0.0..=1.0).contains(&credit), "overlap_score_credit is not 0 to 1")?;
            let weights = [
                options.overlap_score_credit_decay,
                options.prefill_load_scale,
                options.decode_active_request_weight,
                options.temperature,
                options.queue_threshold.unwrap_or(0.0),
            ];
            fault(!weights.iter().all(|&weight| is_weight(weight)), "a weight is not 0 to 1,000,000")?;
            fault(options.ttl_ps < 0, "ttl_ps is negative")
        }
    }
}
