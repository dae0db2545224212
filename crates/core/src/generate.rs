//! Generated workloads: arrivals, lengths, prompts that begin alike, sessions, mixes of classes.
//!
//! Each number is drawn from its own stream by what it is for, and all arithmetic is exact or IEEE
//! basic operations, so that a seed gives the same workload on every platform, and its first n
//! requests whatever comes after them.
//!
//! What arrives is a session: of one turn, unless its class says otherwise. Reading order: `config`
//! says what can be asked; `arrivals` when sessions start; `lengths`, `prefix` and `sessions` what
//! they are; `draws` and `portable` are the numbers below them all.

mod arrivals;
mod config;
mod draws;
mod lengths;
pub(crate) mod portable;
mod prefix;
mod sessions;

use crate::error::InputError;
use crate::random::draw;
use crate::trace::{NONE, Trace};
use crate::workload::{BLOCK_IDS_MAX, Classes, Labels, TOKENS_MAX, Workload};
pub use arrivals::{Arrivals, Gaps, Rate, Step};
pub(crate) use arrivals::{Clock, Piece};
use arrivals::{GapSource, pieces};
pub use config::{Class, Config, Limit};
use draws::Chooser;
pub(crate) use draws::{Draws, Stream};
use lengths::LengthSource;
pub use lengths::Lengths;
use prefix::Prefixes;
pub use prefix::{Choice, Prefix};
use sessions::SessionSource;
pub use sessions::Sessions;

/// Ordinals of draws: later turns are far from all sessions.
const TURN_STRIDE: u64 = 1 << 40;

/// Generates what `config_json`, a `Config`, describes.
///
/// # Errors
/// The description is not one, or its workload exceeds 100 days or the memory set aside for it.
pub fn generate(config_json: &str) -> Result<Workload, InputError> {
    let config = Config::from_json(config_json)?;
    let mut generator = Generator::new(&config);
    match &config.arrivals {
        Arrivals::AtOnce {} => generator.run(&config, |_| Some(0))?,
        Arrivals::Open { gaps, rate } => {
            let gaps = GapSource::new(gaps, config.seed);
            let mut clock: Clock<Box<dyn Iterator<Item = Piece>>> = Clock::new(pieces(rate, config.seed));
            generator.run(&config, |session| clock.advance(gaps.draw(session)))?;
        }
    }
    generator.finish(&config)
}

struct Generator {
    trace: Trace,
    classes: Vec<ClassSource>,
    class_of: Vec<u32>,
    shares: Chooser,
    class_draws: Draws,
    next_id: u32,
}

impl Generator {
    fn new(config: &Config) -> Self {
        let requests = config.requests.unwrap_or(0) as usize;
        let mut block_offsets = Vec::with_capacity(requests + 1);
        block_offsets.push(0);
        let seed_of = |class: usize| match class {
            0 => config.seed,
            _ => draw(config.seed, &[Stream::ClassSeed as u64, class as u64]),
        };
        let source = |(index, class)| ClassSource::new(class, config.block_tokens, seed_of(index));
        Generator {
            trace: Trace {
                arrival_ps: Vec::with_capacity(requests),
                input_tokens: Vec::with_capacity(requests),
                output_tokens: Vec::with_capacity(requests),
                max_output_tokens: Vec::with_capacity(requests),
                priority: Vec::new(),
                after: Vec::with_capacity(requests),
                wait_for: Vec::new(),
                wait_offsets: Vec::new(),
                block_tokens: config.block_tokens,
                block_ids: Vec::new(),
                block_offsets,
            },
            classes: config.classes.iter().enumerate().map(source).collect(),
            class_of: Vec::with_capacity(requests),
            shares: Chooser::new(config.classes.iter().map(|class| class.share)),
            class_draws: Draws::new(config.seed, Stream::Class),
            next_id: 0,
        }
    }

    /// `start_of`: when a session starts; none where that is beyond the horizon.
    fn run(&mut self, config: &Config, mut start_of: impl FnMut(u64) -> Option<i64>) -> Result<(), InputError> {
        let most = config.requests.map_or(NONE as usize - 1, |requests| requests as usize);
        for session in 0.. {
            let left = most - self.trace.len();
            if left == 0 && config.requests.is_some() {
                break;
            }
            if left == 0 {
                return Err(InputError::in_field("duration_s", format!("more than {most} requests; shorten it")));
            }
            let start_ps = match (start_of(session), config.duration_ps) {
                (Some(start_ps), Some(duration_ps)) if start_ps >= duration_ps => break,
                (None, Some(_)) => break,
                (Some(start_ps), _) => start_ps,
                (None, None) => {
                    let message = format!(
                        "session {session} starts after 100 days or never; raise the rate, or ask for fewer requests"
                    );
                    return Err(InputError::in_field("arrivals.rate_per_s", message));
                }
            };
            self.push_session(session, start_ps, left)?;
        }
        if self.trace.is_empty() {
            return Err(InputError::in_field("duration_s", "nothing arrives in it; lengthen it, or raise the rate"));
        }
        Ok(())
    }

