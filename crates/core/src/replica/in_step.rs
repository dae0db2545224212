//! Data ranks in step: a pass starts when all ranks are at the barrier and ends with the slowest.
//!
//! A rank decides its passes as if it were alone; how long they take is decided here. Stretches of
//! passes in which no rank decides anything are summed as one (a *span*), and a rank's run of passes
//! goes on through many of them: what happens on one rank costs the others nothing but a comparison.
//!
//! A rank with nothing to do runs a dummy pass. vLLM's asks for work again when that has ended;
//! SGLang's goes through its loop with all others, so as early as they.

use super::run::{Rank, Run};
use super::slowest;
use crate::clock::Now;
use crate::config::Engine;
use crate::record::IdleTime;
use crate::scheduler::{AnyScheduler, Ledger, Results, Scheduler, Setting};
use crate::step_time::{Features, Stretch, Timeline};
use crate::worker::{Phase, Stop};
use crate::workload::HORIZON_PS;

/// More passes than any run has.
const ENDLESS: i64 = i64::MAX / 2;

pub struct InStep<'a> {
    ranks: Vec<Rank<'a>>,
    setting: Setting<'a>,
    stall_passes: u64,
    /// Passes decided before the one before them has ended.
    ahead: i64,
    /// Whether ranks with nothing to do decide as early as the others.
    idle_ahead: bool,
    /// The ranks stop only after a multiple of so many passes; 0: at once.
    sync_passes: i64,
    /// Passes since they last stopped.
    wave: i64,
    dummy_ps: i64,
    /// When the next span starts, if none is under way.
    ready_ps: i64,
    span: Option<Span>,
    stopped: Option<Stop>,
    /// How long passes were under way.
    busy_ps: i64,
    idle_time: IdleTime,
    spare: Vec<Run>,
    scratch: Timeline,
}

/// Passes that all ranks are in.
#[derive(Default)]
struct Span {
    start_ps: i64,
    passes: i64,
    times: Timeline,
    /// A rank has decided what comes after it.
    committed: bool,
}

impl Span {
    fn end_ps(&self) -> i64 {
        self.start_ps.saturating_add(self.times.time(self.passes))
    }

    fn last_start_ps(&self) -> i64 {
        self.start_ps.saturating_add(self.times.time((self.passes - 1).max(0)))
    }

    /// Ends it after `passes` passes, if it is longer.
    fn cut(&mut self, passes: i64) {
        if passes < self.passes && !self.committed {
            self.passes = passes;
            self.times.truncate(passes);
        }
    }
}

impl<'a> InStep<'a> {
    pub fn new(setting: Setting<'a>, stall_passes: u64, gap_limit: usize) -> Self {
        let data = setting.data;
        InStep {
            ranks: (0..data.ranks).map(|_| Rank::new(setting.scheduler(gap_limit))).collect(),
            setting,
            stall_passes,
            ahead: setting.ahead(),
            idle_ahead: matches!(setting.engine, Engine::Sglang(_)) && setting.ahead() > 0,
            sync_passes: i64::from(data.sync_passes),
            wave: 0,
            dummy_ps: setting.step_time.of(&Features::decode(1, 1)),
            ready_ps: 0,
            span: None,
            stopped: None,
            busy_ps: 0,
            idle_time: IdleTime::default(),
            spare: Vec::new(),
            scratch: Timeline::default(),
        }
    }

    pub fn next_event(&self) -> Option<(i64, Phase)> {
        if self.stopped.is_some() {
            return None;
        }
        if let Some(span) = &self.span {
            let last_start_ps = span.last_start_ps();
            let decides = self.ahead > 0 && self.ranks.iter().any(|rank| rank.decides_in(span.passes, last_start_ps));
            return Some(match decides {
                true => (last_start_ps.max(self.ready_ps), Phase::Decision),
                false => (span.end_ps(), Phase::Results),
            });
        }
        if self.ranks.iter().any(|rank| rank.executing.as_ref().is_some_and(|run| run.left() == 0)) {
            return Some((self.ready_ps, Phase::Results));
        }
        if self.tail() > 0 || self.ranks.iter().any(|rank| rank.works() || rank.wants(self.ready_ps)) {
            return Some((self.ready_ps, Phase::Decision));
        }
        self.ranks.iter().filter_map(Rank::wakes).min().map(|wake_ps| (wake_ps, Phase::Decision))
    }

