//! DynoSim's KV-aware router: the replica with the least cost of prefill and decode, where a cached
//! prefix lowers the cost ([`cost`]).
//!
//! Loads are what this instance sent and has not seen come back. Caches are what engines tell in
//! their events, or, without events, what was sent there within a time to live.
//!
//! The least cost is found without asking every replica. A tree orders replicas by load, the part of
//! the cost that no request changes; [`places`] lists those that may have a part of the prompt. Of
//! these, from the deepest part up, those are asked that could be the best if they had all of it, the
//! most promising first, until none can be better. The rest have none of it, and the least load decides.

mod cost;
mod held;
mod places;

use super::contents::{Contents, Part};
use super::tree::{Open, Tree, place};
use super::{Fleet, Native, Pick};
use crate::config::KvAware as Config;
use crate::generate::portable::exp;
use crate::random;
use cost::{Cost, Demand, Load};
use held::Held;
use places::Places;
use std::cmp::Reverse;
use std::rc::Rc;

const CACHED: u32 = 0;
const LOAD: u32 = 1;
const DRAWN: u32 = 2;
/// Keeps the draws of temperature apart from those for ties.
const TEMPERATURE: u64 = 1;

pub(super) struct KvAware<'a> {
    contents: Rc<Contents<'a>>,
    cost: Cost,
    temperature: f64,
    tracks_prefill: bool,
    tracks_blocks: bool,
    reuses_blocks: bool,
    uses_overlap: bool,
    /// Without events: how long a prompt is taken to stay cached.
    ttl_ps: Option<i64>,
    seed: u64,
    replicas: u32,
    loads: Vec<Load>,
    by_load: Tree<i128>,
    /// Prompt tokens to compute, for the least of them; only if the credit decays.
    by_prefill: Option<Tree<i128>>,
    places: Places,
    held: Option<Held>,
    /// By request: prompt tokens charged to its replica until its first token.
    charged: Vec<u32>,
    /// The parts of the request in question.
    parts: Vec<Part>,
    /// A buffer.
    open: Open<i128>,
    /// By replica: the last question it was asked.
    asked: Vec<u64>,
    questions: u64,
}

/// The best replica so far.
#[derive(Clone, Copy)]
struct Best {
    cost: i128,
    place: u32,
    replica: u32,
    overlap: u32,
}

impl Best {
    /// The least is taken.
    fn order(&self) -> (i128, u32) {
        (self.cost, self.place)
    }
}

/// What is asked about one request.
#[derive(Clone, Copy)]
struct Question {
    request: u32,
    now_ps: i64,
    demand: Demand,
    /// The part of the cost that is the same everywhere.
    common: i128,
    least_prefill: i128,
    /// Where counting starts among equals.
    first: u32,
}

impl<'a> KvAware<'a> {
    pub(super) fn new(
        config: &Config,
        contents: Rc<Contents<'a>>,
        (requests, replicas): (usize, u32),
        seed: u64,
        batch_tokens: u32,
    ) -> Self {
        let cost = Cost::new(config, contents.block_size);
        let limit = |threshold: f64| (threshold * f64::from(batch_tokens)) as i128;
        KvAware {
            temperature: config.temperature,
            tracks_prefill: config.track_prefill_tokens,
            tracks_blocks: config.track_active_blocks,
            reuses_blocks: config.assume_kv_reuse,
            uses_overlap: config.overlap_score_credit > 0.0 && config.track_prefill_tokens,
            ttl_ps: (!config.use_kv_events).then_some(config.ttl_ps),
            seed,
            replicas,
            loads: vec![Load::default(); replicas as usize],
            by_load: Tree::new(replicas, 0, i128::MAX),
            by_prefill: cost.decays().then(|| Tree::new(replicas, 0, i128::MAX)),
            places: Places::new(contents.segments()),
            held: config.queue_threshold.map(|t| Held::new(config.queue_policy, limit(t), replicas)),
            charged: vec![0; requests],
            parts: Vec::new(),
            open: Open::new(),
            asked: vec![0; replicas as usize],
            questions: 0,
            cost,
            contents,
        }
    }