    fn push_session(&mut self, session: u64, start_ps: i64, left: usize) -> Result<(), InputError> {
        let class = if self.classes.len() == 1 { 0 } else { self.shares.choose(self.class_draws.uniform(session)) };
        let Generator { trace, classes, class_of, next_id, .. } = self;
        let source = &mut classes[class];
        let own = source.sessions_drawn;
        source.sessions_drawn += 1;
        let turns = source.sessions.as_mut().map_or(1, |sessions| sessions.turns(own)) as usize;
        let turns = turns.min(left);
        let mut input = source.input.draw(own);
        let mut first_id = trace.block_ids.len();
        for turn in 0..turns {
            let ordinal = own + turn as u64 * TURN_STRIDE;
            let (output, limit) = source.output(ordinal);
            let context = u64::from(input) + u64::from(output);
            let next = match &mut source.sessions {
                Some(sessions) if turn + 1 < turns => sessions.next_prompt(ordinal + TURN_STRIDE, context),
                _ => None,
            };
            let (arrival_ps, after) = match (turn, &mut source.sessions) {
                (1.., Some(sessions)) => (sessions.think_time_ps(ordinal), trace.len() as u32 - 1),
                _ => (start_ps, NONE),
            };
            // The next prompt holds the answer: its blocks are named. Of a last answer nobody asks.
            let named = if next.is_some() { context } else { u64::from(input) };
            let named = named.div_ceil(u64::from(trace.block_tokens));
            if trace.block_ids.len() as u64 + named > BLOCK_IDS_MAX {
                let message = format!("over {BLOCK_IDS_MAX} block ids; ask for fewer requests, or larger blocks");
                return Err(InputError::in_field("requests", message));
            }
            let before = first_id;
            first_id = trace.block_ids.len();
            if turn > 0 {
                trace.block_ids.extend_from_within(before..);
            } else if let Some(prefixes) = &mut source.prefixes {
                // What is generated is nobody's prefix.
                let of_prompt = if next.is_some() { input / trace.block_tokens } else { named as u32 };
                prefixes.push(own, of_prompt, next_id, &mut trace.block_ids);
            }
            let new = named as u32 - (trace.block_ids.len() - first_id) as u32;
            trace.block_ids.extend(*next_id..*next_id + new);
            *next_id += new;
            trace.block_offsets.push(trace.block_ids.len() as u64);
            trace.arrival_ps.push(arrival_ps);
            trace.after.push(after);
            trace.input_tokens.push(input);
            trace.output_tokens.push(output);
            trace.max_output_tokens.push(limit);
            class_of.push(class as u32);
            match next {
                Some(next) => input = next,
                None => break,
            }
        }
        Ok(())
    }

    fn finish(mut self, config: &Config) -> Result<Workload, InputError> {
        self.trace.priority = vec![0; self.trace.len()];
        let sum = |of: fn(&ClassSource) -> u64| self.classes.iter().map(of).sum::<u64>();
        let notes = serde_json::json!({
            "format": "generated",
            "seed": config.seed,
            "rows": self.trace.len(),
            "sessions": sum(|class| class.sessions_drawn),
            "sessions_ended_by_max_context_tokens":
                sum(|class| class.sessions.as_ref().map_or(0, |sessions| sessions.ended_by_context)),
            "input_tokens_cut_to_min_or_max": sum(|class| class.input.cut),
            "output_tokens_cut_to_min_or_max": sum(|class| class.output.cut),
            "cut_by_max_output_tokens": sum(|class| class.cut_by_limit),
            "max_output_tokens": if config.classes.iter().all(|class| class.max_output_tokens.is_some()) {
                "given"
            } else {
                "the real output length"
            },
            "with_shared_prefix": sum(|class| class.prefixes.as_ref().map_or(0, |prefixes| prefixes.shared)),
        });
        let names = config.classes.iter().map(|class| class.name.as_deref());
        let classes = names.collect::<Option<_>>().map(|names| Classes { names, of: self.class_of });
        Workload::new(self.trace, Labels { classes, ..Labels::default() }, None, notes)
    }
}

/// Draws the requests of one class. Its n-th session is the same whatever other classes there are.
struct ClassSource {
    input: LengthSource,
    output: LengthSource,
    limit: Option<Limit>,
    cut_by_limit: u64,
    prefixes: Option<Prefixes>,
    sessions: Option<SessionSource>,
    sessions_drawn: u64,
}

impl ClassSource {
    fn new(class: &Class, block_tokens: u32, seed: u64) -> Self {
        ClassSource {
            input: LengthSource::new(&class.input_tokens, seed, Stream::InputTokens),
            output: LengthSource::new(&class.output_tokens, seed, Stream::OutputTokens),
            limit: class.max_output_tokens,
            cut_by_limit: 0,
            prefixes: class.prefix.as_ref().map(|prefix| Prefixes::new(prefix, block_tokens, seed)),
            sessions: class.sessions.as_ref().map(|sessions| SessionSource::new(sessions, seed)),
            sessions_drawn: 0,
        }
    }

    /// The real length and the one asked for.
    fn output(&mut self, ordinal: u64) -> (u32, u32) {
        let output = self.output.draw(ordinal);
        match self.limit {
            None => (output, output),
            Some(Limit::Fixed { tokens }) => {
                self.cut_by_limit += u64::from(output > tokens);
                (output.min(tokens), tokens)
            }
            Some(Limit::Factor { factor }) => {
                let limit = (f64::from(output) * factor).ceil().min(f64::from(TOKENS_MAX));
                (output, limit as u32)
            }
        }
    }
}

#[cfg(test)]
mod tests;
