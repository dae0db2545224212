//! What to generate.

use serde::Deserialize;

use super::arrivals::{Arrivals, Rate, Step};
use super::lengths::Lengths;
use super::prefix::{Choice, Prefix};
use super::sessions::Sessions;
use crate::error::InputError;
use crate::workload::{BLOCK_TOKENS_MAX, HORIZON_PS, TOKENS_MAX};

/// Groups have a table each.
const GROUPS_MAX: u32 = 10_000_000;
const REQUESTS_MAX: u32 = 1_000_000_000;
const RATE_MAX: f64 = 1e9;
const EXPONENT_MAX: f64 = 10.0;
const FACTOR_MAX: f64 = 1e6;
/// Shares are decimals that somebody typed: they add up to 1 but for rounding.
const SHARES_TOLERANCE: f64 = 1e-6;
/// The shape of a gamma distribution is 1 / cv².
const CV_RANGE: (f64, f64) = (0.001, 1000.0);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Later turns of sessions included; none: whoever arrives before `duration_ps`.
    pub requests: Option<u32>,
    /// No session starts at or after it.
    pub duration_ps: Option<i64>,
    #[serde(default)]
    pub seed: u64,
    /// Tokens one block id stands for.
    #[serde(default = "usual_block_tokens")]
    pub block_tokens: u32,
    pub arrivals: Arrivals,
    /// At least one; what arrives is of each by its share.
    pub classes: Vec<Class>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// None only where there is no other.
    pub name: Option<String>,
    #[serde(default = "whole")]
    pub share: f64,
    /// Of the whole prompt, a shared prefix included; with sessions, of the first turn's.
    pub input_tokens: Lengths,
    pub output_tokens: Lengths,
    /// None: each request asks for exactly its real length.
    pub max_output_tokens: Option<Limit>,
    pub prefix: Option<Prefix>,
    pub sessions: Option<Sessions>,
}

/// What clients ask for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Limit {
    /// Cuts what is generated.
    Fixed { tokens: u32 },
    /// So many times the real length, rounded up.
    Factor { factor: f64 },
}

fn usual_block_tokens() -> u32 {
    512
}

fn whole() -> f64 {
    1.0
}

