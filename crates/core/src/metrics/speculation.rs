//! What drafts came to, and the gaps between bursts of tokens.

use super::{PS_PER_MS, Summary, progressions};
use crate::record::{Gaps, Speculated};

/// Nothing of a run without drafts.
pub(super) fn write(summary: &mut Summary, gaps: &[Gaps], speculated: &Speculated) {
    let Speculated { verifications, drafts, accepted } = *speculated;
    if verifications == 0 {
        return;
    }
    // A pass takes time, so a gap of none is one within a burst.
    let between: Vec<Gaps> = gaps.iter().copied().filter(|gaps| (gaps.start_ps, gaps.step_ps) != (0, 0)).collect();
    summary.stats("chunk_itl_ms", &progressions::stats(&between, PS_PER_MS));
    summary.integer("drafts", drafts);
    summary.integer("accepted_drafts", accepted);
    summary.number("draft_acceptance_rate", accepted as f64 / drafts as f64);
    summary.number("acceptance_length", 1.0 + accepted as f64 / verifications as f64);
}
