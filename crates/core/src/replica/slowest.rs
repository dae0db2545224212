//! The slowest of several ranks, pass by pass, in closed form.

use crate::step_time::{Stretch, Timeline};

/// Makes each pass of `times` last at least as long as the same one of `other`, whose first `skip`
/// passes are left out. `other` must have as many passes; `scratch` is only a buffer.
///
/// Where two progressions cross, the sum changes hands: exact, like a knot of a timing model.
pub(super) fn raise(times: &mut Timeline, other: &Timeline, skip: i64, scratch: &mut Timeline) {
    std::mem::swap(times, scratch);
    times.clear();
    let mut others = Cursor::new(&other.stretches, skip);
    for &own in &scratch.stretches {
        let mut own = own;
        while own.count > 0 {
            let other = others.head();
            let (top, low) =
                if (own.first, own.step) >= (other.first, other.step) { (own, other) } else { (other, own) };
            let together = own.count.min(other.count);
            let passes = match low.step > top.step {
                true => together.min((top.first - low.first) / (low.step - top.step) + 1),
                false => together,
            };
            append(times, Stretch { count: passes, ..top });
            own = advanced(own, passes);
            others.advance(passes);
        }
    }
}

/// Appends `passes` passes of `times` to `out`, from the first after `skip` on.
pub(super) fn copy(times: &Timeline, skip: i64, passes: i64, out: &mut Timeline) {
    let mut cursor = Cursor::new(&times.stretches, skip);
    let mut left = passes;
    while left > 0 {
        let head = cursor.head();
        let count = head.count.min(left);
        append(out, Stretch { count, ..head });
        cursor.advance(count);
        left -= count;
    }
}

/// Appends a stretch, as part of the last one if it continues it.
fn append(times: &mut Timeline, stretch: Stretch) {
    if let Some(last) = times.stretches.last_mut()
        && last.first.checked_add(last.step * last.count) == Some(stretch.first)
        && (last.step == stretch.step || stretch.count == 1)
    {
        last.count += stretch.count;
    } else {
        times.push(stretch);
    }
}

fn advanced(stretch: Stretch, passes: i64) -> Stretch {
    let first = stretch.first.saturating_add(stretch.step.saturating_mul(passes));
    Stretch { count: stretch.count - passes, first, step: stretch.step }
}

/// A place in a list of stretches.
struct Cursor<'s> {
    stretches: &'s [Stretch],
    /// Passes of the first that are behind it.
    passed: i64,
}

impl<'s> Cursor<'s> {
    fn new(stretches: &'s [Stretch], skip: i64) -> Self {
        let mut cursor = Cursor { stretches, passed: 0 };
        cursor.advance(skip);
        cursor
    }

    /// What is left of the stretch it stands in.
    fn head(&self) -> Stretch {
        advanced(self.stretches[0], self.passed)
    }

    fn advance(&mut self, passes: i64) {
        self.passed += passes;
        while let [first, rest @ ..] = self.stretches
            && self.passed >= first.count
        {
            self.passed -= first.count;
            self.stretches = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    fn passes(times: &Timeline) -> Vec<i64> {
        let of = |s: &Stretch| (0..s.count).map(|index| s.first + s.step * index).collect::<Vec<_>>();
        times.stretches.iter().flat_map(of).collect()
    }

    fn timeline(seed: u64, length: i64) -> Timeline {
        let mut times = Timeline::default();
        let mut left = length;
        while left > 0 {
            let draw = |key: u64, below: u64| (random::draw(seed, &[left as u64, key]) % below) as i64;
            let count = (draw(0, 9) + 1).min(left);
            times.push(Stretch { count, first: 100 + draw(1, 40), step: draw(2, 9) - 2 });
            left -= count;
        }
        times
    }

    #[test]
    fn it_is_the_greater_of_each_pass() {
        let mut scratch = Timeline::default();
        for seed in 0..3000 {
            let length = 1 + (random::draw(seed, &[99]) % 30) as i64;
            let skip = (random::draw(seed, &[98]) % 7) as i64;
            let mut times = timeline(2 * seed, length);
            let other = timeline(2 * seed + 1, length + skip);
            let wanted: Vec<i64> = passes(&times)
                .into_iter()
                .zip(passes(&other).split_off(skip as usize))
                .map(|(a, b)| a.max(b))
                .collect();
            raise(&mut times, &other, skip, &mut scratch);
            assert_eq!(passes(&times), wanted, "seed {seed}");
            let mut copied = Timeline::default();
            copy(&times, skip.min(length), length - skip.min(length), &mut copied);
            assert_eq!(passes(&copied), wanted[skip.min(length) as usize..], "seed {seed}");
        }
    }
}
