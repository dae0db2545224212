//! What to generate.

use serde::Deserialize;

use crate::error::InputError;
use crate::workload::{BLOCK_TOKENS_MAX, TOKENS_MAX};

/// Groups have a table each.
const GROUPS_MAX: u32 = 10_000_000;
const REQUESTS_MAX: u32 = 1_000_000_000;
const RATE_MAX: f64 = 1e9;
const EXPONENT_MAX: f64 = 10.0;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub requests: u32,
    #[serde(default)]
    pub seed: u64,
    /// Tokens one block id stands for.
    #[serde(default = "usual_block_tokens")]
    pub block_tokens: u32,
    pub arrivals: Arrivals,
    /// Of the whole prompt, a shared prefix included.
    pub input_tokens: Lengths,
    pub output_tokens: Lengths,
    #[serde(default)]
    pub prefix: Option<Prefix>,
    /// Cuts what is generated; none: each request asks for exactly its real length.
    #[serde(default)]
    pub max_output_tokens: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrivals {
    /// A Poisson process that starts at 0.
    Poisson { rate_per_s: f64 },
    /// All at 0, for a closed loop to send one by one.
    AtOnce {},
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Lengths {
    Constant {
        value: u32,
    },
    /// Lognormal with this median and 99th percentile, rounded, then cut to `min` and `max`.
    Lognormal {
        p50: f64,
        p99: f64,
        #[serde(default = "one")]
        min: u32,
        #[serde(default = "most")]
        max: u32,
    },
}

/// A share of the requests begin with one of `groups` texts of `tokens` tokens, or as much of it as
/// their prompt holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefix {
    pub groups: u32,
    /// A multiple of `block_tokens`: what is shared of a block has no id of its own.
    pub tokens: u32,
    pub share: f64,
    pub choice: Choice,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Choice {
    Uniform {},
    /// The k-th group is chosen in proportion to 1 / k^exponent.
    Zipf {
        exponent: f64,
    },
}

fn usual_block_tokens() -> u32 {
    512
}

fn one() -> u32 {
    1
}

fn most() -> u32 {
    TOKENS_MAX
}

impl Config {
    /// # Errors
    /// `json` is not such a description, or some value is out of range.
    pub fn from_json(json: &str) -> Result<Self, InputError> {
        let config: Config =
            serde_json::from_str(json).map_err(|error| InputError::in_field("workload", error.to_string()))?;
        within("requests", config.requests, 1, REQUESTS_MAX)?;
        within("block_tokens", config.block_tokens, 1, BLOCK_TOKENS_MAX)?;
        if let Arrivals::Poisson { rate_per_s } = config.arrivals {
            above_zero("arrivals.rate_per_s", rate_per_s, RATE_MAX)?;
        }
        config.input_tokens.check("input_tokens", 1)?;
        config.output_tokens.check("output_tokens", 0)?;
        if let Some(limit) = config.max_output_tokens {
            within("max_output_tokens", limit, 0, TOKENS_MAX)?;
        }
        if let Some(prefix) = &config.prefix {
            prefix.check(config.block_tokens)?;
        }
        Ok(config)
    }
}

impl Lengths {
    fn check(&self, field: &str, least: u32) -> Result<(), InputError> {
        match *self {
            Lengths::Constant { value } => within(field, value, least, TOKENS_MAX),
            Lengths::Lognormal { p50, p99, min, max } => {
                above_zero(&format!("{field}.p50"), p50, TOKENS_MAX.into())?;
                above_zero(&format!("{field}.p99"), p99, TOKENS_MAX.into())?;
                within(&format!("{field}.min"), min, least, TOKENS_MAX)?;
                within(&format!("{field}.max"), max, min, TOKENS_MAX)?;
                if p99 < p50 {
                    let message = format!("{p99} is below p50, {p50}");
                    return Err(InputError::in_field(format!("{field}.p99"), message));
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