    pub fn process(&mut self, (time_ps, phase): (i64, Phase), results: &mut Results) {
        if time_ps > HORIZON_PS {
            self.stopped = Some(Stop::Horizon);
            return;
        }
        match (phase, self.span.is_some()) {
            (Phase::Results, true) => self.end_span(results),
            (Phase::Results, false) => self.take_results(results),
            (_, true) => self.decide_ahead(time_ps, results),
            (_, false) => self.start_span(time_ps, results),
        }
    }

    /// Ranks whose last pass now starts decide the next one.
    fn decide_ahead(&mut self, now_ps: i64, results: &mut Results) {
        let Some(mut span) = self.span.take() else { return };
        let (last_start_ps, end_ps) = (span.last_start_ps(), span.end_ps());
        for index in 0..self.ranks.len() {
            let rank = &mut self.ranks[index];
            if !rank.decides_in(span.passes, last_start_ps) {
                continue;
            }
            if let Some(run) = &mut rank.executing
                && !run.closed
            {
                run.note(&span.times, span.passes, last_start_ps, end_ps);
                run.closed = true;
                if run.works {
                    rank.scheduler.settle(&mut run.pass);
                }
            }
            span.committed = true;
            self.decide(index, self.wave + span.passes, (now_ps, end_ps), results);
        }
        self.span = Some(span);
    }

    /// A rank decides pass number `step` of the wave, now, to start at a time not before.
    fn decide(&mut self, index: usize, step: i64, (now_ps, start_ps): (i64, i64), results: &mut Results) {
        let rank = &mut self.ranks[index];
        if rank.scheduler.passes() >= self.setting.max_passes {
            self.stopped = Some(Stop::PassLimit);
            return;
        }
        let mut run = self.spare.pop().unwrap_or_default();
        rank.scheduler.set_step(step);
        if rank.scheduler.schedule(now_ps, start_ps, results, &mut run.pass) {
            run.begin();
            let place = if rank.executing.is_none() { &mut rank.executing } else { &mut rank.queued };
            *place = Some(run);
        } else {
            self.spare.push(run);
            rank.asleep = true;
            if let Some(error) = rank.scheduler.failure() {
                self.stopped = Some(Stop::Engine(error));
            }
        }
    }

    /// All ranks are at the barrier: those without a pass decide, and the passes up to the next
    /// decision or result of any rank start.
    fn start_span(&mut self, now_ps: i64, results: &mut Results) {
        let join_later = self.idle_ahead && self.ranks.iter().any(Rank::works);
        if !join_later {
            for index in 0..self.ranks.len() {
                if self.ranks[index].executing.is_none() && self.ranks[index].wants(now_ps) {
                    self.decide(index, self.wave, (now_ps, now_ps), results);
                }
            }
        }
        let works = self.ranks.iter().any(Rank::works);
        if self.idle_ahead && works {
            for rank in self.ranks.iter_mut().filter(|rank| rank.executing.is_none()) {
                // A rank with work decides with all others when this pass starts: it joins the one after.
                let passes = if rank.wants(now_ps) { 1 } else { ENDLESS };
                rank.executing = Some(self.spare.pop().unwrap_or_default().idle(passes));
            }
        }
        let left = self.ranks.iter().filter_map(|rank| rank.executing.as_ref().map(Run::left)).min();
        let passes = left.filter(|_| works).unwrap_or(self.tail());
        if passes == 0 {
            self.wave = 0;
        } else if self.stopped.is_none() {
            self.span = Some(self.span_of(now_ps, if self.setting.leap { passes } else { 1 }));
            self.cut_at_wakes();
            if self.setting.layerwise {
                self.note_last_passes(results);
            }
        }
    }

