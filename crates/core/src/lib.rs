//! The event core of servetwin: requests in, records out; no Python here.
//!
//! Reading guide: [`simulation`] is the loop; [`replica`] is what it sees; [`worker`] is one rank in time; [`scheduler::vllm`]
//! decides its passes. Below them: [`kv::block_pool`] and [`chain`] (what is cached, in runs of
//! blocks), [`decode_set`] (rows that decode without being touched), [`step_time`] (how long passes
//! take, and their closed-form sums).

pub mod arrivals;
pub mod bootstrap;
pub mod chain;
pub mod clock;
pub mod config;
mod decimal;
pub mod decode_set;
pub mod draws;
pub mod error;
pub mod front;
pub mod gaps;
pub mod generate;
pub mod kv;
pub mod like;
pub mod link;
pub mod log;
pub mod metrics;
pub mod mooncake;
pub mod moves;
pub mod profile;
pub mod random;
pub mod record;
pub mod replica;
pub mod router;
pub mod rows;
pub mod scheduler;
pub mod simulation;
pub mod step_time;
pub mod table;
pub mod telemetry;
pub mod trace;
pub mod transform;
pub mod waiting;
pub mod worker;
pub mod workload;
