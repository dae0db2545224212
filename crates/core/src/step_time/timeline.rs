//! The times of passes one after the other.

use super::narrow;

/// Passes one after the other whose times grow by `step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub count: i64,
    pub first: i64,
    pub step: i64,
}

impl Stretch {
    /// The time of the first `count` passes.
    fn time(&self, count: i64) -> i64 {
        let in_64_bits = || {
            let growth = (count.checked_mul(count - 1)? / 2).checked_mul(self.step)?;
            count.checked_mul(self.first)?.checked_add(growth)
        };
        in_64_bits().unwrap_or_else(|| {
            let (n, first, step) = (i128::from(count), i128::from(self.first), i128::from(self.step));
            narrow(n * first + step * (n * (n - 1) / 2))
        })
    }

    /// The least number of passes that last at least `time`, if there are so many.
    fn passes_until(&self, time: i64) -> Option<i64> {
        if self.time(self.count) < time {
            return None;
        }
        let (mut low, mut high) = (0, self.count);
        // Guesses from the times of the first and the last pass narrow the search: the step is small against them.
        let guess = (time / self.first.max(1) + 1).min(self.count);
        if self.step >= 0 && self.time(guess) >= time {
            high = guess;
            let longest = self.first.saturating_add(self.step.saturating_mul(guess - 1));
            low = time / longest.max(1);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.time(middle) >= time { high = middle } else { low = middle + 1 }
        }
        Some(low)
    }
}

/// The times of a sequence of passes.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    pub stretches: Vec<Stretch>,
}

impl Timeline {
    pub fn clear(&mut self) {
        self.stretches.clear();
    }

    pub fn push(&mut self, stretch: Stretch) {
        self.stretches.push(stretch);
    }

    /// Makes each pass last longer by `ps`.
    pub fn lengthen(&mut self, ps: i64) {
        for stretch in &mut self.stretches {
            stretch.first = stretch.first.saturating_add(ps);
        }
    }

    /// The time of the first `count` passes.
    pub fn time(&self, mut count: i64) -> i64 {
        let mut time: i64 = 0;
        for stretch in &self.stretches {
            let passes = count.min(stretch.count);
            time = time.saturating_add(stretch.time(passes));
            count -= passes;
            if count == 0 {
                break;
            }
        }
        time
    }

    /// How many passes start before `time` has passed since the first one's start.
    pub fn started_before(&self, time: i64) -> i64 {
        if time <= 0 {
            return 0;
        }
        let mut passes = 0;
        let mut left = time;
        for stretch in &self.stretches {
            match stretch.passes_until(left) {
                Some(count) => return passes + count,
                None => {
                    passes += stretch.count;
                    left -= stretch.time(stretch.count);
                }
            }
        }
        passes
    }

    /// Keeps the first `count` passes.
    pub fn truncate(&mut self, mut count: i64) {
        for (index, stretch) in self.stretches.iter_mut().enumerate() {
            stretch.count = stretch.count.min(count);
            count -= stretch.count;
            if count == 0 {
                self.stretches.truncate(index + 1);
                return;
            }
        }
    }
}