    fn question(&mut self, request: u32, now_ps: i64) -> Question {
        self.parts.clear();
        self.parts.extend(self.contents.parts(request, u32::MAX));
        self.questions += 1;
        let (tokens, block_size) = (self.contents.input_tokens(request), self.contents.block_size);
        let demand = Demand {
            tokens: if self.tracks_prefill { i128::from(tokens) } else { 0 },
            blocks: if self.tracks_blocks { i128::from(tokens / block_size) } else { 0 },
            request_blocks: i128::from(tokens.div_ceil(block_size)),
        };
        Question {
            request,
            now_ps,
            demand,
            common: self.cost.of_demand(&demand),
            least_prefill: self.by_prefill.as_ref().map_or(0, Tree::least),
            first: (random::draw(self.seed, &[u64::from(request)]) % u64::from(self.replicas)) as u32,
        }
    }

    /// Blocks of the prompt that `replica` is taken to have cached.
    fn overlap(&self, question: &Question, replica: u32, fleet: &Fleet) -> u32 {
        match self.ttl_ps {
            Some(_) => self.places.predicted(&self.parts, replica, question.now_ps),
            None => fleet.workers[replica as usize].cached_blocks(question.request, fleet.now),
        }
    }

    /// The cost at `replica`, and the overlap there.
    fn at(&self, question: &Question, replica: u32, fleet: &Fleet) -> Best {
        let (mut overlap, mut shared) = (0, 0);
        if self.places.may_hold(&self.parts, replica) {
            overlap = self.overlap(question, replica, fleet);
            shared = self.shared(replica);
        }
        let excess_tokens = match self.by_prefill {
            Some(_) => self.loads[replica as usize].prefill_tokens - question.least_prefill,
            None => 0,
        };
        let saved = self.cost.saved(&question.demand, overlap, shared, excess_tokens);
        let place = place(replica, question.first, self.replicas);
        Best { cost: self.by_load.key(replica) + question.common - saved, place, replica, overlap }
    }

    /// Asks a replica, once a question. Returns the overlap there.
    fn ask(&mut self, question: &Question, replica: u32, fleet: &Fleet, best: &mut Option<Best>) -> u32 {
        self.asked[replica as usize] = self.questions;
        let one = self.at(question, replica, fleet);
        if best.is_none_or(|best| one.order() < best.order()) {
            *best = Some(one);
        }
        one.overlap
    }

    fn least_cost(&mut self, question: &Question, fleet: &Fleet) -> Best {
        let mut best = None;
        let prefix_matters = self.uses_overlap || self.tracks_blocks && self.reuses_blocks;
        if prefix_matters {
            for level in (0..self.parts.len()).rev() {
                self.ask_some(question, self.parts[level], fleet, &mut best);
            }
        }
        // The others have nothing of it: the first of them by load is the best of them.
        let mut open = std::mem::take(&mut self.open);
        self.by_load.in_order(&mut open, question.first, |replica, load, place| {
            let one = Best { cost: load + question.common, place, replica, overlap: 0 };
            let better = best.is_none_or(|best| one.order() < best.order());
            if better && prefix_matters && self.places.may_hold(&self.parts, replica) {
                return true; // asked, or passed over for its bound
            }
            if better {
                best = Some(one);
            }
            false
        });
        self.open = open;
        let best = best.expect("there is a replica");
        Best {
            overlap: if prefix_matters { best.overlap } else { self.at(question, best.replica, fleet).overlap },
            ..best
        }
    }

