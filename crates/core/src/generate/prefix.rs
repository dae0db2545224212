//! Prompts that begin alike.

use serde::Deserialize;

use super::draws::{Chooser, Draws, Stream};
use super::portable;

/// A share of the sessions begin with one of `groups` texts of `tokens` tokens, or as much of it as
/// their first prompt holds.
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

/// The groups of one class.
pub struct Prefixes {
    share: f64,
    blocks: u32,
    /// The block ids of each group's prefix, as far as some prompt has it.
    groups: Vec<Vec<u32>>,
    popularity: Option<Chooser>,
    sharing: Draws,
    group: Draws,
    pub shared: u64,
}

impl Prefixes {
    pub fn new(prefix: &Prefix, block_tokens: u32, seed: u64) -> Self {
        let weight = |exponent: f64| move |rank| portable::exp(-exponent * portable::ln(f64::from(rank)));
        Prefixes {
            share: prefix.share,
            blocks: prefix.tokens / block_tokens,
            groups: vec![Vec::new(); prefix.groups as usize],
            popularity: match prefix.choice {
                Choice::Uniform {} => None,
                Choice::Zipf { exponent } => Some(Chooser::new((1..=prefix.groups).map(weight(exponent)))),
            },
            sharing: Draws::new(seed, Stream::Sharing),
            group: Draws::new(seed, Stream::Group),
            shared: 0,
        }
    }

    /// Appends the ids of what `session` shares with others, at most `most` of them.
    pub fn push(&mut self, session: u64, most: u32, next_id: &mut u32, ids: &mut Vec<u32>) {
        if self.sharing.uniform(session) > self.share {
            return;
        }
        self.shared += 1;
        let group = match &self.popularity {
            None => self.group.index(session, self.groups.len() as u64) as usize,
            Some(popularity) => popularity.choose(self.group.uniform(session)),
        };
        let group = &mut self.groups[group];
        let shared = most.min(self.blocks) as usize;
        // Only as much of a prefix as some prompt has is numbered: ids are dense.
        while group.len() < shared {
            group.push(*next_id);
            *next_id += 1;
        }
        ids.extend_from_slice(&group[..shared]);
    }
}