    /// How long the passes of a span take is known when it starts.
    fn note_last_passes(&self, results: &mut Results) {
        let Some(span) = &self.span else { return };
        let (start_ps, end_ps) = (span.start_ps, span.end_ps());
        for rank in &self.ranks {
            if let Some(run) = rank.executing.as_ref().filter(|run| run.works) {
                rank.scheduler.note_last_passes(&run.pass, start_ps, end_ps, results);
            }
        }
    }

    /// A rank that looks up by itself decides as if something came to it then.
    fn cut_at_wakes(&mut self) {
        for index in 0..self.ranks.len() {
            if let (Some(wake_ps), Some(span)) = (self.ranks[index].scheduler.next_wake_ps(), &mut self.span)
                && (span.start_ps + 1..=span.end_ps()).contains(&wake_ps)
            {
                match self.ranks[index].executing {
                    None => span.cut(span.times.started_before(wake_ps - span.start_ps)),
                    Some(_) => self.cut(index, wake_ps),
                }
            }
        }
    }

    /// Passes to go, with nothing to do, until the ranks agree that there is nothing to do.
    fn tail(&self) -> i64 {
        if self.sync_passes == 0 { 0 } else { (-self.wave).rem_euclid(self.sync_passes) }
    }

    /// What ranks compute that have anything to.
    fn working(&self) -> impl Iterator<Item = &Run> {
        self.ranks.iter().filter_map(|rank| rank.executing.as_ref()).filter(|run| run.works)
    }

    /// The next `passes` passes, each as long as on its slowest rank.
    fn span_of(&mut self, start_ps: i64, passes: i64) -> Span {
        let step_time = self.setting.step_time;
        let tokens = self.working().map(|run| step_time.padded(&run.pass.features)).max().unwrap_or(0);
        // A pass that only preempts is none for the GPU, and a dummy runs in its place.
        let dummies =
            self.working().count() < self.ranks.len() || self.working().any(|run| run.pass.features.sequences == 0);
        let mut times = Timeline::default();
        times.push(Stretch { count: passes, first: if dummies { self.dummy_ps } else { 1 }, step: 0 });
        for rank in &mut self.ranks {
            if let Some(run) = rank.executing.as_mut().filter(|run| run.works) {
                run.fill_up(step_time, tokens, passes);
                let (alone, skip) = run.alone();
                slowest::raise(&mut times, alone, skip, &mut self.scratch);
            }
        }
        Span { start_ps, passes, times, committed: false }
    }

    fn end_span(&mut self, results: &mut Results) {
        let Some(span) = self.span.take() else { return };
        let (last_start_ps, end_ps) = (span.last_start_ps(), span.end_ps());
        self.note_idle(&span);
        for rank in &mut self.ranks {
            if let Some(run) = &mut rank.executing {
                if !run.closed {
                    run.note(&span.times, span.passes, last_start_ps, end_ps);
                }
                run.done += span.passes;
            }
        }
        self.wave += span.passes;
        self.busy_ps += end_ps - span.start_ps;
        self.ready_ps = end_ps;
        self.take_results(results);
    }

    /// Each rank waits for the slowest once it has computed what it had. Where none has work, none waits for another.
    fn note_idle(&mut self, span: &Span) {
        if self.working().next().is_some() {
            let all_ps = i128::from(span.times.time(span.passes)) * self.ranks.len() as i128;
            let computed_ps: i128 = self.working().map(|run| i128::from(run.alone_ps(span.passes))).sum();
            self.idle_time += IdleTime { all_ps, idle_ps: all_ps - computed_ps };
        }
    }

