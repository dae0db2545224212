//! The log of passes, in the form of the recordings.

use super::{Kind, Sglang};
use crate::log::sglang::PassRecord;
use crate::scheduler::Pass;

impl Sglang<'_> {
    /// Begins the entry of a stepped pass, unless there is one.
    pub(super) fn open_log(&mut self, pass: &mut Pass) {
        if self.s.log_passes && pass.logged.is_none() {
            pass.logged = Some(self.log.len());
            self.log.push(PassRecord {
                t_ps: pass.start_ps,
                scheduled_at_ps: pass.decided_ps,
                kind: "-",
                ..PassRecord::default()
            });
        }
    }

    /// No pass came of it: an entry stays only if it says who left the batch.
    pub(super) fn close_log_without_pass(&mut self, pass: &mut Pass) {
        let Some(entry) = pass.logged.take() else { return };
        if self.log[entry].retracted.is_empty() && self.log[entry].preempted.is_empty() {
            self.log.truncate(entry);
            return;
        }
        self.log[entry].t_ps = pass.decided_ps; // nothing starts behind a pass that is still under way
        pass.logged = Some(entry);
        self.log_queues(pass);
        self.close_log(pass, None, &[]);
        pass.logged = None;
    }

    pub(super) fn log_retracted(&mut self, pass: &Pass, slot: u32) {
        if let Some(entry) = pass.logged {
            self.log[entry].retracted.push(self.rows[slot as usize].request);
        }
    }

    pub(super) fn log_preempted(&mut self, pass: &Pass, slot: u32) {
        if let Some(entry) = pass.logged {
            self.log[entry].preempted.push(self.rows[slot as usize].request);
        }
    }

    pub(super) fn log_prefills(&mut self, batch: &[u32], pass: &Pass) {
        if let Some(entry) = pass.logged {
            let (rows, entry) = (&self.rows, &mut self.log[entry]);
            for row in batch.iter().map(|&slot| &rows[slot as usize]) {
                entry.scheduled.push((row.request, row.extend_end - row.prefix, row.prefix));
            }
            entry.emitted.extend(pass.sampling.iter().map(|sample| rows[sample.slot as usize].request));
        }
    }

    /// Called before the counter is raised.
    pub(super) fn log_decodes(&mut self, pass: &Pass) {
        if let Some(entry) = pass.logged {
            let (rows, entry) = (&self.rows, &mut self.log[entry]);
            for row in self.running.iter().map(|&slot| &rows[slot as usize]) {
                entry.scheduled.push((row.request, 1 + self.decoding.drafts(), row.computed(self.k)));
                entry.emitted.extend((0..row.gives(self.k)).map(|_| row.request));
            }
        }
    }

    pub(super) fn log_state(&mut self, pass: &Pass, time: i64) {
        let Some(entry) = pass.logged else { return };
        let entry = &mut self.log[entry];
        entry.kind = match self.last {
            Kind::Prefill => "E",
            Kind::Mixed => "M",
            Kind::Decode => "D",
        };
        entry.dt_ps = time;
        self.log_queues(pass);
    }

    fn log_queues(&mut self, pass: &Pass) {
        let Some(entry) = pass.logged else { return };
        let ratio = self.ratio.current();
        let entry = &mut self.log[entry];
        entry.waiting = self.waiting.len() as u32;
        // The decoding rows of a mixed pass belong to its own batch, as in the engine.
        entry.running = if entry.kind == "M" { 0 } else { self.running.len() as u32 };
        entry.available = self.available;
        entry.evictable = self.tree.evictable();
        entry.ratio = ratio;
        entry.chunked = self.chunked.map(|slot| self.rows[slot as usize].request);
    }

    /// The results of a pass are in. `next` is the pass that was decided after it, if one was.
    pub(super) fn close_log(&mut self, pass: &Pass, next: Option<&Pass>, ended: &[u32]) {
        if let Some(entry) = pass.logged {
            let unseen = if next.is_some_and(|next| !next.is_settled()) { self.taken_by(1) } else { 0 };
            let entry = &mut self.log[entry];
            entry.available_end = Some(self.available - unseen);
            entry.evictable_end = Some(self.tree.evictable());
            entry.finished.extend(ended);
            entry.emitted.retain(|request| !self.dropped.contains(request));
        }
    }

    /// Tokens of the pages that the next `passes` passes of a run take.
    fn taken_by(&self, passes: i64) -> u32 {
        self.decoding.demand(self.k, passes) as u32 * self.s.engine.page_size
    }

    /// The passes of a run, one by one. Called before the counter is raised.
    pub(super) fn log_run(&mut self, pass: &mut Pass) {
        let mut ratio = self.ratio;
        let evictable = self.tree.evictable();
        for index in 0..pass.passes {
            ratio.decay(1);
            let k = self.k + index as u64;
            let available = self.available - self.taken_by(index + 1);
            let ahead = i64::from(!self.s.engine.disable_overlap_schedule);
            let rows = self.running.iter().map(|&slot| &self.rows[slot as usize]);
            let is_last = index + 1 == pass.passes; // what is left after it is known with its results
            self.log.push(PassRecord {
                t_ps: pass.start_ps + pass.times.time(index),
                dt_ps: pass.times.time(index + 1) - pass.times.time(index),
                scheduled_at_ps: match (self.s.engine.disable_overlap_schedule, index) {
                    (true, _) => pass.start_ps + pass.times.time(index),
                    (_, 0) => pass.decided_ps,
                    _ => pass.start_ps + pass.times.time(index - 1),
                },
                kind: "D",
                scheduled: rows.clone().map(|row| (row.request, 1 + self.decoding.drafts(), row.stored(k))).collect(),
                waiting: pass.waiting,
                running: self.running.len() as u32,
                available,
                evictable,
                ratio: ratio.current(),
                emitted: rows.flat_map(|row| (0..row.gives(k)).map(|_| row.request)).collect(),
                available_end: (!is_last).then(|| self.available - self.taken_by(index + 1 + ahead)),
                evictable_end: (!is_last).then_some(evictable),
                ..PassRecord::default()
            });
        }
        pass.logged = Some(self.log.len() - 1);
    }
}
