//! Conversations: each turn's prompt is the one before, its answer, and what the user adds.

use serde::Deserialize;

use super::draws::Stream;
use super::lengths::{LengthSource, Lengths};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// How many requests a session has.
    pub turns: Lengths,
    /// What each turn after the first adds to the context.
    pub new_tokens: Lengths,
    /// From the end of a turn to the next.
    pub think_time_ms: Lengths,
    /// A session ends early where its next prompt would be longer.
    pub max_context_tokens: Option<u32>,
}

/// Draws the turns of one class's sessions.
pub struct SessionSource {
    turns: LengthSource,
    new_tokens: LengthSource,
    think_time_ms: LengthSource,
    max_context_tokens: u32,
    /// Sessions that their context ended.
    pub ended_by_context: u64,
}

impl SessionSource {
    pub fn new(sessions: &Sessions, seed: u64) -> Self {
        SessionSource {
            turns: LengthSource::new(&sessions.turns, seed, Stream::Turns),
            new_tokens: LengthSource::new(&sessions.new_tokens, seed, Stream::NewTokens),
            think_time_ms: LengthSource::new(&sessions.think_time_ms, seed, Stream::ThinkTime),
            max_context_tokens: sessions.max_context_tokens.unwrap_or(u32::MAX),
            ended_by_context: 0,
        }
    }

    pub fn turns(&mut self, session: u64) -> u32 {
        self.turns.draw(session)
    }

    /// The prompt of the turn after one of `context` tokens, answer included; none where it would be too long.
    pub fn next_prompt(&mut self, turn: u64, context: u64) -> Option<u32> {
        let prompt = context + u64::from(self.new_tokens.draw(turn));
        let fits = prompt <= u64::from(self.max_context_tokens);
        self.ended_by_context += u64::from(!fits);
        fits.then(|| u32::try_from(prompt).ok()).flatten()
    }

    pub fn think_time_ps(&mut self, turn: u64) -> i64 {
        i64::from(self.think_time_ms.draw(turn)) * 1_000_000_000
    }
}
