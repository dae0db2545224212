pub mod error;
pub mod mooncake;
pub mod random;
pub mod trace;
pub mod workload;