    /// Takes in the results of runs that are over.
    fn take_results(&mut self, results: &mut Results) {
        for rank in &mut self.ranks {
            let Some(mut run) = rank.executing.take_if(|run| run.left() == 0) else { continue };
            if run.works {
                let next = rank.queued.as_mut().map(|next| &mut *next.pass);
                rank.scheduler.update(&mut run.pass, next, results);
                rank.pass_time.add(run.pass.time(self.setting.step_time));
            }
            rank.executing = rank.queued.take();
            rank.asleep = false;
            self.spare.push(run);
            if rank.scheduler.is_stalled(self.stall_passes) {
                self.stopped = Some(Stop::Stalled);
            } else if rank.scheduler.passes() >= self.setting.max_passes {
                self.stopped = Some(Stop::PassLimit);
            }
        }
        if !self.ranks.iter().any(Rank::works) {
            // Nobody is left to keep company.
            self.spare.extend(self.ranks.iter_mut().filter_map(|rank| rank.executing.take()));
        }
    }

    /// Something came to a rank from outside. If it `matters`, passes decided from now on may be others.
    pub fn look_again(&mut self, rank: u32, matters: bool, now: Now) {
        let index = rank as usize;
        if matters || !self.ranks[index].works() {
            self.cut(index, now.decided_ps());
        }
        let started = self.started(now.decided_ps());
        let rank = &mut self.ranks[index];
        match (&rank.executing, &mut self.span) {
            (None, None) => {
                self.ready_ps = self.ready_ps.max(now.ps);
                rank.asleep = false;
            }
            (None, Some(span)) => {
                span.cut(started.max(1));
                rank.asleep = false;
            }
            // Nothing was there to queue behind this pass when it started: the queue is looked at when it ends.
            (Some(run), Some(span))
                if rank.queued.is_none() && run.left() <= span.passes && span.last_start_ps() < now.decided_ps() =>
            {
                rank.asleep = true;
            }
            (Some(run), _) => rank.asleep &= run.works,
        }
    }

    /// Ends the last run of a rank after the passes decided before `time_ps`.
    fn cut(&mut self, index: usize, time_ps: i64) {
        let started = self.started(time_ps);
        let rank = &mut self.ranks[index];
        if let Some(run) = &mut rank.queued {
            run.cut(1);
        } else if let Some(run) = rank.executing.as_mut().filter(|run| !run.closed) {
            run.cut((run.done + started + self.ahead).max(1));
            if let Some(span) = &mut self.span {
                span.cut(run.left());
            }
        }
    }

    /// Passes of the span that start before `time_ps`.
    fn started(&self, time_ps: i64) -> i64 {
        self.span.as_ref().map_or(0, |span| span.times.started_before(time_ps - span.start_ps))
    }

    pub fn busy_ps(&self) -> i64 {
        self.busy_ps
    }

    /// Of passes in which some rank has work; idle is who waits for the slowest, or has nothing to do.
    pub fn idle_time(&self) -> IdleTime {
        self.idle_time
    }

    pub fn stopped(&self) -> Option<Stop> {
        self.stopped
    }

    /// Of a rank to which something comes at `time_ps`.
    pub fn scheduler(&mut self, rank: u32, time_ps: i64) -> &mut AnyScheduler<'a> {
        let scheduler = &mut self.ranks[rank as usize].scheduler;
        scheduler.kept_busy(if self.span.is_some() { time_ps } else { self.ready_ps });
        scheduler
    }

    /// Calls `look` with the scheduler of each rank, and the passes of an unsettled run decided before `time_ps`.
    pub fn each(&self, time_ps: i64, mut look: impl FnMut(&AnyScheduler<'a>, i64)) {
        let started = self.started(time_ps);
        for rank in &self.ranks {
            look(&rank.scheduler, rank.decided(started, self.ahead));
        }
    }

    pub fn into_ledgers(self) -> Vec<Ledger> {
        self.ranks.into_iter().map(|rank| rank.scheduler.into_ledger(rank.pass_time)).collect()
    }
}
