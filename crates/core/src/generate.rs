//! Generated workloads: Poisson arrivals, lognormal lengths, prompts that share their beginning.
//!
//! Each number is drawn from its own stream by its request's index, and all arithmetic is exact or
//! IEEE basic operations, so that a seed gives the same workload on every platform, and its first
//! n requests whatever comes after them.

mod config;
pub(crate) mod portable;

use crate::error::InputError;
use crate::random::draw;
use crate::trace::{NONE, Trace};
use crate::workload::{BLOCK_IDS_MAX, HORIZON_PS, Workload};
pub use config::{Arrivals, Choice, Config, Lengths, Prefix};

/// The 99th percentile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326_347_874_040_841;
const PS_PER_S: f64 = 1e12;

/// One a subsystem: what one of them draws does not depend on another's options.
#[derive(Clone, Copy)]
enum Stream {
    Arrivals = 1,
    InputTokens,
    OutputTokens,
    Sharing,
    Group,
}

/// Generates what `config_json`, a `Config`, describes.
///
/// # Errors
/// The description is not one, or its workload exceeds 100 days or the memory set aside for it.
pub fn generate(config_json: &str) -> Result<Workload, InputError> {
    let config = Config::from_json(config_json)?;
    let mut generator = Generator::new(&config);
    for request in 0..config.requests {
        generator.push(u64::from(request))?;
    }
    generator.finish()
}

struct Generator<'c> {
    config: &'c Config,
    trace: Trace,
    time_ps: i64,
    input: LengthSource,
    output: LengthSource,
    prefixes: Option<Prefixes<'c>>,
    next_id: u32,
    cut_by_max_output_tokens: u64,
}

impl<'c> Generator<'c> {
    fn new(config: &'c Config) -> Self {
        let requests = config.requests as usize;
        let mut block_offsets = Vec::with_capacity(requests + 1);
        block_offsets.push(0);
        Generator {
            config,
            trace: Trace {
                arrival_ps: Vec::with_capacity(requests),
                input_tokens: Vec::with_capacity(requests),
                output_tokens: Vec::with_capacity(requests),
                max_output_tokens: Vec::with_capacity(requests),
                priority: vec![0; requests],
                after: vec![NONE; requests],
                block_tokens: config.block_tokens,
                block_ids: Vec::new(),
                block_offsets,
            },
            time_ps: 0,
            input: LengthSource::new(&config.input_tokens, config.seed, Stream::InputTokens),
            output: LengthSource::new(&config.output_tokens, config.seed, Stream::OutputTokens),
            prefixes: config.prefix.as_ref().map(|prefix| Prefixes::new(prefix, config.seed)),
            next_id: 0,
            cut_by_max_output_tokens: 0,
        }
    }

    fn push(&mut self, request: u64) -> Result<(), InputError> {
        let arrival_ps = self.arrival(request)?;
        let input = self.input.draw(request);
        let mut output = self.output.draw(request);
        if let Some(limit) = self.config.max_output_tokens {
            self.cut_by_max_output_tokens += u64::from(output > limit);
            output = output.min(limit);
        }
        self.push_blocks(request, input)?;
        self.trace.arrival_ps.push(arrival_ps);
        self.trace.input_tokens.push(input);
        self.trace.output_tokens.push(output);
        self.trace.max_output_tokens.push(self.config.max_output_tokens.unwrap_or(output));
        Ok(())
    }

    fn arrival(&mut self, request: u64) -> Result<i64, InputError> {
        let Arrivals::Poisson { rate_per_s } = self.config.arrivals else { return Ok(0) };
        let chance = uniform(draw(self.config.seed, &[Stream::Arrivals as u64, request]));
        let gap_ps = -portable::ln(chance) * (PS_PER_S / rate_per_s);
        if self.time_ps as f64 + gap_ps > HORIZON_PS as f64 {
            return Err(InputError::in_field(
                "arrivals.rate_per_s",
                format!("request {request} arrives after 100 days; raise the rate, or ask for fewer requests"),
            ));
        }
        self.time_ps += gap_ps.round_ties_even() as i64;
        Ok(self.time_ps)
    }

