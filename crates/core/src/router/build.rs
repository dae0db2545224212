//! Routers from their configuration.

use super::cache_aware::CacheAware;
use super::consistent_hashing::ConsistentHashing;
use super::contents::{Contents, prefix_key, sessions, shared_sessions};
use super::kv_aware::KvAware;
use super::least::{LeastRequests, LeastTokens};
use super::llm_d::LlmD;
use super::loads::Loads;
use super::power_of_two::PowerOfTwo;
use super::prefix_hash::PrefixHash;
use super::recent::Recent;
use super::ring::Ring;
use super::session_affinity::SessionAffinity;
use super::simple::{Random, RoundRobin};
use super::text_tree::TextTree;
use super::{Instances, Kind, Native, Policy, Router};
use crate::chain::Chains;
use crate::config::{self, Deal, Key, Pool};
use crate::scheduler;
use crate::trace::{NONE, Trace};
use hashbrown::HashMap;
use std::rc::Rc;

/// The router of `pool`; `policy` is the user's, if it is one of his.
pub fn build<'a, 'p>(
    pool: &'a Pool,
    seed: u64,
    trace: &'a Trace,
    chains: &'a Chains,
    policy: Option<&'p mut (dyn Policy + Send)>,
) -> Router<'a, 'p> {
    use config::Router as Config;
    let is_static = match &pool.router {
        Config::RoundRobin {} | Config::Random {} => true,
        Config::ConsistentHashing(options) => options.max_load_skew.is_none(),
        _ => false,
    };
    let telemetry_ps = match &pool.router {
        Config::Python(config::Telemetry { interval_ps, delay_ps }) => Some((*interval_ps, *delay_ps)),
        Config::LlmD(options) => Some((options.interval_ps, options.delay_ps)),
        Config::PowerOfTwo(options) => options.telemetry.as_ref().map(|t| (t.interval_ps, t.delay_ps)),
        _ => None,
    };
    let kind = match policy {
        Some(policy) => Kind::Policy(policy),
        None => {
            let factory = Factory { pool, seed, trace, contents: Contents::shared(pool, trace, chains) };
            let count = pool.instances.count as usize;
            Kind::Native(Instances {
                all: (0..count).map(|_| factory.instance()).collect(),
                deal: pool.instances.deal,
                seed,
                sessions: if count > 1 && pool.instances.deal == Deal::Hash { sessions(trace) } else { Vec::new() },
                dealt: 0,
                instance_of: if count > 1 { vec![NONE; trace.len()] } else { Vec::new() },
            })
        }
    };
    Router { kind, is_static, telemetry_ps }
}

/// Whether a router asks where prompts begin alike.
pub fn reads_contents(router: &config::Router) -> bool {
    use config::Router as Config;
    match router {
        Config::KvAware(_) | Config::CacheAware(_) => true,
        Config::LlmD(options) => options.prefix_cache_scorer_weight > 0.0,
        _ => false,
    }
}

impl<'a> Contents<'a> {
    /// Those of a pool whose router asks for them.
    fn shared(pool: &Pool, trace: &'a Trace, chains: &'a Chains) -> Option<Rc<Self>> {
        reads_contents(&pool.router).then(|| Rc::new(Contents::new(trace, chains, scheduler::block_size(&pool.engine))))
    }
}

struct Factory<'a> {
    pool: &'a Pool,
    seed: u64,
    trace: &'a Trace,
    contents: Option<Rc<Contents<'a>>>,
}

impl<'a> Factory<'a> {
    fn contents(&self) -> Rc<Contents<'a>> {
        self.contents.clone().expect("made for routers that ask")
    }

    fn instance(&self) -> Box<dyn Native + 'a> {
        use config::Router as Config;
        let (trace, replicas, seed) = (self.trace, self.pool.replicas, self.seed);
        let loads = || Loads::new(replicas);
        match &self.pool.router {
            Config::RoundRobin {} => Box::new(RoundRobin { replicas, next: 0 }),
            Config::Random {} => Box::new(Random { replicas, seed }),
            Config::LeastRequests {} => Box::new(LeastRequests { loads: loads() }),
            Config::LeastTokens(options) => {
                let expected_output_tokens = options.expected_output_tokens;
                Box::new(LeastTokens { trace, expected_output_tokens, loads: loads() })
            }
            Config::PowerOfTwo(options) => {
                Box::new(PowerOfTwo { seed, replicas, loads: options.telemetry.is_none().then(loads) })
            }
            Config::SessionAffinity(options) => Box::new(SessionAffinity {
                seed,
                assignment: options.assignment_mode,
                idle_ps: options.max_idle_ps,
                eviction_ps: options.eviction_interval_ps,
                sessions: shared_sessions(trace),
                bound: HashMap::default(),
                requests: loads(),
                groups: loads(),
            }),
            Config::ConsistentHashing(options) => Box::new(ConsistentHashing {
                seed,
                ring: Ring::new(seed, replicas, options.virtual_nodes),
                keys: self.keys(options.key, options.prefix_tokens),
                loads: loads(),
                max_load_skew: options.max_load_skew,
            }),
            Config::PrefixHash(options) => Box::new(PrefixHash {
                trace,
                prefix_tokens: options.prefix_token_count,
                load_factor: options.load_factor,
                ring: Ring::new(seed, replicas, options.virtual_nodes),
                loads: loads(),
            }),
            Config::CacheAware(options) => {
                let contents = self.contents();
                Box::new(CacheAware {
                    trace,
                    block_size: contents.block_size,
                    cache_threshold: options.cache_threshold,
                    balance_abs_threshold: options.balance_abs_threshold,
                    balance_rel_threshold: options.balance_rel_threshold,
                    eviction_ps: options.eviction_interval_ps,
                    max_tree_size: options.max_tree_size,
                    tree: TextTree::new(contents, replicas),
                    loads: loads(),
                    evictions: 0,
                })
            }
            Config::LlmD(options) => Box::new(LlmD {
                block_size: scheduler::block_size(&self.pool.engine),
                recent: self.contents.clone().map(|contents| {
                    let limit = options.max_prefix_tokens_to_match / contents.block_size;
                    Recent::new(contents, replicas, options.lru_capacity_per_server, limit)
                }),
                ticks: options.interval_ps > 0,
                scores: vec![0.0; replicas as usize],
                scored_ps: None,
                matched: vec![0; replicas as usize],
                best: Vec::new(),
                ties: 0,
                weights: options.clone(),
            }),
            Config::KvAware(options) => {
                let batch_tokens = scheduler::batch_tokens(&self.pool.engine);
                Box::new(KvAware::new(options, self.contents(), (trace.len(), replicas), seed, batch_tokens))
            }
            Config::Python(_) => unreachable!("a router of the user's is a policy"),
        }
    }

    fn keys(&self, key: Key, prefix_tokens: u32) -> Vec<Option<u64>> {
        match key {
            Key::Session => {
                let sessions = shared_sessions(self.trace);
                sessions.iter().map(|&session| (session != NONE).then_some(u64::from(session))).collect()
            }
            Key::Prefix => {
                (0..self.trace.len() as u32).map(|r| Some(prefix_key(self.trace, r, prefix_tokens))).collect()
            }
        }
    }
}
