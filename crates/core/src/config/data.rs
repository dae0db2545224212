//! Attention data parallelism: several ranks in one replica, each with requests and a cache of its own.

use super::fault;
use crate::error::InputError;
use serde::Deserialize;

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    pub ranks: u32,
    /// Whether all ranks start and end each pass together.
    pub in_step: bool,
    pub balance: Balance,
    /// In step: the ranks stop only after a multiple of so many passes; 0: at once.
    pub sync_passes: u32,
}

impl Default for Data {
    /// One rank.
    fn default() -> Self {
        Data { ranks: 1, in_step: false, balance: Balance::RoundRobin, sync_passes: 0 }
    }
}

/// To which of its ranks a replica gives a request.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Balance {
    /// One after the other.
    RoundRobin,
    /// Where 4 · waiting + running is least, as published at each multiple of the interval.
    Score { interval_ps: i64 },
}

impl Data {
    pub(super) fn check(&self) -> Result<(), InputError> {
        fault(self.ranks == 0, "data.ranks must be at least 1")?;
        let Balance::Score { interval_ps } = self.balance else { return Ok(()) };
        fault(interval_ps <= 0, "data.balance.interval_ps must be positive")
    }
}
