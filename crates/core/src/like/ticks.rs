//! Clocks of traces: many write down times in whole seconds, or only every few of them.

/// From this share of arrivals at the time of another one on, times are those of a clock that ticks.
const FROM: f64 = 0.5;
const MOST: i64 = 1 << 24;

/// The times at which requests can arrive, from the first; none of them where they can at any time.
#[derive(Debug)]
pub struct Ticks {
    at_ps: Vec<i64>,
}

impl Ticks {
    /// Of the clock by which requests arrived, in order, from the first: its ticks, and between them those at which
    /// nobody came.
    pub fn of(mut arrivals: Vec<i64>) -> Self {
        let tied = arrivals.windows(2).filter(|pair| pair[0] == pair[1]).count();
        let mut at_ps = Vec::new();
        if arrivals.first() == arrivals.last() || (tied as f64) < FROM * arrivals.len() as f64 {
            return Ticks { at_ps };
        }
        arrivals.dedup();
        let mut steps: Vec<i64> = arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
        steps.sort_unstable();
        let usual = steps[(steps.len() - 1) / 4];
        at_ps.push(arrivals[0]);
        for pair in arrivals.windows(2) {
            let missed = ((pair[1] - pair[0]) as f64 / usual as f64).round_ties_even() as i64 - 1;
            if missed > 0 && at_ps.len() as i64 + missed < MOST {
                at_ps.extend((1..=missed).map(|tick| pair[0] + (pair[1] - pair[0]) / (missed + 1) * tick));
            }
            at_ps.push(pair[1]);
        }
        Ticks { at_ps }
    }

    /// The last tick at or before `time_ps`, the clock going round every `cycle_ps`.
    pub fn at(&self, time_ps: i64, cycle_ps: i64) -> i64 {
        if self.at_ps.is_empty() {
            return time_ps;
        }
        let phase_ps = time_ps % cycle_ps;
        time_ps - phase_ps + self.at_ps[self.at_ps.partition_point(|&tick_ps| tick_ps <= phase_ps) - 1]
    }

    pub fn count(&self) -> Option<usize> {
        (!self.at_ps.is_empty()).then_some(self.at_ps.len())
    }
}
