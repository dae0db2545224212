//! Pipeline stages: as many micro-batches as stages take turns (`event_loop_pp` in
//! srt/managers/scheduler_pp_mixin.py), each with a batch of its own.
//!
//! Pass n is decided when the results of pass n - stages are in, so each micro-batch is what the batch is
//! in the rest of the scheduler; it takes its turn by changing places with the one before. Memory, the
//! queue, the prompt that is computed in parts and the new-token ratio are one for all: parts of a prompt
//! follow each other through micro-batches. Nobody keeps memory free for rows of another micro-batch:
//! neither admission nor retraction looks beyond the one whose turn it is.

use super::promise::Promises;
use super::{Kind, OnWay, Sglang, verify};
use crate::decode_set::DecodeSet;
use crate::gaps::GapList;
use crate::record::Holdup;
use crate::scheduler::turns::Parked;
use crate::scheduler::{Pass, Turns};

pub(super) struct MicroBatches<'a> {
    parked: Parked<MicroBatch<'a>>,
    /// The number of the pass that is decided next.
    next: u64,
}

/// See the fields of [`Sglang`].
pub(super) struct MicroBatch<'a> {
    pub(super) running: Vec<u32>,
    pub(super) decoding: DecodeSet<'a>,
    promises: Promises,
    pub(super) joining: Vec<u32>,
    fresh: Vec<u32>,
    batch_is_full: bool,
    was_cut: bool,
    last: Kind,
    pub(super) k: u64,
    mixed_at: Option<(u64, u64, OnWay)>,
    last_decode_ps: i64,
    in_flight: u32,
    gaps: GapList,
}

impl<'a> MicroBatches<'a> {
    pub(super) fn new(sglang: &Sglang<'a>, count: u64, gap_limit: usize) -> Self {
        let engine = sglang.s.engine;
        let batch = || MicroBatch {
            running: Vec::new(),
            decoding: DecodeSet::new(engine.page_size, verify(engine), sglang.s.prices_longest()),
            promises: Promises::default(),
            joining: Vec::new(),
            fresh: Vec::new(),
            batch_is_full: false,
            was_cut: false,
            last: Kind::Decode,
            k: 0,
            mixed_at: None,
            last_decode_ps: 0,
            in_flight: 0,
            gaps: GapList::new(gap_limit),
        };
        MicroBatches { parked: Parked::new(count, batch), next: 0 }
    }
}

impl<'a> Sglang<'a> {
    /// What of the scheduler's state is one micro-batch's alone goes into `other`, and that of `other` comes.
    fn change_places(&mut self, other: &mut MicroBatch<'a>) {
        std::mem::swap(&mut self.running, &mut other.running);
        std::mem::swap(&mut self.decoding, &mut other.decoding);
        std::mem::swap(&mut self.promises, &mut other.promises);
        std::mem::swap(&mut self.joining, &mut other.joining);
        std::mem::swap(&mut self.fresh, &mut other.fresh);
        std::mem::swap(&mut self.batch_is_full, &mut other.batch_is_full);
        std::mem::swap(&mut self.was_cut, &mut other.was_cut);
        std::mem::swap(&mut self.last, &mut other.last);
        std::mem::swap(&mut self.k, &mut other.k);
        std::mem::swap(&mut self.mixed_at, &mut other.mixed_at);
        std::mem::swap(&mut self.last_decode_ps, &mut other.last_decode_ps);
        std::mem::swap(&mut self.in_flight, &mut other.in_flight);
        std::mem::swap(&mut self.gaps, &mut other.gaps);
    }

