//! The share of their limits that running requests are expected to use.

/// SGLang's constants: SGLANG_INIT_NEW_TOKEN_RATIO, _MIN_NEW_TOKEN_RATIO_FACTOR,
/// _NEW_TOKEN_RATIO_DECAY_STEPS and _RETRACT_DECODE_STEPS, at their defaults.
const INIT: f64 = 0.7;
const MIN_FACTOR: f64 = 0.14;
const DECAY_STEPS: f64 = 600.0;
pub(super) const RETRACT_DECODE_STEPS: u32 = 20;

/// It falls with every decode pass. The subtractions are carried out one by one, since their sum
/// is not their multiple in floating point; but only down to the floor, and only if somebody asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewTokenRatio {
    init: f64,
    min: f64,
    decay: f64,
    last_asked: f64,
    /// Decode passes since.
    passes: i64,
}

impl NewTokenRatio {
    pub(super) fn new(conservativeness: f64) -> Self {
        let init = (INIT * conservativeness).min(1.0);
        let min = (init * MIN_FACTOR).min(1.0);
        NewTokenRatio { init, min, decay: (init - min) / DECAY_STEPS, last_asked: init, passes: 0 }
    }

    pub(super) fn current(&mut self) -> f64 {
        while self.passes > 0 && self.last_asked != self.min {
            self.last_asked = (self.last_asked - self.decay).max(self.min);
            self.passes -= 1;
        }
        self.passes = 0;
        self.last_asked
    }

    /// After `passes` decode passes.
    pub(super) fn decay(&mut self, passes: i64) {
        self.passes = self.passes.saturating_add(passes);
    }

    pub(super) fn reset(&mut self) {
        self.set(self.init);
    }

    /// After a retraction that left `rows` requests with `given` tokens of their `limits`.
    pub(super) fn retracted(&mut self, rows: u64, given: u64, limits: u64) {
        let expected = given + u64::from(RETRACT_DECODE_STEPS) * rows;
        self.set((expected as f64 / (limits + 1) as f64).min(1.0));
    }

    fn set(&mut self, ratio: f64) {
        (self.last_asked, self.passes) = (ratio, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_to_its_floor_and_stays_there() {
        let mut ratio = NewTokenRatio::new(1.0);
        ratio.decay(1);
        assert_eq!(ratio.current(), 0.7 - (0.7 - 0.7 * 0.14) / 600.0);
        ratio.decay(i64::MAX);
        assert_eq!(ratio.current(), 0.7 * 0.14);
        ratio.retracted(2, 10, 99);
        assert_eq!(ratio.current(), 0.5);
    }

    #[test]
    fn many_passes_at_once_are_those_passes() {
        let (mut one, mut all) = (NewTokenRatio::new(0.3), NewTokenRatio::new(0.3));
        for passes in [1, 5, 300, 400] {
            (0..passes).for_each(|_| {
                one.decay(1);
                one.current();
            });
            all.decay(passes);
            assert_eq!(one.current().to_bits(), all.current().to_bits());
        }
    }
}
