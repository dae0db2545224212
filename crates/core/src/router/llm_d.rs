//! llm-d's endpoint picker: a weighted sum of scores from 0 to 1, and the replica with the greatest.

use super::recent::Recent;
use super::{Fleet, Native, Pick};
use crate::config::LlmD as Weights;

pub(super) struct LlmD<'a> {
    pub(super) weights: Weights,
    pub(super) block_size: u32,
    /// Prompts sent lately; none if they have no weight.
    pub(super) recent: Option<Recent<'a>>,
    /// Whether views stay the same between two ticks of telemetry.
    pub(super) ticks: bool,
    /// By replica: the scores that views give, and of when they are.
    pub(super) scores: Vec<f64>,
    pub(super) scored_ps: Option<i64>,
    /// By replica: blocks of the prompt in question.
    pub(super) matched: Vec<u32>,
    pub(super) best: Vec<u32>,
    /// Counts the ties, to take those alike in turn.
    pub(super) ties: u32,
}

impl LlmD<'_> {
    fn score_views(&mut self, fleet: &Fleet) {
        self.scored_ps = Some(fleet.seen_ps);
        let shortest = fleet.views.iter().map(|view| view.waiting).min().unwrap_or(0);
        let longest = fleet.views.iter().map(|view| view.waiting).max().unwrap_or(0);
        for (score, view) in self.scores.iter_mut().zip(fleet.views) {
            let queue = match longest - shortest {
                0 => 1.0,
                range => f64::from(longest - view.waiting) / f64::from(range),
            };
            let usage = f64::from(view.used_blocks) / f64::from((view.used_blocks + view.free_blocks).max(1));
            *score = self.weights.queue_scorer_weight * queue
                + self.weights.kv_cache_utilization_scorer_weight * (1.0 - usage);
        }
    }

    /// One of the best: in turn, counting on from tie to tie.
    fn one_of_best(&mut self) -> u32 {
        let alike = self.best.len() as u32;
        if alike == 1 {
            return self.best[0];
        }
        let turn = self.ties % alike;
        self.ties += 1;
        if self.ties >= alike {
            self.ties = 0;
        }
        self.best[turn as usize]
    }
}

impl Native for LlmD<'_> {
    fn reasons(&self) -> &'static [&'static str] {
        &["highest score, prefix sent there", "highest score, no prefix sent there"]
    }

    fn pick(&mut self, request: u32, _now_ps: i64, fleet: &Fleet) -> Pick {
        let mut blocks = 0;
        if let Some(recent) = &self.recent {
            self.matched.fill(0);
            recent.find(request, &mut self.matched);
            blocks = recent.blocks(request);
        }
        if self.scored_ps != Some(fleet.seen_ps) || !self.ticks {
            self.score_views(fleet);
        }
        let mut highest = f64::NEG_INFINITY;
        self.best.clear();
        for (replica, (&of_view, &matched)) in self.scores.iter().zip(&self.matched).enumerate() {
            let prefix = if matched == 0 { 0.0 } else { f64::from(matched) / f64::from(blocks) };
            let score = of_view + self.weights.prefix_cache_scorer_weight * prefix;
            if score > highest {
                highest = score;
                self.best.clear();
            }
            if score == highest {
                self.best.push(replica as u32);
            }
        }
        let replica = self.one_of_best();
        let Some(recent) = &mut self.recent else { return Pick::new(replica, 1) };
        recent.insert(request, replica);
        let matched = self.matched[replica as usize];
        Pick { replica, reason: u32::from(matched == 0), overlap_tokens: matched * self.block_size }
    }
}