    /// The micro-batches whose turn it is not.
    pub(super) fn others(&self) -> impl Iterator<Item = &MicroBatch<'a>> {
        self.micro.iter().flat_map(|micro| micro.parked.others())
    }

    /// Rows of these.
    pub(super) fn rows_elsewhere(&self) -> usize {
        if self.micro.is_none() {
            return 0;
        }
        self.others().map(|other| other.running.len() + other.joining.len()).sum()
    }

    pub(super) fn others_are_full(&self) -> bool {
        self.others().all(|other| other.batch_is_full)
    }

    /// Rows that the batch may have: by default its share of all, and no more than the others leave
    /// (`get_num_allocatable_reqs` in srt/managers/scheduler.py).
    pub(super) fn places(&self) -> usize {
        let all = self.s.engine.max_running_requests as usize;
        if self.micro.is_none() {
            return all;
        }
        self.share().min(all.saturating_sub(self.rows_elsewhere()))
    }

    fn share(&self) -> usize {
        let (all, count) = (self.s.engine.max_running_requests as usize, self.s.micro_batches() as usize);
        self.s.engine.pp_max_micro_batch_size.map_or((all / count).max(1), |rows| rows as usize)
    }

    /// What keeps the first that waits out of the micro-batch that it could most nearly join.
    pub(super) fn holdup_of_micro_batches(&self) -> Holdup {
        let own = (self.running.len() + self.joining.len(), self.batch_is_full);
        let others = self.others().map(|other| (other.running.len() + other.joining.len(), other.batch_is_full));
        let crowded = own.0 + self.rows_elsewhere() >= self.s.engine.max_running_requests as usize;
        let holdup = |(rows, is_full)| match is_full {
            _ if crowded || rows >= self.share() => Holdup::Rows,
            true => Holdup::Cache,
            false => Holdup::Tokens,
        };
        let distance = |holdup: &Holdup| match holdup {
            Holdup::Tokens => 0,
            Holdup::Cache => 1,
            _ => 2,
        };
        let all = std::iter::once(own).chain(others).map(holdup);
        all.min_by_key(distance).unwrap_or(Holdup::Tokens)
    }

    /// Whether the rows that join a batch that is there are in the last prefill still: the engine merges them
    /// again in the next turn if this one finds no pass.
    pub(super) fn merges_prefill(&self) -> bool {
        self.micro.is_some() && self.last == Kind::Prefill && !self.joining.is_empty() && !self.running.is_empty()
    }

    /// Whether the next pass of the micro-batch of `pass` decodes its rows, if it has any, and does nothing else.
    fn is_quiet(&self, pass: u64) -> bool {
        let quiet = |last: Kind, fresh: &[u32], joining: &[u32], is_full: bool, running: &[u32]| {
            let admits = !self.waiting.is_empty() && (!is_full || running.is_empty());
            !admits && joining.is_empty() && (running.is_empty() || last == Kind::Decode && fresh.is_empty())
        };
        match self.micro.as_ref().and_then(|micro| micro.parked.elsewhere(pass)) {
            Some(other) => quiet(other.last, &other.fresh, &other.joining, other.batch_is_full, &other.running),
            None => quiet(self.last, &self.fresh, &self.joining, self.batch_is_full, &self.running),
        }
    }

    /// Gaps of each micro-batch.
    pub(super) fn gap_lists(&mut self) -> Vec<GapList> {
        let others = self.micro.take().into_iter().flat_map(|micro| micro.parked.into_others());
        let own = std::mem::replace(&mut self.gaps, GapList::new(0));
        std::iter::once(own).chain(others.map(|batch| batch.gaps)).collect()
    }

    /// Pages that the first `passes` passes of a run take that is not settled.
    pub(super) fn demand(&self, passes: i64) -> u32 {
        match &self.micro {
            _ if passes <= 0 => 0,
            None => self.decoding.demand(self.k, passes) as u32,
            Some(micro) => self.demand_from(micro.next, passes) as u32,
        }
    }
}

impl<'a> Turns<'a> for Sglang<'a> {
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
            let before = micro.parked.turn;
            self.change_places(&mut micro.parked.batches[before]);
            self.change_places(&mut micro.parked.batches[turn]);
            micro.parked.turn = turn;
        }
        self.micro = Some(micro);
    }

    fn quiet_passes(&self, pass: u64) -> i64 {
        let engine = self.s.engine;
        if self.chunked.is_some() || engine.preempts() && !self.waiting.is_empty() || self.s.log_passes {
            return 0;
        }
        let turns = || (pass..).take(self.s.micro_batches() as usize);
        if !turns().all(|pass| self.is_quiet(pass)) {
            return 0;
        }
        let most = (self.s.max_passes - self.passes).min(i64::MAX as u64) as i64;
        // A decode begins by making room for a page a row, whatever it needs.
        let widest = turns().map(|pass| self.batch_of(pass).0.len()).max().unwrap_or(0) as i64;
        let spare = i64::from(self.available / engine.page_size) - if self.tree.unused() == 0 { 0 } else { widest };
        self.passes_that_fit(pass, self.passes_to_an_end(pass, most), spare)
    }

    fn skip(&mut self, pass: u64, passes: i64) {
        self.available -= self.demand_from(pass, passes) as u32 * self.s.engine.page_size;
        let turn = self.micro.as_ref().map_or(0, |micro| micro.parked.turn as u64);
        let count = self.s.micro_batches();
        let mut decided = 0;
        for number in pass..pass + count.min(passes as u64) {
            let its = (passes as u64 - (number - pass)).div_ceil(count);
            self.turn_to(number);
            if !self.decoding.is_empty() {
                self.k += its;
                self.in_flight += its as u32;
                decided += its;
            }
        }
        self.turn_to(turn);
        if let Some(micro) = &mut self.micro {
            micro.next = pass + passes as u64;
        }
        self.ratio.decay(decided as i64);
        self.passes += decided;
        self.leaps += 1;
    }

    fn skip_results(&mut self, pass: u64, results_ps: i64, _gap_ps: i64) {
        self.turn_to(pass);
        self.in_flight -= 1;
        self.gaps.push_one(results_ps - self.last_decode_ps, self.decoding.len() as i64);
        (self.last_decode_ps, self.last_end_ps) = (results_ps, results_ps);
    }

    fn log_times(&mut self, pass: &Pass, start_ps: i64, time_ps: i64) {
        if let Some(entry) = pass.logged {
            (self.log[entry].t_ps, self.log[entry].dt_ps) = (start_ps, time_ps);
        }
    }

    fn has_taken_out(&self) -> bool {
        self.vacated
    }
}
