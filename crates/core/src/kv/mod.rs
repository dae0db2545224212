//! Caches of keys and values.

pub mod block_pool;
pub mod channel;
pub mod radix;
pub mod tier;
