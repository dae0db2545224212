//! When a trace's families start, and after how long its times begin again.

use super::ticks::Ticks;
use crate::trace::Trace;
use crate::transform::Parts;

/// Times are from the first arrival on.
#[derive(Debug)]
pub struct Rhythm {
    pub first_ps: i64,
    /// Of each family.
    pub starts_ps: Vec<i64>,
    /// One gap after the last arrival. None where all arrive at once.
    pub cycle_ps: Option<i64>,
    pub ticks: Ticks,
}

impl Rhythm {
    /// `parts`: the rows of each of so many families.
    pub fn of(trace: &Trace, parts: &Parts, families: usize) -> Self {
        let first_ps = trace.arrival_ps[0];
        let since = |row: usize| trace.arrival_ps[row] - first_ps;
        let starts_ps = (0..families).map(|family| since(parts.of(family)[0] as usize)).collect();
        let arrivals: Vec<i64> = (0..trace.len()).filter(|&row| trace.is_root(row)).map(since).collect();
        let span_ps = arrivals[arrivals.len() - 1];
        let cycle_ps = (span_ps > 0).then(|| span_ps + (span_ps / (arrivals.len() as i64 - 1)).max(1));
        Rhythm { first_ps, starts_ps, cycle_ps, ticks: Ticks::of(arrivals) }
    }
}
