//! Who may hold blocks in a pass.

use super::Trtllm;
use super::row::{Context, Pending, State};
use crate::config::Role;
use crate::config::trtllm::CapacityPolicy;
use crate::scheduler::Results;
use hashbrown::HashSet;
use rustc_hash::FxBuildHasher;

/// A block of content: its segment, and its index.
type Block = (u32, u32);

/// Who may hold blocks in a pass.
#[derive(Default)]
pub(super) struct Fitting {
    /// In the order in which they share the token budget.
    pub(super) contexts: Vec<Context>,
    /// The first pending request could not start.
    pub(super) blocked: bool,
    /// In order, contexts and generations alike, where that matters: if some context precedes a generation.
    pub(super) mixed: Option<Vec<(u64, u32)>>,
    pub(super) paused: u32,
}

/// How many contexts and pending requests were looked at.
#[derive(Default)]
struct Cursor {
    started: usize,
    pending: usize,
}

impl Cursor {
    /// Whether no more than the first was.
    fn at_first(&self) -> bool {
        self.started + self.pending <= 1
    }
}

/// Blocks that contexts of this pass fill: whoever begins with one of them had better wait and find it.
#[derive(Default)]
struct Contributed(HashSet<Block, FxBuildHasher>);

impl Trtllm<'_> {
    pub(super) fn fitting(&mut self, start_ps: i64, results: &mut Results) -> Fitting {
        match self.s.engine.capacity_scheduler_policy {
            // Generation-only requests have no context, and who of them may hold blocks is decided.
            _ if self.s.role == Role::Decode => Fitting { blocked: self.blocked, ..Fitting::default() },
            CapacityPolicy::GuaranteedNoEvict => self.guaranteed_no_evict(),
            CapacityPolicy::StaticBatch => self.static_batch(),
            CapacityPolicy::MaxUtilization if self.all_fit() => self.next_steps(),
            CapacityPolicy::MaxUtilization => self.max_utilization(start_ps, results),
        }
    }

    /// The active requests that do not generate, in order.
    fn not_generating(&self) -> Vec<Context> {
        let mut cursor = Cursor::default();
        std::iter::from_fn(|| self.next_not_generating(&mut cursor)).collect()
    }

    /// The next of them: most passes look at few.
    fn next_not_generating(&self, cursor: &mut Cursor) -> Option<Context> {
        let started = self.contexts.get(cursor.started).map(|&slot| self.started(slot));
        let window = cursor.pending < self.window();
        let pending = window.then(|| self.starting(self.pending[cursor.pending]));
        let first = match (started, pending) {
            (Some(started), Some(pending)) if pending.order < started.order => pending,
            (Some(started), _) => started,
            (None, pending) => pending?,
        };
        if first.slot.is_some() {
            cursor.started += 1
        } else {
            cursor.pending += 1
        }
        Some(first)
    }

    fn started(&self, slot: u32) -> Context {
        let row = &self.rows[slot as usize];
        let left = row.tokens() - row.computed;
        Context { order: row.order, slot: Some(slot), tokens: row.tokens(), left, chunk: 0 }
    }

    fn starting(&self, pending: Pending) -> Context {
        let delivered = pending.slot.map_or(0, |slot| self.rows[slot as usize].delivered);
        let tokens = self.s.trace.input_tokens[pending.request as usize] + delivered;
        Context { order: pending.order, slot: None, tokens, left: tokens, chunk: 0 }
    }

    fn request(&self, context: Context) -> u32 {
        match context.slot {
            Some(slot) => self.rows[slot as usize].request,
            None => self.pending[self.pending_place(context.order)].request,
        }
    }

    pub(super) fn pending_place(&self, order: u64) -> usize {
        self.pending.partition_point(|pending| pending.order < order)
    }

    /// All that started, and further contexts as long as all could run to their limits.
    fn guaranteed_no_evict(&mut self) -> Fitting {
        let mut fitting = Fitting::default();
        let mut contributed = self.contributed();
        let mut available = i64::from(self.pool.free()) - (self.reserved - self.held);
        for &slot in &self.contexts {
            let context = self.started(slot);
            available -= self.to_completion(context);
            if !self.rows[slot as usize].on_way {
                fitting.contexts.push(context);
            }
        }
        let mut cursor = Cursor { started: self.contexts.len(), pending: 0 };
        while let Some(context) = self.next_not_generating(&mut cursor) {
            if self.beneficial_to_skip(context, &mut contributed) {
                continue;
            }
            let needed = self.to_completion(context);
            if needed > available {
                fitting.blocked = cursor.at_first();
                break;
            }
            available -= needed;
            fitting.contexts.push(context);
        }
        fitting
    }

    /// As [`Self::guaranteed_no_evict`], but contexts only once nobody generates.
    fn static_batch(&mut self) -> Fitting {
        let mut fitting = Fitting { blocked: true, ..Fitting::default() };
        if self.decoding.is_empty() {
            let mut available = i64::from(self.pool.free());
            fitting.contexts = self.not_generating();
            let cut = fitting.contexts.iter().position(|&context| {
                available -= self.to_completion(context);
                available < 0
            });
            fitting.blocked = cut == Some(0);
            fitting.contexts.truncate(cut.unwrap_or(usize::MAX));
        }
        fitting
    }

    /// Blocks it would still take if it used its limit.
    fn to_completion(&self, context: Context) -> i64 {
        let held = context.slot.map_or(0, |slot| self.pool.held(slot));
        i64::from(self.whole(self.request(context))) - i64::from(held)
    }

    /// Whether the next step of all that started fits, and nobody who waits precedes them.
    fn all_fit(&self) -> bool {
        let last = self.batch.last().map(|&slot| self.rows[slot as usize].order);
        let behind = self.window() == 0 || last < self.pending.front().map(|pending| pending.order);
        behind && self.decoding.due(self.k).len() <= self.pool.free() as usize
    }

    /// As [`Self::max_utilization`], where nobody is paused.
    fn next_steps(&mut self) -> Fitting {
        let mut fitting = Fitting::default();
        let mut contributed = self.contributed();
        let mut scheduled = self.decoding.due(self.k).len() as u32;
        let mut cursor = Cursor::default();
        while let Some(context) = self.next_not_generating(&mut cursor) {
            if self.beneficial_to_skip(context, &mut contributed) {
                continue;
            }
            let needed = if context.slot.is_some() { 0 } else { self.blocks_for(context.tokens) };
            if scheduled + needed > self.pool.free() {
                fitting.blocked = cursor.at_first();
                break;
            }
            scheduled += needed;
            fitting.contexts.push(context);
        }
        fitting
    }

    /// In order, as long as the next step fits. Where it does not, the last that holds blocks is
    /// paused. Costs the batch, and is done where blocks run out or a paused request comes back.
    fn max_utilization(&mut self, start_ps: i64, results: &mut Results) -> Fitting {
        let mut fitting = Fitting { mixed: Some(Vec::new()), ..Fitting::default() };
        let mut contributed = self.contributed();
        let generating = |&&slot: &&u32| self.rows[slot as usize].state == State::Generation;
        let mut active = self.not_generating();
        active.extend(self.batch.iter().filter(generating).map(|&slot| Context { left: 0, ..self.generation(slot) }));
        active.sort_unstable_by_key(|context| context.order);
        let (mut index, mut end, mut scheduled) = (0, active.len(), 0);
        while index < end {
            let context = active[index];
            let generates = context.left == 0;
            if !generates && self.beneficial_to_skip(context, &mut contributed) {
                index += 1;
                continue;
            }
            let needed = match context.slot {
                None => self.blocks_for(context.tokens),
                Some(_) => u32::from(generates && (context.tokens - 1).is_multiple_of(self.s.engine.tokens_per_block)),
            };
            if scheduled + needed <= self.pool.free() {
                scheduled += needed;
                match (generates, context.slot, &mut fitting.mixed) {
                    (true, Some(slot), Some(mixed)) => mixed.push((context.order, slot)),
                    _ => fitting.contexts.push(context),
                }
                index += 1;
                continue;
            }
            let Some(victim) = (index..end).rev().find(|&i| active[i].slot.is_some()) else { break };
            if let Some(slot) = active[victim].slot {
                self.pause(slot, start_ps, results);
                fitting.paused += 1;
            }
            end = victim;
        }
        fitting
    }

    /// A row of the decode set as an entry of the active list: what it has, its next token's place among it.
    fn generation(&self, slot: u32) -> Context {
        let row = &self.rows[slot as usize];
        let tokens = row.computed_by(self.k) + 1;
        Context { order: row.order, slot: Some(slot), tokens, left: 0, chunk: 0 }
    }

    /// Takes all blocks of a row away; its tokens so far become its context.
    fn pause(&mut self, slot: u32, start_ps: i64, results: &mut Results) {
        let computed = match self.rows[slot as usize].state {
            State::Generation => {
                let computed = self.rows[slot as usize].computed_by(self.k);
                self.leave_decode_set(slot, computed);
                let row = &mut self.rows[slot as usize];
                row.delivered = row.sampled(self.k);
                if row.left_out_at != self.k {
                    row.last_emit_ps = start_ps;
                }
                self.pool.settle(slot, self.blocks_for(computed));
                computed
            }
            _ => {
                let place = self.place(&self.contexts, self.rows[slot as usize].order);
                self.contexts.remove(place);
                self.rows[slot as usize].computed
            }
        };
        self.enter_hashes(slot, computed / self.s.engine.tokens_per_block);
        self.pool.release(slot);
        self.leave_batch(slot);
        let row = &mut self.rows[slot as usize];
        row.state = State::Paused;
        row.preempted = true;
        row.computed = 0;
        let pending = Pending { order: row.order, request: row.request, slot: Some(slot) };
        let request = row.request;
        self.pending.insert(self.pending_place(pending.order), pending);
        results.requests.preemptions[request as usize] += 1;
        if self.s.log_passes
            && let Some(entry) = self.log.last_mut()
        {
            entry.preempted.push(request);
        }
    }

    // Sharing within a pass

    fn contributed(&mut self) -> Contributed {
        let mut contributed = Contributed::default();
        for index in 0..self.contexts.len() {
            let context = self.started(self.contexts[index]);
            contributed.0.extend(self.first_new_block(context));
        }
        contributed
    }

    /// Whether another request of this pass computes this one's first new block. If not, this one does.
    fn beneficial_to_skip(&mut self, context: Context, contributed: &mut Contributed) -> bool {
        if context.slot.is_some() {
            return false;
        }
        self.first_new_block(context).is_some_and(|block| !contributed.0.insert(block))
    }

    /// The first block of a context that is not cached.
    fn first_new_block(&mut self, context: Context) -> Option<Block> {
        if !self.s.engine.enable_block_reuse {
            return None;
        }
        let request = self.request(context);
        let (path, private) = (self.s.chains.path(request), self.s.chains.private_segment(request));
        let blocks = (context.tokens - 1) / self.s.engine.tokens_per_block;
        let hit = self.pool.find(path, private, blocks).blocks;
        let segment = path.iter().find(|piece| piece.end > hit).map_or(private, |piece| piece.segment);
        (hit < blocks).then_some((segment, hit))
    }
}
