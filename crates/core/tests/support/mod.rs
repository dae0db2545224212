//! Small random choices for tests; a failure names its seed.

use servetwin_core::random::mix;

pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(mix(seed))
    }

    /// A number from `low` to `high`, both included.
    pub fn roll(&mut self, low: i64, high: i64) -> i64 {
        self.0 = mix(self.0);
        low + (self.0 % (high - low + 1) as u64) as i64
    }

    pub fn chance(&mut self, one_in: i64) -> bool {
        self.roll(1, one_in) == 1
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.roll(0, choices.len() as i64 - 1) as usize]
    }
}
