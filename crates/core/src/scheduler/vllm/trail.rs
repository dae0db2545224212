//! The log of passes, in the form of the recordings.

use super::Vllm;
use super::row::{Planned, State};
use crate::log::PassRecord;
use crate::scheduler::Pass;

impl Vllm<'_> {
    /// Rows of a stepped pass, in the batch's order. Called before the counter is raised.
    pub(super) fn log_rows(&mut self, entry: usize, left_out: &[u32], planned: &[Planned], admitted: &[Planned]) {
        for &slot in &self.running {
            let row = &self.rows[slot as usize];
            if row.state == State::Decoding {
                if self.decodes_here(slot) && !left_out.contains(&slot) {
                    let computed = self.computed_before(row, self.k);
                    self.log[entry].push_decode(row.request, self.decoding.drafts(), computed, row.gives(self.k));
                }
            } else if let Some(p) = planned.iter().chain(admitted).find(|p| p.slot == slot) {
                let drafts = row.computed.saturating_sub(row.tokens() + row.placeholders);
                self.log[entry].scheduled.push((row.request, p.tokens, row.computed - p.tokens, drafts));
            }
        }
    }

    pub(super) fn log_state(&mut self, entry: usize, time: i64) {
        self.log[entry].dt_ps = time;
        self.log[entry].free = self.pool.free();
        self.log[entry].running = self.running.len() as u32;
        self.log[entry].waiting = (self.holding.len() + self.waiting.len()) as u32;
        if self.s.log_blocks {
            for index in 0..self.running.len() {
                let slot = self.running[index];
                let numbers = self.pool.block_numbers(slot);
                let row = &mut self.rows[slot as usize];
                if numbers.len() > row.logged_blocks {
                    self.log[entry].blocks.push((row.request, numbers[row.logged_blocks..].to_vec()));
                    row.logged_blocks = numbers.len();
                }
            }
        }
    }

    /// The passes of a run, one by one. Called before the counter is raised.
    pub(super) fn log_run(&mut self, pass: &mut Pass) {
        let ahead = i64::from(self.s.engine.async_scheduling);
        let (taken, groups) = (self.taken_at_once(), self.groups.as_deref());
        let free_after = |passes: i64| {
            let freed = groups.map_or(0, |groups| groups.freed(self.k, passes));
            self.pool.free() + freed - self.decoding.demand(self.k, passes) as u32 * taken
        };
        for index in 0..pass.passes {
            let start_ps = pass.start_ps + pass.times.time(index);
            let mut record = PassRecord {
                t_ps: start_ps,
                dt_ps: pass.times.time(index + 1) - pass.times.time(index),
                scheduled_at_ps: match (ahead, index) {
                    (0, _) => start_ps,
                    (_, 0) => pass.decided_ps,
                    _ => pass.start_ps + pass.times.time(index - 1),
                },
                free: free_after(index + 1),
                // That of the last is known when its results are in.
                free_end: (index + 1 < pass.passes).then(|| free_after(index + 1 + ahead)),
                running: self.running.len() as u32,
                waiting: pass.waiting,
                ..PassRecord::default()
            };
            let k = self.k + index as u64;
            for row in self.running.iter().map(|&slot| &self.rows[slot as usize]) {
                let computed = self.computed_before(row, k);
                record.push_decode(row.request, self.decoding.drafts(), computed, row.gives(k));
            }
            self.log.push(record);
        }
        pass.logged = Some(self.log.len() - 1);
    }
}
