//! A decode replica's side of hand-overs: memory is reserved before a prompt is computed elsewhere,
//! and a request decodes once its KV is there.
//!
//! Once a turn of its loop SGLang resumes who was retracted, reserves memory in the order of arrival,
//! looks whose KV has arrived, and puts these into the batch, with the token that came along.

use super::promise::CLIP_TOKENS;
use super::row::{Row, State};
use super::{OnWay, Sglang};
use crate::config::Role;
use crate::record::NEVER;
use crate::scheduler::{Move, Results, Wanted};
use std::collections::{BTreeMap, VecDeque};

/// SGLang's metadata buffers, a request that may run.
const BUFFERS_A_REQUEST: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Receiver {
    /// Requests without memory.
    pub(super) unreserved: VecDeque<u32>,
    /// Rows whose memory is reserved, in that order, and whether their KV is there.
    pub(super) reserved: Vec<(u32, bool)>,
    /// Rows that may join the batch.
    pub(super) ready: VecDeque<u32>,
    pub(super) retracted: VecDeque<u32>,
    /// Rows of the batch by the most tokens that they are expected to hold.
    lengths: BTreeMap<i64, u32>,
    /// Of rows that have ended since the last turn, these, and the tokens they have: SGLang still
    /// counts them.
    departed: Vec<(i64, i64)>,
    /// Whether the turn under way has counted such rows: the next one will count others.
    counted_departed: bool,
    /// Turns since it last looked.
    turns: u32,
}

impl Receiver {
    /// Whether there is something that a turn might change.
    pub(super) fn has_news(&self) -> bool {
        let has_arrived = self.reserved.iter().any(|&(_, has_arrived)| has_arrived);
        has_arrived || !self.unreserved.is_empty() || !self.ready.is_empty() || !self.retracted.is_empty()
    }

    /// Rows that are not in the batch.
    pub(super) fn rows(&self) -> impl Iterator<Item = &u32> {
        self.reserved.iter().map(|(slot, _)| slot).chain(&self.ready).chain(&self.retracted)
    }

    pub(super) fn waiting(&self) -> usize {
        self.unreserved.len() + self.reserved.len() + self.ready.len() + self.retracted.len()
    }
}