    /// Asks of the replicas that may have `part`, and nothing deeper, those that could be the best:
    /// by bound, until none can be better.
    fn ask_some(&mut self, question: &Question, part: Part, fleet: &Fleet, best: &mut Option<Best>) {
        let rest = question.common - self.cost.saved(&question.demand, part.end, part.end, 0);
        // The most promising one first: what it really costs rules most others out.
        let unasked = |replica: &&u32| self.asked[**replica as usize] != self.questions;
        let holders = self.places.holders(part.segment).iter().filter(unasked);
        let Some(&first) = holders.min_by_key(|&&replica| self.by_load.key(replica)) else { return };
        // The least loaded replica costs no more than this.
        let limit = best.map_or(i128::MAX, |best| best.cost).min(self.by_load.least() + question.common);
        if self.by_load.key(first) + rest > limit {
            return;
        }
        self.ask_and_forget(question, first, part, fleet, best);
        let limit = best.map_or(limit, |best| best.cost);
        let mut bounds = std::mem::take(&mut self.open).into_vec();
        bounds.clear();
        for &replica in self.places.holders(part.segment) {
            let bound = self.by_load.key(replica) + rest;
            if bound <= limit && self.asked[replica as usize] != self.questions {
                bounds.push(Reverse((bound, place(replica, question.first, self.replicas), replica)));
            }
        }
        let mut bounds = Open::from(bounds);
        while let Some(Reverse((bound, place, replica))) = bounds.pop()
            && best.is_none_or(|best| (bound, place) < best.order())
        {
            // What active requests share is known without asking.
            let shared = self.shared(replica).min(part.end);
            let closer = question.common - self.cost.saved(&question.demand, part.end, shared, 0);
            if best.is_none_or(|best| (self.by_load.key(replica) + closer, place) < best.order()) {
                self.ask_and_forget(question, replica, part, fleet, best);
            }
        }
        self.open = bounds;
    }

    fn ask_and_forget(
        &mut self,
        question: &Question,
        replica: u32,
        part: Part,
        fleet: &Fleet,
        best: &mut Option<Best>,
    ) {
        let overlap = self.ask(question, replica, fleet, best);
        if overlap <= part.start {
            self.forget(question, replica, overlap, fleet);
        }
    }

    /// Blocks of the prompt that active requests of `replica` have as well.
    fn shared(&self, replica: u32) -> u32 {
        if self.tracks_blocks && self.reuses_blocks { self.places.active(&self.parts, replica) } else { 0 }
    }

    /// Draws a replica: the softmax of the costs, their range brought to 1 / temperature, as Dynamo does.
    fn drawn(&self, question: &Question, fleet: &Fleet) -> Best {
        let all: Vec<Best> = (0..self.replicas).map(|replica| self.at(question, replica, fleet)).collect();
        let blocks = |best: &Best| best.cost as f64 / self.cost.unit() as f64;
        let least = all.iter().map(blocks).fold(f64::INFINITY, f64::min);
        let most = all.iter().map(blocks).fold(f64::NEG_INFINITY, f64::max);
        let slope = if most > least { (-1.0 / ((most - least) * self.temperature)).max(f64::MIN) } else { 0.0 };
        let weights: Vec<f64> = all.iter().map(|best| exp((blocks(best) - least) * slope)).collect();
        let draw = random::draw(self.seed, &[u64::from(question.request), TEMPERATURE]);
        let mut left = (draw >> 11) as f64 / (1_u64 << 53) as f64 * weights.iter().sum::<f64>();
        let chosen = weights.iter().position(|weight| {
            left -= weight;
            left <= 0.0
        });
        all[chosen.unwrap_or(all.len() - 1)]
    }

    /// Takes a replica, of whose cache `overlap` blocks of the prompt are, off the lists of parts of
    /// which nothing is left there.
    fn forget(&mut self, question: &Question, replica: u32, overlap: u32, fleet: &Fleet) {
        let parts = std::mem::take(&mut self.parts);
        let worker = &fleet.workers[replica as usize];
        let may_cache = |part: &Part| worker.may_cache(question.request, part.segment, overlap > part.start);
        let is_gone = |part: &Part| self.ttl_ps.is_some() || !may_cache(part);
        self.places.forget(&parts, replica, question.now_ps, is_gone);
        self.parts = parts;
    }

    fn change(&mut self, replica: u32, change: impl FnOnce(&mut Load)) {
        let load = &mut self.loads[replica as usize];
        change(load);
        self.by_load.set(replica, self.cost.of_load(load));
        if let Some(tree) = &mut self.by_prefill {
            tree.set(replica, load.prefill_tokens);
        }
        if let Some(held) = &mut self.held {
            held.set_load(replica, load.prefill_tokens);
        }
    }

    /// Blocks of a prompt that are no part of another.
    fn own_blocks(&self, request: u32) -> u32 {
        self.contents.blocks(request) - self.parts.last().map_or(0, |part| part.end)
    }