    fn push_blocks(&mut self, request: u64, input: u32) -> Result<(), InputError> {
        let blocks = input.div_ceil(self.config.block_tokens);
        let ids = &mut self.trace.block_ids;
        if ids.len() as u64 + u64::from(blocks) > BLOCK_IDS_MAX {
            let message = format!("over {BLOCK_IDS_MAX} block ids; ask for fewer requests, or larger blocks");
            return Err(InputError::in_field("requests", message));
        }
        let mut shared = 0;
        if let Some(group) = self.prefixes.as_mut().and_then(|prefixes| prefixes.group_of(request)) {
            let prefix_blocks =
                self.config.prefix.as_ref().map_or(0, |prefix| prefix.tokens) / self.config.block_tokens;
            shared = blocks.min(prefix_blocks);
            // Only as much of a prefix as some request has is numbered: ids are dense.
            while group.len() < shared as usize {
                group.push(self.next_id);
                self.next_id += 1;
            }
            ids.extend_from_slice(&group[..shared as usize]);
        }
        let own = blocks - shared;
        ids.extend(self.next_id..self.next_id + own);
        self.next_id += own;
        self.trace.block_offsets.push(ids.len() as u64);
        Ok(())
    }

    fn finish(self) -> Result<Workload, InputError> {
        let limited = self.config.max_output_tokens.is_some();
        let notes = serde_json::json!({
            "format": "generated",
            "seed": self.config.seed,
            "rows": self.config.requests,
            "input_tokens_cut_to_min_or_max": self.input.cut,
            "output_tokens_cut_to_min_or_max": self.output.cut,
            "cut_by_max_output_tokens": self.cut_by_max_output_tokens,
            "max_output_tokens": if limited { "given" } else { "the real output length" },
            "with_shared_prefix": self.prefixes.as_ref().map_or(0, |prefixes| prefixes.shared),
        });
        Workload::from_trace(self.trace, notes)
    }
}

/// From above 0 to 1, in steps of 2^-53.
fn uniform(bits: u64) -> f64 {
    ((bits >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// From 0 to `below` - 1.
fn index(bits: u64, below: u64) -> u64 {
    ((u128::from(bits) * u128::from(below)) >> 64) as u64
}

/// A standard normal number by the polar method (Marsaglia, 1962).
fn normal(seed: u64, stream: Stream, request: u64) -> f64 {
    for attempt in 0.. {
        let number = |which: u64| 2.0 * uniform(draw(seed, &[stream as u64, request, 2 * attempt + which])) - 1.0;
        let (x, y) = (number(0), number(1));
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            return x * (-2.0 * portable::ln(square) / square).sqrt();
        }
    }
    unreachable!("more than three of four attempts succeed")
}

struct LengthSource {
    seed: u64,
    stream: Stream,
    median: f64,
    sigma: f64,
    least: u32,
    most: u32,
    /// How many were below or above.
    cut: u64,
}

impl LengthSource {
    fn new(lengths: &Lengths, seed: u64, stream: Stream) -> Self {
        let (median, sigma, least, most) = match *lengths {
            Lengths::Constant { value } => (f64::from(value), 0.0, value, value),
            Lengths::Lognormal { p50, p99, min, max } => (p50, portable::ln(p99 / p50) / NORMAL_P99, min, max),
        };
        LengthSource { seed, stream, median, sigma, least, most, cut: 0 }
    }

    fn draw(&mut self, request: u64) -> u32 {
        if self.least == self.most {
            return self.least;
        }
        let length = self.median * portable::exp(self.sigma * normal(self.seed, self.stream, request));
        let length = length.round_ties_even();
        let within = length.clamp(f64::from(self.least), f64::from(self.most));
        self.cut += u64::from(within != length);
        within as u32
    }
}

/// The groups of requests that begin alike.
struct Prefixes<'c> {
    prefix: &'c Prefix,
    seed: u64,
    /// The block ids of each group's prefix, as far as some request has it.
    groups: Vec<Vec<u32>>,
    /// With Zipf's law: the sums of the first weights; else empty.
    weights: Vec<f64>,
    shared: u64,
}

impl<'c> Prefixes<'c> {
    fn new(prefix: &'c Prefix, seed: u64) -> Self {
        let mut total = 0.0;
        let weights = match prefix.choice {
            Choice::Uniform {} => Vec::new(),
            Choice::Zipf { exponent } => (1..=prefix.groups)
                .map(|rank| {
                    total += portable::exp(-exponent * portable::ln(f64::from(rank)));
                    total
                })
                .collect(),
        };
        Prefixes { prefix, seed, groups: vec![Vec::new(); prefix.groups as usize], weights, shared: 0 }
    }

    fn group_of(&mut self, request: u64) -> Option<&mut Vec<u32>> {
        if uniform(draw(self.seed, &[Stream::Sharing as u64, request])) > self.prefix.share {
            return None;
        }
        self.shared += 1;
        let bits = draw(self.seed, &[Stream::Group as u64, request]);
        let group = match self.weights.last() {
            None => index(bits, self.groups.len() as u64) as usize,
            Some(total) => {
                let place = uniform(bits) * total;
                self.weights.partition_point(|&sum| sum < place).min(self.weights.len() - 1)
            }
        };
        Some(&mut self.groups[group])
    }
}

#[cfg(test)]
mod tests;
