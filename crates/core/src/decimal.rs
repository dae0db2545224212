//! Decimal numbers as written, without a detour through floating point.

/// Beyond every limit of this crate, and far from overflow.
const HUGE: i128 = 10i128.pow(36);
const HUGE_DIGITS: i64 = 36;

/// A decimal number times a power of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaled {
    /// Rounded to the nearest integer, halves to even; at most 10^36 in size.
    pub value: i128,
    /// Whether nothing was lost by rounding.
    pub exact: bool,
}

/// `text` times 10^`power`, where `text` is a JSON number.
pub fn scale(text: &str, power: i64) -> Scaled {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, saturating_exponent(exponent)),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').skip_while(|&digit| digit == 0);
    let count = digits().count() as i64;
    let shift = exponent.saturating_add(power).saturating_sub(fraction.len() as i64);
    let left_of_point = count.saturating_add(shift);
    let scaled = if count == 0 {
        Scaled { value: 0, exact: true }
    } else if left_of_point > HUGE_DIGITS {
        Scaled { value: HUGE, exact: true }
    } else {
        round(digits(), left_of_point, shift)
    };
    Scaled { value: if negative { -scaled.value } else { scaled.value }, ..scaled }
}

fn round(digits: impl Iterator<Item = u8>, left_of_point: i64, shift: i64) -> Scaled {
    let mut value: i128 = 0;
    let mut half = 0; // the first digit right of the point
    let mut beyond_half = false;
    for (index, digit) in digits.enumerate() {
        match (index as i64).cmp(&left_of_point) {
            std::cmp::Ordering::Less => value = value * 10 + i128::from(digit),
            std::cmp::Ordering::Equal => half = digit,
            std::cmp::Ordering::Greater => beyond_half |= digit != 0,
        }
    }
    if shift > 0 {
        value *= 10i128.pow(shift as u32);
    }
    let exact = half == 0 && !beyond_half;
    let up = half > 5 || half == 5 && (beyond_half || value % 2 == 1);
    Scaled { value: value + i128::from(up), exact }
}

fn saturating_exponent(text: &str) -> i64 {
    text.parse().unwrap_or(if text.starts_with('-') { i64::MIN / 4 } else { i64::MAX / 4 })
}

/// Divides times, exactly but for the one rounding at the end.
#[derive(Clone, Copy, Debug)]
pub struct Speedup {
    /// The ratio is `numerator / denominator`, the latter a power of ten.
    numerator: u128,
    denominator: u128,
}

impl Speedup {
    /// None unless between 0.001 and 1,000,000, where products fit 128 bits.
    pub fn new(ratio: f64) -> Option<Self> {
        if !(0.001..=1e6).contains(&ratio) {
            return None;
        }
        let text = ratio.to_string(); // the shortest decimal that reads back as the same number
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        Some(Speedup {
            numerator: format!("{whole}{fraction}").parse().ok()?,
            denominator: 10u128.pow(fraction.len() as u32),
        })
    }

    /// `time_ps / ratio` to the nearest picosecond, halves to even. `time_ps` is not negative.
    pub fn divide(&self, time_ps: i64) -> i128 {
        if self.numerator == self.denominator {
            return i128::from(time_ps);
        }
        let product = time_ps as u128 * self.denominator;
        let (quotient, rest) = (product / self.numerator, product % self.numerator);
        let up = 2 * rest > self.numerator || 2 * rest == self.numerator && quotient % 2 == 1;
        quotient as i128 + i128::from(up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(value: i128) -> Scaled {
        Scaled { value, exact: true }
    }

    fn rounded(value: i128) -> Scaled {
        Scaled { value, exact: false }
    }

    #[test]
    fn decimals_scale_without_loss() {
        assert_eq!(scale("0", 9), exact(0));
        assert_eq!(scale("-0.0", 9), exact(0));
        assert_eq!(scale("0.1", 9), exact(100_000_000));
        assert_eq!(scale("1.5e3", 0), exact(1500));
        assert_eq!(scale("12E-1", 1), exact(12));
        assert_eq!(scale("-3.25", 2), exact(-325));
        assert_eq!(scale("500.0", 0), exact(500));
        assert_eq!(scale("0.000000000000", 0), exact(0));
        assert_eq!(scale("18446744073709551616", 0), exact(1 << 64));
    }

    #[test]
    fn halves_go_to_even() {
        assert_eq!(scale("0.5", 0), rounded(0));
        assert_eq!(scale("1.5", 0), rounded(2));
        assert_eq!(scale("2.5", 0), rounded(2));
        assert_eq!(scale("2.5000001", 0), rounded(3));
        assert_eq!(scale("-2.5000001", 0), rounded(-3));
        assert_eq!(scale("0.30000000000000004", 9), rounded(300_000_000));
        assert_eq!(scale("9e-3", 0), rounded(0));
        assert_eq!(scale("0.00006", 4), rounded(1));
        assert_eq!(scale("0.04", 0), rounded(0));
    }

    #[test]
    fn absurd_exponents_neither_overflow_nor_take_long() {
        assert_eq!(scale("1e999999999999999999999", 9), exact(HUGE));
        assert_eq!(scale("-1e400", 9), exact(-HUGE));
        assert_eq!(scale("1e-999999999999999999999", 9), rounded(0));
        assert_eq!(scale("0e999999999999999999999", 9), exact(0));
        assert_eq!(scale(&"9".repeat(5000), 0), exact(HUGE));
    }

    #[test]
    fn speedup_is_the_decimal_as_written() {
        let tenth_more = Speedup::new(1.1).unwrap();
        assert_eq!(tenth_more.divide(1_100), 1_000);
        assert_eq!(Speedup::new(3.0).unwrap().divide(10), 3);
        assert_eq!(Speedup::new(4.0).unwrap().divide(10), 2); // 2.5, to even
        assert_eq!(Speedup::new(4.0).unwrap().divide(14), 4); // 3.5, to even
        assert_eq!(Speedup::new(0.5).unwrap().divide(7), 14);
        assert_eq!(Speedup::new(0.0012345678901234567).unwrap().divide(i64::MAX) >> 63, 810);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-4, 1e7] {
            assert!(Speedup::new(bad).is_none());
        }
    }
}