    fn sent(&mut self, question: &Question, replica: u32, overlap: u32) {
        let counted = self.tracks_blocks && self.reuses_blocks;
        let mut blocks = self.places.sent(&self.parts, replica, counted);
        if counted {
            blocks += self.own_blocks(question.request);
        } else if self.tracks_blocks {
            blocks = self.contents.blocks(question.request);
        }
        if let Some(ttl_ps) = self.ttl_ps {
            self.places.predict(&self.parts, replica, question.now_ps.saturating_add(ttl_ps));
        }
        let new = self.contents.input_tokens(question.request) - overlap * self.contents.block_size;
        let charge = if self.tracks_prefill { new } else { 0 };
        self.charged[question.request as usize] = charge;
        self.change(replica, |load| {
            load.prefill_tokens += i128::from(charge);
            load.blocks += i128::from(blocks);
            load.requests += 1;
        });
    }
}

impl Native for KvAware<'_> {
    fn reasons(&self) -> &'static [&'static str] {
        &["least cost, prefix cached", "least cost, no prefix cached", "drawn by cost"]
    }

    fn pick(&mut self, request: u32, now_ps: i64, fleet: &Fleet) -> Pick {
        let question = self.question(request, now_ps);
        let drawn = self.temperature > 0.0;
        let best = if drawn { self.drawn(&question, fleet) } else { self.least_cost(&question, fleet) };
        self.sent(&question, best.replica, best.overlap);
        let reason = match best.overlap {
            _ if drawn => DRAWN,
            0 => LOAD,
            _ => CACHED,
        };
        Pick { replica: best.replica, reason, overlap_tokens: best.overlap * self.contents.block_size }
    }

    fn hold(&mut self, request: u32, now_ps: i64, fleet: &Fleet) -> bool {
        if !self.held.as_ref().is_some_and(Held::all_busy) {
            return false;
        }
        let mut new_tokens = self.contents.input_tokens(request);
        if self.held.as_ref().is_some_and(Held::wants_new_tokens) {
            let question = self.question(request, now_ps);
            let holders = self.parts.first().map_or(&[][..], |part| self.places.holders(part.segment));
            let most = holders.iter().map(|&replica| self.overlap(&question, replica, fleet)).max().unwrap_or(0);
            new_tokens -= most * self.contents.block_size;
        }
        if let Some(held) = &mut self.held {
            held.push(request, now_ps, new_tokens);
        }
        true
    }

    fn keeps_back(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.is_empty())
    }

    fn release(&mut self) -> Option<u32> {
        self.held.as_mut().and_then(Held::pop)
    }

    fn first_token(&mut self, request: u32, replica: u32) {
        let charge = i128::from(std::mem::take(&mut self.charged[request as usize]));
        self.change(replica, |load| load.prefill_tokens -= charge);
    }

    fn ended(&mut self, request: u32, replica: u32) {
        self.parts.clear();
        self.parts.extend(self.contents.parts(request, u32::MAX));
        let counted = self.tracks_blocks && self.reuses_blocks;
        let mut blocks = self.places.ended(&self.parts, replica, counted);
        if counted {
            blocks += self.own_blocks(request);
        } else if self.tracks_blocks {
            blocks = self.contents.blocks(request);
        }
        let charge = i128::from(std::mem::take(&mut self.charged[request as usize]));
        self.change(replica, |load| {
            load.prefill_tokens -= charge;
            load.blocks -= i128::from(blocks);
            load.requests -= 1;
        });
    }

    fn sent_by_another(&mut self, request: u32, replica: u32) {
        if self.ttl_ps.is_none() {
            self.parts.clear();
            self.parts.extend(self.contents.parts(request, u32::MAX));
            self.places.sent(&self.parts, replica, false);
        }
    }

    fn ended_by_another(&mut self, request: u32, replica: u32) {
        if self.ttl_ps.is_none() {
            self.parts.clear();
            self.parts.extend(self.contents.parts(request, u32::MAX));
            self.places.ended(&self.parts, replica, false);
        }
    }
}

#[cfg(test)]
mod tests;
