//! The cost of sending a request to a replica: DynoSim's formula, in integers.
//!
//! Dynamo (`lib/kv-router/src/scheduling/selector.rs`) computes, in blocks,
//!
//! ```text
//! prefill = (active_prefill_tokens + isl) / block_size
//! decay   = 1 / (1 + overlap_score_credit_decay · excess_prefill_blocks / request_blocks)
//! cost    = prefill_load_scale · max(0, prefill − overlap_score_credit · decay · overlap)
//!         + active_blocks + new_blocks + decode_active_request_weight · active_requests
//! ```
//!
//! Here it is multiplied by `block_size` and the denominators of the weights, 2^20 each, so that
//! ties are ties on every machine, and bounds are exact. The credit is at most 1, so the difference
//! is never negative.

use crate::config::KvAware;

/// Weights are multiples of 2^-20.
const ONE: i128 = 1 << 20;

pub(super) struct Cost {
    block_size: i128,
    credit: i128,
    decay: i128,
    scale: i128,
    request_weight: i128,
    tracks_prefill: bool,
}

/// What a request brings with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    /// Of its prompt, if they are tracked.
    pub(super) tokens: i128,
    /// Whole blocks of its prompt, if they are tracked.
    pub(super) blocks: i128,
    /// Blocks its prompt needs, the last one perhaps in part.
    pub(super) request_blocks: i128,
}

/// What a router has sent to a replica and is still there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    /// Of prompts whose first token has not come, without what was cached.
    pub(super) prefill_tokens: i128,
    /// Distinct blocks of prompts.
    pub(super) blocks: i128,
    pub(super) requests: i128,
}

fn fixed(weight: f64) -> i128 {
    (weight * ONE as f64).round() as i128
}

impl Cost {
    pub(super) fn new(config: &KvAware, block_size: u32) -> Self {
        Cost {
            block_size: i128::from(block_size),
            credit: fixed(config.overlap_score_credit),
            decay: fixed(config.overlap_score_credit_decay),
            scale: fixed(config.prefill_load_scale),
            request_weight: fixed(config.decode_active_request_weight),
            tracks_prefill: config.track_prefill_tokens,
        }
    }

    /// Cost units of one block.
    pub(super) fn unit(&self) -> i128 {
        ONE * ONE * self.block_size
    }

    pub(super) fn decays(&self) -> bool {
        self.decay > 0
    }

    /// The part that no request changes.
    pub(super) fn of_load(&self, load: &Load) -> i128 {
        self.scale * ONE * load.prefill_tokens
            + self.block_size * ONE * (ONE * load.blocks + self.request_weight * load.requests)
    }

    /// The part that is the same for all replicas.
    pub(super) fn of_demand(&self, demand: &Demand) -> i128 {
        self.scale * ONE * demand.tokens + self.unit() * demand.blocks
    }

    /// What a cached prefix of `overlap` blocks saves, and `shared` blocks that active requests hold
    /// already, on a replica with `excess_tokens` more of prompts to compute than the least loaded.
    pub(super) fn saved(&self, demand: &Demand, overlap: u32, shared: u32, excess_tokens: i128) -> i128 {
        let (overlap, shared) = (i128::from(overlap), i128::from(shared));
        if !self.tracks_prefill {
            return self.unit() * shared;
        }
        let request = demand.request_blocks * self.block_size * ONE;
        let credit = match self.decay * excess_tokens {
            0 => self.credit,
            excess => self.credit * request / (request + excess),
        };
        self.scale * credit * overlap * self.block_size + self.unit() * shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(credit: f64, decay: f64, scale: f64, weight: f64) -> KvAware {
        serde_json::from_value(serde_json::json!({
            "overlap_score_credit": credit, "overlap_score_credit_decay": decay, "prefill_load_scale": scale,
            "decode_active_request_weight": weight, "temperature": 0.0, "track_prefill_tokens": true,
            "track_active_blocks": true, "assume_kv_reuse": true, "use_kv_events": true, "ttl_ps": 0,
            "queue_threshold": null, "queue_policy": "fcfs",
        }))
        .unwrap()
    }

    /// In blocks.
    fn total(cost: &Cost, load: Load, isl: u32, overlap: u32, shared: u32, excess_tokens: i128) -> f64 {
        let block_size = cost.block_size as u32;
        let demand = Demand {
            tokens: i128::from(isl),
            blocks: i128::from(isl / block_size),
            request_blocks: i128::from(isl.div_ceil(block_size)),
        };
        let units = cost.of_load(&load) + cost.of_demand(&demand) - cost.saved(&demand, overlap, shared, excess_tokens);
        units as f64 / cost.unit() as f64
    }

    /// The example of Dynamo's documentation: prompts of ten blocks of 64, three workers.
    #[test]
    fn costs_are_those_of_dynamos_own_example() {
        let cost = Cost::new(&config(1.0, 0.0, 1.0, 0.0), 64);
        // Its decode blocks include those of the request: here they are 10 − `shared` of the load.
        let decode = |blocks: i128| Load { blocks: blocks - 10, ..Load::default() };
        assert_eq!(total(&cost, decode(10), 640, 2, 0, 0), 18.0);
        assert_eq!(total(&cost, decode(5), 640, 5, 0, 0), 10.0);
        assert_eq!(total(&cost, decode(9), 640, 8, 0, 0), 11.0);
    }

    #[test]
    fn each_term_is_that_of_the_formula() {
        let cost = Cost::new(&config(0.5, 0.0, 2.0, 0.25), 16);
        let load = Load { prefill_tokens: 40, blocks: 7, requests: 3 };
        // 2 · ((40 + 100) / 16 − 0.5 · 4) + 7 + (6 − 2) + 0.25 · 3
        assert_eq!(total(&cost, load, 100, 4, 2, 0), 2.0 * (8.75 - 2.0) + 7.0 + 4.0 + 0.75);
    }

    #[test]
    fn the_credit_decays_with_what_is_queued_beyond_the_least() {
        let cost = Cost::new(&config(1.0, 1.0, 1.0, 0.0), 16);
        let load = Load { prefill_tokens: 100, ..Load::default() };
        // One request of excess (112 tokens in 7 blocks) halves the credit: 212 / 16 − 6 / 2 + 7 − 0
        assert_eq!(total(&cost, load, 112, 6, 0, 112), 13.25 - 3.0 + 7.0);
        assert_eq!(total(&cost, load, 112, 6, 0, 0), 13.25 - 6.0 + 7.0);
    }
}
