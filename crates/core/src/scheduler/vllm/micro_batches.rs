//! Pipeline stages: passes follow each other through them, and as many micro-batches take turns.
//!
//! Pass n is decided when the results of pass n - stages are in or, with async scheduling, one pass
//! sooner (`step_with_batch_queue` in vllm/v1/engine/core.py). So a row that decodes is in every
//! `stages`-th pass, and rows whose numbers of passes agree are a batch of their own: with its decode
//! set and its counter, and in the rest of the scheduler as if it were the only one. It takes its turn
//! by changing places with the one before. Blocks, the queue, the order of preemption and the limit on
//! requests are one for all; so are rows whose prompts are being computed, which may be in any pass.

use super::Vllm;
use super::row::State;
use crate::decode_set::DecodeSet;
use crate::gaps::GapList;
use crate::scheduler::turns::Parked;
use crate::scheduler::vllm::speculation;
use crate::scheduler::{Pass, Turns};

pub(super) struct MicroBatches<'a> {
    parked: Parked<MicroBatch<'a>>,
    /// Rows of the decode set, in the order of the batch.
    members: Vec<u32>,
    /// The number of the pass whose decision or results are at hand.
    pass: u64,
    /// That of the pass that is decided next.
    next: u64,
    /// That of the last pass with anything in it whose results are in.
    ended: Option<u64>,
    /// Rows in the queue with a token or a part of a prompt on its way, and the pass it comes with: they
    /// are passed over (vLLM: num_stale_output_tokens).
    stale: Vec<(u32, u64)>,
}

struct MicroBatch<'a> {
    decoding: DecodeSet<'a>,
    members: Vec<u32>,
    draining: Vec<u32>,
    left_out: Vec<u32>,
    k: u64,
    updated: u64,
    gaps: GapList,
}

impl<'a> MicroBatches<'a> {
    pub(super) fn new(vllm: &Vllm<'a>, count: u64, gap_limit: usize) -> Self {
        let batch = || MicroBatch {
            decoding: speculation::decode_set(vllm.s.engine, 0, vllm.s.prices_longest()),
            members: Vec::new(),
            draining: Vec::new(),
            left_out: Vec::new(),
            k: 0,
            updated: 0,
            gaps: GapList::new(gap_limit),
        };
        let parked = Parked::new(count, batch);
        MicroBatches { parked, members: Vec::new(), pass: 0, next: 0, ended: None, stale: Vec::new() }
    }
}

impl<'a> Vllm<'a> {
    /// The next pass is decided. What the pass before left out has nothing on its way: it may be in this one,
    /// and changes its micro-batch.
    fn change_batch(&mut self, before: usize, turn: usize) {
        let Some(micro) = &self.micro else { return };
        let left_out =
            if before == micro.parked.turn { &self.left_out } else { &micro.parked.batches[before].left_out };
        let mut wandering = Vec::new();
        if !left_out.is_empty() && before != turn {
            self.turn_to_batch(before);
            for slot in std::mem::take(&mut self.left_out) {
                if self.is_member(slot) {
                    let row = &self.rows[slot as usize];
                    wandering.push((slot, row.finish_at - self.k));
                    self.decoding.remove(row.member(slot));
                    self.forget_member(slot);
                }
            }
        }
        self.turn_to_batch(turn);
        for (slot, left) in wandering {
            let row = &mut self.rows[slot as usize];
            (row.finish_at, row.left_out_at) = (self.k + left, self.k);
            self.decoding.insert(row.member(slot));
            self.note_member(slot);
            self.left_out.push(slot);
        }
    }

    fn turn_to_batch(&mut self, turn: usize) {
        let Some(mut micro) = self.micro.take() else { return };
        if micro.parked.turn != turn {
            let before = micro.parked.turn;
            self.change_places(&mut micro.parked.batches[before], &mut micro.members);
            self.change_places(&mut micro.parked.batches[turn], &mut micro.members);
            micro.parked.turn = turn;
        }
        self.micro = Some(micro);
    }

    /// What of the scheduler's state is one micro-batch's alone goes into `other`, and that of `other` comes.
    fn change_places(&mut self, other: &mut MicroBatch<'a>, members: &mut Vec<u32>) {
        let rows = &self.rows;
        let leaving = |slot: &u32| rows[*slot as usize].state == State::Draining;
        let (draining, explicit): (Vec<u32>, Vec<u32>) = self.explicit.iter().partition(|&slot| leaving(slot));
        self.explicit = explicit;
        for slot in std::mem::replace(&mut other.draining, draining) {
            let position = self.explicit_before(self.rows[slot as usize].order);
            self.explicit.insert(position, slot);
        }
        std::mem::swap(&mut self.decoding, &mut other.decoding);
        std::mem::swap(members, &mut other.members);
        std::mem::swap(&mut self.left_out, &mut other.left_out);
        std::mem::swap(&mut self.k, &mut other.k);
        std::mem::swap(&mut self.updated, &mut other.updated);
        std::mem::swap(&mut self.gaps, &mut other.gaps);
    }