impl Config {
    /// # Errors
    /// `json` is not such a description, or some value is out of range.
    pub fn from_json(json: &str) -> Result<Self, InputError> {
        let config: Config =
            serde_json::from_str(json).map_err(|error| InputError::in_field("workload", error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), InputError> {
        match (self.requests, self.duration_ps) {
            (None, None) => return Err(InputError::in_field("requests", "neither these nor a duration is given")),
            (None, Some(_)) if matches!(self.arrivals, Arrivals::AtOnce {}) => {
                return Err(InputError::in_field("requests", "missing; all arrive at once, whatever the duration"));
            }
            _ => {}
        }
        if let Some(requests) = self.requests {
            within("requests", requests, 1, REQUESTS_MAX)?;
        }
        if let Some(duration_ps) = self.duration_ps.filter(|duration_ps| !(1..=HORIZON_PS).contains(duration_ps)) {
            let message = format!("{duration_ps} ps is not above 0 and at most 100 days");
            return Err(InputError::in_field("duration_s", message));
        }
        within("block_tokens", self.block_tokens, 1, BLOCK_TOKENS_MAX)?;
        if let Arrivals::Open { gaps, rate } = &self.arrivals {
            if let Some(cv) = gaps.cv.filter(|cv| !(CV_RANGE.0..=CV_RANGE.1).contains(cv)) {
                let message = format!("{cv} is not between {} and {}", CV_RANGE.0, CV_RANGE.1);
                return Err(InputError::in_field("arrivals.cv", message));
            }
            rate.check()?;
        }
        let shares: f64 = self.classes.iter().map(|class| class.share).sum();
        if self.classes.is_empty() || (shares - 1.0).abs() > SHARES_TOLERANCE {
            let message = format!("the shares add up to {shares}, not to 1");
            return Err(InputError::in_field("classes", message));
        }
        for class in &self.classes {
            let prefix = match &class.name {
                Some(name) => format!("classes.{name}."),
                None if self.classes.len() == 1 => String::new(),
                None => return Err(InputError::in_field("classes", "one of several has no name")),
            };
            class
                .check(self.block_tokens)
                .map_err(|error| InputError { field: error.field.map(|field| format!("{prefix}{field}")), ..error })?;
        }
        Ok(())
    }
}

impl Class {
    fn check(&self, block_tokens: u32) -> Result<(), InputError> {
        above_zero("share", self.share, 1.0 + SHARES_TOLERANCE)?;
        self.input_tokens.check("input_tokens", 1)?;
        self.output_tokens.check("output_tokens", 0)?;
        match self.max_output_tokens {
            Some(Limit::Fixed { tokens }) => within("max_output_tokens", tokens, 0, TOKENS_MAX)?,
            Some(Limit::Factor { factor }) if !(1.0..=FACTOR_MAX).contains(&factor) => {
                let message = format!("{factor} is not between 1 and {FACTOR_MAX}");
                return Err(InputError::in_field("max_output_tokens.factor", message));
            }
            _ => {}
        }
        if let Some(prefix) = &self.prefix {
            prefix.check(block_tokens)?;
        }
        if let Some(sessions) = &self.sessions {
            sessions.turns.check("sessions.turns", 1)?;
            sessions.new_tokens.check("sessions.new_tokens", 1)?;
            sessions.think_time_ms.check("sessions.think_time_s", 0)?;
            if let Some(most) = sessions.max_context_tokens {
                within("sessions.max_context_tokens", most, 1, TOKENS_MAX)?;
            }
        }
        Ok(())
    }
}

impl Rate {
    fn check(&self) -> Result<(), InputError> {
        match self {
            Rate::Constant { per_s } => above_zero("arrivals.rate_per_s", *per_s, RATE_MAX),
            Rate::OnOff { on_per_s, off_per_s, on_s, off_s } => {
                above_zero("arrivals.on_rate_per_s", *on_per_s, RATE_MAX)?;
                not_negative("arrivals.off_rate_per_s", *off_per_s, RATE_MAX)?;
                above_zero("arrivals.on_s", *on_s, seconds(HORIZON_PS))?;
                above_zero("arrivals.off_s", *off_s, seconds(HORIZON_PS))
            }
            Rate::Diurnal { low_per_s, high_per_s, high_at_s, day_s } => {
                not_negative("arrivals.low_rate_per_s", *low_per_s, RATE_MAX)?;
                above_zero("arrivals.high_rate_per_s", *high_per_s, RATE_MAX)?;
                if low_per_s > high_per_s {
                    let message = format!("{low_per_s} is above high_rate_per_s, {high_per_s}");
                    return Err(InputError::in_field("arrivals.low_rate_per_s", message));
                }
                above_zero("arrivals.day_s", *day_s, seconds(HORIZON_PS))?;
                not_negative("arrivals.high_at_s", *high_at_s, *day_s)
            }
            Rate::Steps { steps } => check_steps(steps),
        }
    }
}

fn check_steps(steps: &[Step]) -> Result<(), InputError> {
    let fault = |message: String| Err(InputError::in_field("arrivals.steps", message));
    if steps.first().is_none_or(|step| step.at_s != 0.0) {
        return fault("the first is not at 0 seconds".to_owned());
    }
    if let Some(pair) = steps.windows(2).find(|pair| pair[1].at_s <= pair[0].at_s) {
        return fault(format!("one at {} s follows one at {} s", pair[1].at_s, pair[0].at_s));
    }
    for step in steps {
        above_zero("arrivals.steps", step.at_s + 1.0, seconds(HORIZON_PS))?;
        not_negative("arrivals.steps", step.rate_per_s, RATE_MAX)?;
    }
    if steps.iter().all(|step| step.rate_per_s == 0.0) {
        return fault("nothing ever arrives: all rates are 0".to_owned());
    }
    Ok(())
}

impl Lengths {
    pub(super) fn check(&self, field: &str, least: u32) -> Result<(), InputError> {
        match self {
            Lengths::Constant { value } => within(field, *value, least, TOKENS_MAX),
            Lengths::Lognormal { p50, p99, min, max } => {
                above_zero(&format!("{field}.p50"), *p50, TOKENS_MAX.into())?;
                above_zero(&format!("{field}.p99"), *p99, TOKENS_MAX.into())?;
                within(&format!("{field}.min"), *min, least, TOKENS_MAX)?;
                within(&format!("{field}.max"), *max, *min, TOKENS_MAX)?;
                if p99 < p50 {
                    let message = format!("{p99} is below p50, {p50}");
                    return Err(InputError::in_field(format!("{field}.p99"), message));
                }
                Ok(())
            }
            Lengths::Empirical { values, weights } => {
                let (list, heavy) = (format!("{field}.values"), format!("{field}.weights"));
                if values.is_empty() {
                    return Err(InputError::in_field(list, "empty; nothing can be drawn from it"));
                }
                for &value in values {
                    within(&list, value, least, TOKENS_MAX)?;
                }
                let Some(weights) = weights else { return Ok(()) };
                if weights.len() != values.len() {
                    let message = format!("{} of them for {} values", weights.len(), values.len());
                    return Err(InputError::in_field(heavy, message));
                }
                for &weight in weights {
                    not_negative(&heavy, weight, f64::MAX / values.len() as f64)?;
                }
                if weights.iter().all(|&weight| weight == 0.0) {
                    return Err(InputError::in_field(heavy, "all are 0; nothing can be drawn"));
                }
                Ok(())
            }
        }
    }
}

impl Prefix {
    fn check(&self, block_tokens: u32) -> Result<(), InputError> {
        within("prefix.groups", self.groups, 1, GROUPS_MAX)?;
        within("prefix.tokens", self.tokens, 1, TOKENS_MAX)?;
        above_zero("prefix.share", self.share, 1.0)?;
        if let Choice::Zipf { exponent } = self.choice {
            above_zero("prefix.choice.exponent", exponent, EXPONENT_MAX)?;
        }
        if !self.tokens.is_multiple_of(block_tokens) {
            let message = format!(
                "{} is no multiple of block_tokens, {block_tokens}; a block shared in part is not shared",
                self.tokens
            );
            return Err(InputError::in_field("prefix.tokens", message));
        }
        Ok(())
    }
}

fn seconds(time_ps: i64) -> f64 {
    time_ps as f64 / 1e12
}

fn within(field: &str, value: u32, least: u32, most: u32) -> Result<(), InputError> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(InputError::in_field(field, format!("{value} is not between {least} and {most}")))
    }
}

fn above_zero(field: &str, value: f64, most: f64) -> Result<(), InputError> {
    if value > 0.0 && value <= most {
        Ok(())
    } else {
        Err(InputError::in_field(field, format!("{value} is not above 0 and at most {most}")))
    }
}

fn not_negative(field: &str, value: f64, most: f64) -> Result<(), InputError> {
    if (0.0..=most).contains(&value) {
        Ok(())
    } else {
        Err(InputError::in_field(field, format!("{value} is not between 0 and {most}")))
    }
}