impl Sglang<'_> {
    pub(super) fn is_decode_replica(&self) -> bool {
        self.s.role == Role::Decode
    }

    /// One turn, up to the decode; or more, while there is nothing to run yet and another may bring it:
    /// rows that have ended still took places, or those that joined had no more than their first token.
    pub(super) fn receive(&mut self, now_ps: i64, results: &mut Results) {
        while self.take_turn(now_ps, results) && self.running.is_empty() && self.on_way == OnWay::Nothing {}
    }

    /// Whether another turn may find more places.
    fn take_turn(&mut self, now_ps: i64, results: &mut Results) -> bool {
        self.resume_retracted();
        if self.receiver.retracted.is_empty() {
            let is_idle = self.running.is_empty() && self.receiver.ready.is_empty();
            self.receiver.turns = (self.receiver.turns + 1) % self.polling_interval();
            if self.receiver.turns == 0 || is_idle {
                self.receiver.turns = 0;
                self.reserve(results);
                self.take_arrived();
            }
        }
        let joined = self.join_ready(now_ps, results);
        self.receiver.counted_departed = !self.receiver.departed.is_empty();
        self.receiver.departed.clear();
        joined > 0 || self.receiver.counted_departed
    }

    fn polling_interval(&self) -> u32 {
        self.s.engine.disaggregation.as_ref().map_or(1, |options| options.polling_interval)
    }

    fn reserved_decode_tokens(&self) -> i64 {
        self.s.engine.disaggregation.as_ref().map_or(0, |options| i64::from(options.num_reserved_decode_tokens))
    }

    /// What may be reserved: the pool less some tokens for each request that will decode, or less what
    /// one of the batch might need if all others were retracted, `retractable` tokens.
    fn allocatable(&self, retractable: Option<i64>) -> i64 {
        let receiver = &self.receiver;
        let active = self.running.len() + receiver.departed.len() + receiver.reserved.len() + receiver.ready.len();
        let decodes = self.reserved_decode_tokens() * active as i64;
        let single = retractable.zip(self.greatest_length()).map_or(0, |(tokens, length)| length - tokens);
        i64::from(self.available) - decodes.max(single)
    }

    fn greatest_length(&self) -> Option<i64> {
        let departed = self.receiver.departed.iter().map(|&(length, _)| length);
        departed.chain(self.receiver.lengths.last_key_value().map(|(&length, _)| length)).max()
    }

    /// Tokens of the batch, for all the scheduler knows.
    fn retractable(&self) -> i64 {
        let on_way = u64::from(self.on_way != OnWay::Nothing);
        let departed: i64 = self.receiver.departed.iter().map(|&(_, tokens)| tokens).sum();
        self.decoding.stored(self.k - on_way) + self.running.len() as i64 + departed
    }

    fn free_rows(&self) -> usize {
        let extra = self.s.engine.disaggregation.as_ref().map_or(0, |options| options.decode_extra_slots);
        let receiver = &self.receiver;
        let held = self.running.len() + self.draining.len() + receiver.reserved.len() + receiver.ready.len();
        (self.s.engine.max_running_requests as usize + extra as usize).saturating_sub(held)
    }

    /// Who was retracted gets its KV back from the host, in order, as far as memory goes.
    fn resume_retracted(&mut self) {
        while let Some(&slot) = self.receiver.retracted.front()
            && self.can_resume(slot)
        {
            self.available -= self.s.engine.ceil_page(self.rows[slot as usize].tokens() - 1);
            self.take_window_tail(slot, self.rows[slot as usize].tokens() - 1);
            self.rows[slot as usize].state = State::Ready;
            self.receiver.retracted.pop_front();
            self.receiver.ready.push_back(slot);
        }
    }

    fn can_resume(&self, slot: u32) -> bool {
        let tokens = self.rows[slot as usize].tokens() - 1;
        let required = i64::from(self.s.engine.ceil_page(tokens)) + self.reserved_decode_tokens();
        self.free_rows() > 0 && required <= self.allocatable(None) && self.has_window_tail(tokens)
    }

    /// SGLang sorts by priority whenever it reserves. Sorted on arrival, the first is known before that.
    /// Returns whether this request is the first.
    pub(super) fn queue_for_memory(&mut self, request: u32) -> bool {
        let engine = self.s.engine;
        let rank = |request: u32| match i64::from(self.s.trace.priority[request as usize]) {
            _ if !engine.enable_priority_scheduling => 0,
            priority if engine.schedule_low_priority_values_first => priority,
            priority => -priority,
        };
        let place = self.receiver.unreserved.partition_point(|&other| rank(other) <= rank(request));
        self.receiver.unreserved.insert(place, request);
        place == 0
    }

    /// Reserves memory for whole prompts, in that order, and asks for them.
    fn reserve(&mut self, results: &mut Results) {
        if self.receiver.unreserved.is_empty() {
            return;
        }
        let engine = self.s.engine;
        let retractable = self.retractable();
        while let Some(&request) = self.receiver.unreserved.front() {
            let prompt = self.prompt(request);
            let pages = engine.ceil_page(prompt);
            let fits = self.required(request, retractable) <= self.allocatable(Some(retractable));
            if !self.has_places() || !fits || !self.has_window_tail(prompt) {
                break;
            }
            self.receiver.unreserved.pop_front();
            self.available -= pages;
            let row = Row { state: State::Reserved, ..self.new_row(request) };
            let slot = self.place_row(row);
            self.take_window_tail(slot, prompt);
            self.receiver.reserved.push((slot, false));
            results.wanted.push(Wanted { id: request, kind: Move::Handover, tokens: pages });
        }
    }

    fn has_places(&self) -> bool {
        let buffers = BUFFERS_A_REQUEST * self.s.engine.max_running_requests as usize;
        self.free_rows() > 0 && self.receiver.reserved.len() < buffers
    }

    /// What must be free for a request: its prompt and some decodes, or all that it might hold once
    /// the batch was retracted.
    fn required(&self, request: u32, retractable: i64) -> i64 {
        let pages = i64::from(self.s.engine.ceil_page(self.prompt(request)));
        (pages + self.reserved_decode_tokens()).max(self.length(request) - retractable)
    }

    fn length(&self, request: u32) -> i64 {
        i64::from(self.prompt(request)) + i64::from(self.limit(request)).min(CLIP_TOKENS)
    }

    fn take_arrived(&mut self) {
        let Self { receiver, rows, .. } = self;
        receiver.reserved.retain(|&(slot, has_arrived)| {
            if has_arrived {
                rows[slot as usize].state = State::Ready;
                rows[slot as usize].given = 1;
                receiver.ready.push_back(slot);
            }
            !has_arrived
        });
        if self.s.engine.enable_priority_scheduling {
            let (trace, rows) = (self.s.trace, &self.rows);
            let lowest_first = self.s.engine.schedule_low_priority_values_first;
            self.receiver.ready.make_contiguous().sort_by_key(|&slot| {
                let priority = i64::from(trace.priority[rows[slot as usize].request as usize]);
                if lowest_first { priority } else { -priority }
            });
        }
    }

    /// Who is ready joins the batch, as far as it has places. Clients get the tokens that came along.
    /// Returns how many.
    fn join_ready(&mut self, now_ps: i64, results: &mut Results) -> usize {
        let taken = self.running.len() + self.receiver.departed.len();
        let places = (self.s.engine.max_running_requests as usize).saturating_sub(taken);
        let count = places.min(self.receiver.ready.len());
        for slot in self.receiver.ready.drain(..count).collect::<Vec<_>>() {
            let row = &mut self.rows[slot as usize];
            let request = row.request as usize;
            if results.requests.first_token_ps[request] == NEVER {
                results.requests.first_token_ps[request] = now_ps;
                results.first_tokens.push(request as u32);
                row.last_emit_ps = now_ps;
            }
            if row.given == row.target {
                self.end(slot, now_ps, None, results);
                continue;
            }
            row.order = self.next_order;
            self.next_order += 1;
            self.start_decoding(slot);
            self.fresh.push(slot);
            self.running.push(slot);
            *self.receiver.lengths.entry(self.length(request as u32)).or_default() += 1;
        }
        count
    }

    /// A row stops decoding.
    pub(super) fn forget_length(&mut self, slot: u32) {
        let length = self.length(self.rows[slot as usize].request);
        if let Some(count) = self.receiver.lengths.get_mut(&length) {
            *count -= 1;
            if *count == 0 {
                self.receiver.lengths.remove(&length);
            }
        }
    }

    /// A row of the batch has ended: SGLang takes notice one turn later.
    pub(super) fn note_departure(&mut self, slot: u32) {
        let row = &self.rows[slot as usize];
        // What a burst gave beyond its last token is counted as well.
        let given = row.burst.map_or(i64::from(row.target), |burst| burst.given(row.finish_at));
        self.receiver.departed.push((self.length(row.request), i64::from(row.prompt) + given));
    }

    /// How many of the next passes, up to `wanted`, can leave these queues as they are.
    pub(super) fn passes_without_receiving(&self, wanted: i64) -> i64 {
        let receiver = &self.receiver;
        let unchanged = receiver.retracted.is_empty() && receiver.unreserved.is_empty();
        if unchanged && receiver.ready.is_empty() && !receiver.reserved.iter().any(|&(_, has_arrived)| has_arrived) {
            return wanted;
        }
        // Who joined with no more than its first token has left its place to the next one, and its memory to who was
        // retracted.
        let has_place = self.running.len() < self.s.engine.max_running_requests as usize;
        let resumes = receiver.retracted.front().is_some_and(|&slot| self.can_resume(slot));
        if receiver.counted_departed || has_place && !receiver.ready.is_empty() || resumes {
            return wanted.min(1);
        }
        let looks_in = i64::from(self.polling_interval() - receiver.turns);
        let has_arrived = receiver.reserved.iter().any(|&(_, has_arrived)| has_arrived);
        let may_reserve = receiver.retracted.is_empty()
            && receiver.unreserved.front().is_some_and(|&request| self.may_fit_without_release(request));
        if has_arrived && receiver.retracted.is_empty() || may_reserve { wanted.min(looks_in) } else { wanted }
    }

    /// Whether passes that only decode may make room for a request's reservation: they take memory, but
    /// leave more that could be retracted.
    fn may_fit_without_release(&self, request: u32) -> bool {
        let decodes = self.reserved_decode_tokens();
        let receiver = &self.receiver;
        let active = self.running.len() + receiver.reserved.len() + receiver.ready.len();
        let pages = i64::from(self.s.engine.ceil_page(self.prompt(request)));
        self.has_places()
            && self.has_window_tail(self.prompt(request))
            && pages + decodes <= i64::from(self.available) - decodes * active as i64
    }

    /// Passes of a run that are decided, beyond its first.
    pub(super) fn count_turns(&mut self, passes: i64) {
        if self.receiver.retracted.is_empty() {
            let interval = i64::from(self.polling_interval());
            self.receiver.turns = ((i64::from(self.receiver.turns) + passes) % interval) as u32;
        }
    }

    /// See [`crate::scheduler::Scheduler::transferred`].
    pub(super) fn note_arrival(&mut self, request: u32) {
        let rows = &self.rows;
        let mut reserved = self.receiver.reserved.iter_mut();
        if let Some((_, has_arrived)) = reserved.find(|(slot, _)| rows[*slot as usize].request == request) {
            *has_arrived = true;
        }
    }

    /// See [`crate::scheduler::Scheduler::abort`].
    pub(super) fn give_up(&mut self, request: u32) {
        self.receiver.unreserved.retain(|&other| other != request);
        let rows = &self.rows;
        let reserved = self.receiver.reserved.iter().position(|&(slot, _)| rows[slot as usize].request == request);
        if let Some(position) = reserved {
            let (slot, _) = self.receiver.reserved.remove(position);
            self.free_row(slot, self.rows[slot as usize].prompt);
            self.vacant.push(slot);
        }
    }
}
