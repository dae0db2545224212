//! Speculative decoding, as every engine describes it.

use super::fault;
use crate::draws::Draws;
use crate::error::InputError;
use serde::Deserialize;
use std::sync::OnceLock;

/// More drafts than any engine verifies in a pass.
const DRAFTS_MAX: u32 = 64;
/// More outcomes than a table needs.
const OUTCOMES_MAX: u64 = 1 << 20;

/// How many drafts of a verifying pass are accepted.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Acceptance {
    /// The numbers of `pattern` in turn, per request.
    Cycle { pattern: Vec<u32> },
    /// From a table of outcomes.
    Drawn(Drawn),
}

/// A table in which `counts[a]` outcomes accept `a` drafts, in an order that `seed` decides. A
/// request starts somewhere in it and takes one outcome a verifying pass.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drawn {
    counts: Vec<u32>,
    seed: u64,
    /// By the most drafts a pass verifies; made when first asked for.
    #[serde(skip)]
    tables: OnceLock<Vec<OnceLock<Draws>>>,
}

impl Drawn {
    /// The most drafts that can be accepted.
    pub fn longest(&self) -> u32 {
        self.counts.len() as u32 - 1
    }

    /// Tokens that passes give which verify at most `drafts` drafts in a row.
    pub fn draws(&self, drafts: u32) -> &Draws {
        let tables = self.tables.get_or_init(|| vec![OnceLock::new(); self.counts.len()]);
        tables[drafts as usize].get_or_init(|| Draws::new(&self.counts, drafts, self.seed))
    }
}

/// Of `drafts` drafts a pass, of which perhaps only some follow each other.
///
/// # Errors
/// As [`super::check`].
pub(super) fn check(drafts: u32, acceptance: Option<&Acceptance>) -> Result<(), InputError> {
    fault(drafts > DRAFTS_MAX, "drafts are above 64")?;
    fault((drafts > 0) != acceptance.is_some(), "acceptance goes with drafts")?;
    match acceptance {
        None => Ok(()),
        Some(Acceptance::Cycle { pattern }) => fault(pattern.is_empty(), "acceptance.pattern is empty"),
        Some(Acceptance::Drawn(Drawn { counts, .. })) => {
            let outcomes: u64 = counts.iter().map(|&count| u64::from(count)).sum();
            fault(counts.is_empty(), "acceptance.counts is empty")?;
            fault(counts.len() > drafts as usize + 1, "acceptance.counts accept more than there are drafts")?;
            fault(outcomes == 0 || outcomes > OUTCOMES_MAX, "acceptance.counts add up to 1 to 2^20")
        }
    }
}
