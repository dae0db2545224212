//! Pipeline stages: as many micro-batches as stages take turns (`_executor_loop_pp` in
//! tensorrt_llm/_torch/pyexecutor/py_executor.py).
//!
//! Pass n is decided when the results of pass n - stages are in, and leaves out whoever is in a pass under
//! way: so a row in generation is in every `stages`-th pass, and so are the chunks of a context. Each
//! micro-batch has a decode set and a counter of its own; blocks and queue are one for all.

use super::Trtllm;
use super::row::Row;
use crate::config::trtllm::Trtllm as Engine;
use crate::decode_set::DecodeSet;
use crate::gaps::GapList;
use crate::scheduler::turns::Parked;
use crate::scheduler::{Pass, Setting, Turns};

pub(super) struct MicroBatches<'a> {
    parked: Parked<MicroBatch<'a>>,
    /// The number of the pass that is decided next.
    next: u64,
    /// Contexts in its pass under way.
    computing: Vec<u32>,
}

struct MicroBatch<'a> {
    decoding: DecodeSet<'a>,
    k: u64,
    gaps: GapList,
    computing: Vec<u32>,
}

impl<'a> MicroBatches<'a> {
    pub(super) fn new(setting: Setting<'a, Engine>, gap_limit: usize) -> Option<Box<Self>> {
        let count = setting.micro_batches();
        let batch = || MicroBatch {
            decoding: super::speculation::decode_set(setting.engine, 0, setting.prices_longest()),
            k: 0,
            gaps: GapList::new(gap_limit),
            computing: Vec::new(),
        };
        let several = || MicroBatches { parked: Parked::new(count, batch), next: 0, computing: Vec::new() };
        (count > 1).then(|| Box::new(several()))
    }
}

impl<'a> Trtllm<'a> {
    /// Requests that may be active (`get_max_num_sequences` in model_engine.py).
    pub(super) fn places(&self) -> usize {
        self.s.engine.max_batch_size as usize * self.s.micro_batches() as usize
    }

    /// The micro-batch whose turn it is; 0 if there is one batch.
    pub(super) fn turn(&self) -> u32 {
        self.micro.as_ref().map_or(0, |micro| micro.parked.turn as u32)
    }

    /// A context has its part in the pass that is being decided.
    pub(super) fn note_computing(&mut self, slot: u32) {
        if let Some(micro) = &mut self.micro {
            micro.computing.push(slot);
            self.rows[slot as usize].on_way = true;
        }
    }

    /// The results of the pass turned to are in.
    pub(super) fn end_computing(&mut self) {
        let Some(micro) = &mut self.micro else { return };
        for slot in micro.computing.drain(..) {
            self.rows[slot as usize].on_way = false;
        }
    }

    /// The counter of the micro-batch of a row in generation.
    pub(super) fn counter_of(&self, row: &Row<'_>) -> u64 {
        self.batch_of(u64::from(row.micro_batch)).1
    }

    /// Rows in generation in the other micro-batches.
    pub(super) fn generating_elsewhere(&self) -> usize {
        let others = self.micro.iter().flat_map(|micro| micro.parked.others());
        others.map(|other| other.decoding.len()).sum()
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

impl<'a> Turns<'a> for Trtllm<'a> {
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
        let Some(mut micro) = self.micro.take() else { return };
        let turn = micro.parked.of(pass);
        micro.next = micro.next.max(pass + 1);
        if turn != micro.parked.turn {
            for index in [micro.parked.turn, turn] {
                let MicroBatches { parked, computing, .. } = &mut *micro;
                let other = &mut parked.batches[index];
                std::mem::swap(&mut self.decoding, &mut other.decoding);
                std::mem::swap(&mut self.k, &mut other.k);
                std::mem::swap(&mut self.gaps, &mut other.gaps);
                std::mem::swap(computing, &mut other.computing);
            }
            micro.parked.turn = turn;
        }
        self.micro = Some(micro);
    }

    /// Blocks suffice: `config::check` lets in only what reserves them to the end.
    fn quiet_passes(&self, pass: u64) -> i64 {
        if self.window() > 0 && !self.blocked || !self.contexts.is_empty() || self.s.log_passes {
            return 0;
        }
        self.passes_to_an_end(pass, (self.s.max_passes - self.passes).min(i64::MAX as u64) as i64)
    }

    fn skip(&mut self, pass: u64, passes: i64) {
        let demand = self.demand_from(pass, passes);
        self.pool.take_unassigned(demand as u32);
        self.held += demand;
        let turn = u64::from(self.turn());
        let count = self.s.micro_batches();
        let mut decided = 0;
        for number in pass..pass + count.min(passes as u64) {
            let its = (passes as u64 - (number - pass)).div_ceil(count);
            self.turn_to(number);
            if !self.decoding.is_empty() {
                self.k += its;
                decided += its;
            }
        }
        self.turn_to(turn);
        if let Some(micro) = &mut self.micro {
            micro.next = pass + passes as u64;
        }
        self.passes += decided;
        self.leaps += 1;
        self.idle_passes = 0;
        self.pausing = false;
    }

    fn skip_results(&mut self, pass: u64, _results_ps: i64, gap_ps: i64) {
        self.turn_to(pass);
        self.gaps.push_one(gap_ps, self.decoding.len() as i64);
    }

    fn log_times(&mut self, pass: &Pass, start_ps: i64, time_ps: i64) {
        if let Some(entry) = pass.logged {
            (self.log[entry].t_ps, self.log[entry].dt_ps) = (start_ps, time_ps);
        }
    }
}
