//! Schedulers of the engines.

pub mod vllm;