    /// The micro-batch whose turn it is; 0 if there is one batch.
    pub(super) fn turn(&self) -> usize {
        self.micro.as_ref().map_or(0, |micro| micro.parked.turn)
    }

    /// Acts on a row of any micro-batch as if it were its turn.
    pub(super) fn in_its_turn(&mut self, slot: u32, act: impl FnOnce(&mut Self)) {
        let row = &self.rows[slot as usize];
        let (turn, its) = (self.turn(), row.micro_batch as usize);
        let elsewhere = its != turn && matches!(row.state, State::Decoding | State::Draining);
        if elsewhere {
            self.turn_to_batch(its);
        }
        act(self);
        if elsewhere {
            self.turn_to_batch(turn);
        }
    }

    /// A row joins the decode set.
    pub(super) fn note_member(&mut self, slot: u32) {
        if let Some(micro) = &mut self.micro {
            self.rows[slot as usize].micro_batch = micro.parked.turn as u32;
            let order = self.rows[slot as usize].order;
            let position = micro.members.partition_point(|&other| self.rows[other as usize].order < order);
            micro.members.insert(position, slot);
        }
    }

    /// Whether a row decodes, and in the micro-batch whose turn it is.
    fn is_member(&self, slot: u32) -> bool {
        let order = self.rows[slot as usize].order;
        self.micro.as_ref().is_some_and(|micro| {
            let position = micro.members.partition_point(|&other| self.rows[other as usize].order < order);
            micro.members.get(position) == Some(&slot)
        })
    }

    /// A row leaves it.
    pub(super) fn forget_member(&mut self, slot: u32) {
        if let Some(micro) = &mut self.micro {
            let order = self.rows[slot as usize].order;
            let position = micro.members.partition_point(|&other| self.rows[other as usize].order < order);
            debug_assert_eq!(micro.members[position], slot);
            micro.members.remove(position);
        }
    }

    /// Rows of the decode set before `order`.
    pub(super) fn decoding_before(&self, order: u64) -> i64 {
        match &self.micro {
            None => (self.position(order) - self.explicit_before(order)) as i64,
            Some(micro) => micro.members.partition_point(|&slot| self.rows[slot as usize].order < order) as i64,
        }
    }

    /// Of several micro-batches, the order of the `index`-th row of the decode set.
    pub(super) fn member_order(&self, index: i64) -> Option<u64> {
        let micro = self.micro.as_ref()?;
        micro.members.get(index as usize).map(|&slot| self.rows[slot as usize].order)
    }

    /// Whether a row decodes in this micro-batch.
    pub(super) fn decodes_here(&self, slot: u32) -> bool {
        let row = &self.rows[slot as usize];
        row.state == State::Decoding && (self.micro.is_none() || row.micro_batch as usize == self.turn())
    }

    /// What a row notes of a pass that is being decided.
    pub(super) fn pass_mark(&self) -> u64 {
        self.micro.as_ref().map_or(self.k + 1, |micro| micro.pass + 1)
    }

    /// The counters of the micro-batch of a decoding row: passes scheduled, and those whose results are in.
    pub(super) fn counters_of(&self, slot: u32) -> (u64, u64) {
        let its = self.rows[slot as usize].micro_batch as usize;
        match &self.micro {
            Some(micro) if its != micro.parked.turn => (micro.parked.batches[its].k, micro.parked.batches[its].updated),
            _ => (self.k, self.updated),
        }
    }

    /// A row went back to the queue, from the micro-batch whose turn it is if it decoded. Until the results
    /// of the last pass that it had a part in are in, it stays there.
    pub(super) fn note_stale(&mut self, slot: u32, token_on_way: bool) {
        let Some(micro) = &mut self.micro else { return };
        let count = micro.parked.batches.len() as u64;
        let last = match token_on_way {
            // Its micro-batch had its last turn so many passes ago.
            true => micro.pass - 1 - (micro.pass - 1 - micro.parked.turn as u64) % count,
            false => match self.rows[slot as usize].last_pass {
                u64::MAX | 0 => return,
                mark => mark - 1,
            },
        };
        if micro.ended.is_none_or(|ended| last > ended) {
            micro.stale.push((slot, last));
        }
    }

    /// Whether a request in the queue has something on its way.
    pub(super) fn is_stale(&self, slot: Option<u32>) -> bool {
        let Some(micro) = &self.micro else { return false };
        !micro.stale.is_empty() && slot.is_some_and(|slot| micro.stale.iter().any(|&(other, _)| other == slot))
    }

