//! Logarithm, exponential and cosine from basic operations only: those of a platform's own library may
//! differ in the last bit from one to the next. All are right to a few units in the last place.

use std::f64::consts::{LN_2, SQRT_2, TAU};

const MANTISSA_BITS: u32 = 52;
const MANTISSA: u64 = (1 << MANTISSA_BITS) - 1;
const EXPONENT_OF_ONE: i64 = 1023;

/// The natural logarithm of a positive, normal number.
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> MANTISSA_BITS) as i64 - EXPONENT_OF_ONE;
    let mut mantissa = f64::from_bits((bits & MANTISSA) | ((EXPONENT_OF_ONE as u64) << MANTISSA_BITS));
    if mantissa > SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), where the fraction is at most 0.172: the terms left out
    // are below 2^-60.
    let fraction = (mantissa - 1.0) / (mantissa + 1.0);
    let square = fraction * fraction;
    let series = (0..12).rev().fold(0.0, |sum, term| sum * square + 1.0 / f64::from(2 * term + 1));
    exponent as f64 * LN_2 + 2.0 * fraction * series
}

/// e to the power of `x`, between -700 and 700; beyond, that of the nearer of the two.
pub fn exp(x: f64) -> f64 {
    /// Few enough bits that its product with an exponent is exact.
    const LN_2_HIGH: f64 = f64::from_bits(LN_2.to_bits() & !0xffff_ffff);
    let x = x.clamp(-700.0, 700.0);
    let exponent = (x / LN_2).round_ties_even();
    // At most ln 2 / 2, where the terms left out are below 2^-57.
    let rest = (x - exponent * LN_2_HIGH) - exponent * (LN_2 - LN_2_HIGH);
    let series = (1..15).rev().fold(1.0, |sum, term| sum * rest / f64::from(term) + 1.0);
    series * f64::from_bits(((exponent as i64 + EXPONENT_OF_ONE) as u64) << MANTISSA_BITS)
}

/// The cosine of an angle in whole turns.
pub fn cos_of_turns(turns: f64) -> f64 {
    let turns = (turns - turns.round_ties_even()).abs(); // at most a half
    // Near the ends of the half-turn the series is short: cos(π - x) = -cos x.
    let (sign, angle) = if turns > 0.25 { (-1.0, (0.5 - turns) * TAU) } else { (1.0, turns * TAU) };
    let square = angle * angle;
    // At most a quarter of a turn: the terms left out are below 2^-60.
    let series = (1..12).rev().fold(1.0, |sum, term| 1.0 - sum * square / f64::from((2 * term - 1) * 2 * term));
    sign * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_agree_with_the_library() {
        for step in 1..20_000 {
            let x = f64::from(step) * 0.037;
            assert!((ln(x) - x.ln()).abs() <= 4e-16 * x.ln().abs().max(1.0), "ln {x}");
            let y = f64::from(step - 10_000) * 0.0697;
            assert!((exp(y) / y.exp() - 1.0).abs() <= 4e-14, "exp {y}");
        }
        for step in -1000..1000 {
            let turns = f64::from(step) * 0.00713;
            assert!((cos_of_turns(turns) - (turns * TAU).cos()).abs() < 4e-14, "cos {turns}");
        }
        assert_eq!((ln(1.0), exp(0.0), cos_of_turns(0.0), cos_of_turns(0.5)), (0.0, 1.0, 1.0, -1.0));
        assert!((ln(2f64.powi(-53)) + 53.0 * LN_2).abs() < 1e-14);
        assert!(exp(1e9).is_finite() && exp(-1e9) > 0.0);
    }
}