    /// The results of the pass turned to are in.
    pub(super) fn end_stale(&mut self) {
        let Some(micro) = &mut self.micro else { return };
        micro.ended = Some(micro.pass);
        if !micro.stale.is_empty() {
            let ended = micro.pass;
            micro.stale.retain(|&(_, last)| last > ended);
            self.head_blocked = false;
        }
    }

    /// Rows of the batch in the other micro-batches.
    pub(super) fn rows_parked(&self) -> usize {
        let others = self.micro.iter().flat_map(|micro| micro.parked.others());
        others.map(|other| other.decoding.len() + other.draining.len()).sum()
    }

    /// Gaps of each micro-batch.
    pub(super) fn gap_lists(&mut self) -> Vec<GapList> {
        let others = self.micro.take().into_iter().flat_map(|micro| micro.parked.into_others());
        let own = std::mem::replace(&mut self.gaps, GapList::new(0));
        std::iter::once(own).chain(others.map(|batch| batch.gaps)).collect()
    }

    /// Blocks that the next `passes` quiet passes take.
    pub(super) fn demand_of_micro_batches(&self, passes: i64) -> u32 {
        self.micro.as_ref().map_or(0, |micro| self.demand_from(micro.next, passes) as u32)
    }
}

impl<'a> Turns<'a> for Vllm<'a> {
    fn micro_batches(&self) -> u64 {
        self.s.micro_batches()
    }

    fn batch_of(&self, pass: u64) -> (&DecodeSet<'a>, u64) {
        match self.micro.as_ref().and_then(|micro| micro.parked.elsewhere(pass)) {
            Some(other) => (&other.decoding, other.k),
            None => (&self.decoding, self.k),
        }
    }

    fn turn_to(&mut self, pass: u64) {
        let Some(micro) = &mut self.micro else { return };
        let (turn, is_decision) = (micro.parked.of(pass), pass >= micro.next);
        micro.pass = pass;
        if is_decision {
            micro.next = pass + 1;
            let before = micro.parked.of(pass.wrapping_sub(1).min(pass));
            self.change_batch(before, turn);
        } else {
            self.turn_to_batch(turn);
        }
    }

    fn quiet_passes(&self, pass: u64) -> i64 {
        let Some(micro) = &self.micro else { return 0 };
        let engine = self.s.engine;
        let full = self.running.len() >= engine.max_num_seqs as usize;
        let wide = |rows: usize| rows > engine.max_num_batched_tokens as usize;
        if !self.waiting.is_empty() && !self.head_blocked && !full
            || !self.explicit.is_empty()
            || !self.late.is_empty()
            || !self.left_out.is_empty()
            || !micro.stale.is_empty()
            || wide(self.decoding.len())
            || micro
                .parked
                .others()
                .any(|other| !other.draining.is_empty() || !other.left_out.is_empty() || wide(other.decoding.len()))
            || self.s.log_passes
            || self.s.log_blocks
            || self.s.chains.generated_is_shared()
        {
            return 0;
        }
        let most = (self.s.max_passes - self.passes).min(i64::MAX as u64) as i64;
        self.passes_that_fit(pass, self.passes_to_an_end(pass, most), i64::from(self.pool.free()))
    }

    fn skip(&mut self, pass: u64, passes: i64) {
        let demand = self.demand_from(pass, passes);
        self.pool.take_unassigned(demand as u32);
        let Some(micro) = &mut self.micro else { return };
        let count = micro.parked.batches.len() as i64;
        let mut decided = 0;
        for ahead in 0..count {
            let its = ((passes - ahead + count - 1) / count).max(0);
            let index = micro.parked.of(pass + ahead as u64);
            let (is_empty, k) = match index == micro.parked.turn {
                true => (self.decoding.is_empty(), &mut self.k),
                false => (micro.parked.batches[index].decoding.is_empty(), &mut micro.parked.batches[index].k),
            };
            if !is_empty {
                *k += its as u64;
                decided += its;
            }
        }
        micro.next = pass + passes as u64;
        self.passes += decided as u64;
        self.leaps += 1;
        self.idle_passes = 0;
        self.preempting = false;
    }

    fn skip_results(&mut self, pass: u64, _results_ps: i64, gap_ps: i64) {
        let Some(micro) = &mut self.micro else { return };
        let index = micro.parked.of(pass);
        let (decoding, updated, gaps) = match index == micro.parked.turn {
            true => (&self.decoding, &mut self.updated, &mut self.gaps),
            false => {
                let parked = &mut micro.parked.batches[index];
                (&parked.decoding, &mut parked.updated, &mut parked.gaps)
            }
        };
        *updated += 1;
        gaps.push_one(gap_ps, decoding.len() as i64);
    }

    fn log_times(&mut self, pass: &Pass, start_ps: i64, time_ps: i64) {
        if let Some(entry) = pass.logged {
            (self.log[entry].t_ps, self.log[entry].dt_ps) = (start_ps, time_ps);
        }
    }
}
