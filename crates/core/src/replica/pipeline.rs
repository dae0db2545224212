//! A pipeline of stages: one engine loop, with as many passes under way as it keeps.
//!
//! The loop decides a pass, and while fewer than `depth` passes are under way decides the next at once;
//! else it waits for the results of the oldest. A decision that finds nothing to do is a pass as well,
//! that takes no time: so micro-batches take turns. vLLM: `step_with_batch_queue` in
//! vllm/v1/engine/core.py, where the depth is the number of stages, and one more with async scheduling
//! (`max_concurrent_batches` in vllm/config/vllm.py). SGLang: `event_loop_pp` in
//! srt/managers/scheduler_pp_mixin.py, where it is the number of stages.

use super::forecast::{Forecast, Outset};
use super::stages::{Stages, Way};
use crate::clock::Now;
use crate::config::{Engine, Pipeline};
use crate::record::{IdleTime, NEVER};
use crate::scheduler::{AnyScheduler, Ledger, Pass, Results, Scheduler, Setting, Turns};
use crate::worker::{Phase, Stop};
use crate::workload::HORIZON_PS;
use std::collections::VecDeque;

/// vLLM's engine loop sleeps so long after a decision that found nothing to do, if requests are there or have just ended
/// (`_process_engine_step` in vllm/v1/engine/core.py).
const PAUSE_PS: i64 = 1_000_000_000;
/// The least passes that are forecast together; more if the last forecast held for as many.
const FORECAST_PASSES: usize = 16;

pub struct Pipelined<'a> {
    scheduler: AnyScheduler<'a>,
    setting: Setting<'a>,
    config: &'a Pipeline,
    stages: Stages<'a>,
    stall_passes: u64,
    depth: usize,
    /// After a decision that found nothing.
    pause_ps: i64,
    /// A pass may be decided before the results of the same micro-batch's last one are in.
    ahead: bool,
    /// When the loop goes on.
    loop_ps: i64,
    /// Passes under way, the oldest first.
    under_way: VecDeque<UnderWay>,
    /// The number of the next pass.
    number: u64,
    /// The last decision found something to do.
    executed: bool,
    /// Decisions in a row that found nothing.
    idle: usize,
    /// Requests that came from outside since: the loop does not know of them yet.
    newcomers: u32,
    /// The loop waits for the oldest results, though it could decide.
    waits: bool,
    /// The last decision found nothing to do and nothing is under way; only what comes from outside changes that.
    asleep: bool,
    /// By micro-batch: when the results of its last pass came, and when its last pass leaves the last stage.
    results_ps: Vec<i64>,
    ends_ps: Vec<i64>,
    forecast: Option<Forecast>,
    /// How many passes are forecast at most.
    reach: usize,
    #[expect(clippy::vec_box)]
    spare: Vec<Box<Pass>>,
    stopped: Option<Stop>,
}

struct UnderWay {
    number: u64,
    start_ps: i64,
    /// When it leaves the last stage; the least number if there is nothing in it.
    end_ps: i64,
    pass: Option<Box<Pass>>,
}

impl<'a> Pipelined<'a> {
    /// Of a replica with a pipeline.
    pub fn new(setting: Setting<'a>, config: &'a Pipeline, stall_passes: u64, gap_limit: usize) -> Self {
        let stages = config.stage_count();
        Pipelined {
            scheduler: setting.scheduler((gap_limit / stages).max(1024)),
            setting,
            config,
            stages: Stages::new(config),
            stall_passes,
            depth: stages + setting.ahead() as usize,
            pause_ps: if matches!(setting.engine, Engine::Vllm(_)) { PAUSE_PS } else { 0 },
            ahead: setting.ahead() > 0,
            loop_ps: 0,
            under_way: VecDeque::new(),
            number: 0,
            executed: true,
            idle: 0,
            newcomers: 0,
            waits: false,
            asleep: true,
            results_ps: vec![NEVER; stages],
            ends_ps: vec![NEVER; stages],
            forecast: None,
            reach: FORECAST_PASSES,
            spare: Vec::new(),
            stopped: None,
        }
    }

    pub fn scheduler(&self) -> &AnyScheduler<'a> {
        &self.scheduler
    }

    pub fn stopped(&self) -> Option<Stop> {
        self.stopped
    }

    pub fn busy_ps(&self) -> i64 {
        self.stages.busy_ps
    }

    pub fn idle_time(&self) -> IdleTime {
        self.stages.idle_time()
    }

    pub fn into_ledger(self) -> Ledger {
        self.scheduler.into_ledger(self.stages.pass_time)
    }

    /// The next event, as it stands: an arrival may bring it forward.
    pub fn next_event(&self) -> Option<(i64, Phase)> {
        if self.stopped.is_some() {
            return None;
        }
        if let Some(forecast) = &self.forecast {
            return Some((forecast.end_ps(), Phase::Decision));
        }
        let decides = self.under_way.len() < self.depth && !self.waits && !self.asleep && self.scheduler.has_work();
        if decides {
            return Some((self.loop_ps, Phase::Decision));
        }
        self.under_way.front().map(|oldest| (oldest.end_ps.max(self.loop_ps), Phase::Results))
    }

    /// Processes the next event.
    pub fn process(&mut self, (time_ps, phase): (i64, Phase), results: &mut Results) {
        if time_ps > HORIZON_PS {
            self.stopped = Some(Stop::Horizon);
            return;
        }
        self.settle();
        if phase == Phase::Results {
            self.take_results(time_ps, results);
        } else {
            self.decide(time_ps, results);
        }
    }

    fn micro_batch(&self, number: u64) -> usize {
        (number % self.config.stage_count() as u64) as usize
    }

    fn decide(&mut self, now_ps: i64, results: &mut Results) {
        if self.scheduler.passes() >= self.setting.max_passes {
            self.stopped = Some(Stop::PassLimit);
            return;
        }
        if self.look_ahead(now_ps) {
            return;
        }
        let (number, batch) = (self.number, self.micro_batch(self.number));
        let mut pass = self.spare.pop().unwrap_or_default();
        // When its rows have their last tokens, as far as that is known.
        let since_ps = self.results_ps[batch].max(self.ends_ps[batch]);
        self.scheduler.turn_to(number);
        let found = self.scheduler.schedule(now_ps, since_ps, results, &mut pass);
        self.newcomers = 0;
        self.executed = found && pass.features.sequences > 0;
        self.number += 1;
        self.idle = if found || self.scheduler.has_taken_out() { 0 } else { self.idle + 1 };
        if !found {
            self.spare.push(pass);
            if let Some(error) = self.scheduler.failure() {
                self.stopped = Some(Stop::Engine(error));
                return;
            }
            self.under_way.push_back(UnderWay { number, start_ps: now_ps, end_ps: i64::MIN, pass: None });
            let turns = self.config.stage_count();
            if self.idle >= turns && self.under_way.iter().all(|other| other.pass.is_none()) {
                self.fall_asleep(now_ps);
                return;
            }
        } else {
            let (mut start_ps, mut end_ps) = (now_ps, now_ps);
            if self.executed {
                let from_ps = if self.ahead { now_ps.max(self.ends_ps[batch]) } else { now_ps };
                let way = self.stages.send(&pass.features, from_ps);
                self.scheduler.log_times(&pass, way.start_ps, way.end_ps - way.start_ps);
                self.ends_ps[batch] = way.end_ps;
                (start_ps, end_ps) = (way.start_ps, way.end_ps);
            } else {
                self.scheduler.log_times(&pass, now_ps, 0);
            }
            self.under_way.push_back(UnderWay { number, start_ps, end_ps, pass: Some(pass) });
        }
        self.loop_ps = now_ps;
        let full = self.under_way.len() == self.depth;
        if full && self.under_way[0].pass.is_none() {
            self.under_way.pop_front();
            self.pause(false);
        } else if !full {
            self.pause(false);
        }
    }

    fn requests(&self) -> u32 {
        self.scheduler.running() + self.scheduler.waiting()
    }

    /// After a decision that found nothing to do, if requests are there or have just `ended`.
    fn pause(&mut self, ended: bool) {
        let known = self.requests() - self.newcomers;
        if !self.executed && (known > 0 || ended) {
            self.loop_ps += self.pause_ps;
        }
        self.executed = true;
    }

    /// No micro-batch found anything in its turn.
    fn fall_asleep(&mut self, now_ps: i64) {
        self.idle = 0;
        self.under_way.clear();
        self.asleep = true;
        if self.setting.log_passes {
            self.scheduler.log_stuck(now_ps);
            self.stopped = Some(Stop::Stalled);
        }
    }

    fn take_results(&mut self, now_ps: i64, results: &mut Results) {
        let Some(UnderWay { number, start_ps, pass, .. }) = self.under_way.pop_front() else { return };
        self.waits = false;
        self.loop_ps = now_ps;
        let ended = |results: &Results| results.ended.len() + results.prefilled.len();
        let before = ended(results);
        if let Some(mut pass) = pass {
            let batch = self.micro_batch(number);
            (pass.start_ps, pass.end_ps) = (self.results_ps[batch], now_ps);
            self.results_ps[batch] = now_ps;
            let stages = self.config.stage_count() as u64;
            let next = self.under_way.iter_mut().find(|other| other.number == number + stages);
            if pass.features.sequences > 0 {
                self.scheduler.log_times(&pass, start_ps, now_ps - start_ps);
            }
            self.scheduler.turn_to(number);
            self.scheduler.update(&mut pass, next.and_then(|next| next.pass.as_deref_mut()), results);
            self.spare.push(pass);
        }
        self.pause(ended(results) > before);
        if !self.scheduler.has_work() {
            while self.under_way.front().is_some_and(|oldest| oldest.pass.is_none()) {
                self.under_way.pop_front();
            }
        }
        if self.scheduler.is_stalled(self.stall_passes) {
            self.stopped = Some(Stop::Stalled);
        } else if self.scheduler.passes() >= self.setting.max_passes {
            self.stopped = Some(Stop::PassLimit);
        }
    }

    /// Forecasts the passes up to the next one that may be other than a decode of the same rows. False if
    /// that is the next.
    fn look_ahead(&mut self, now_ps: i64) -> bool {
        let quiet = |other: &UnderWay| other.pass.as_ref().is_none_or(|pass| pass.is_quiet());
        if !self.setting.leap || self.under_way.len() + 1 != self.depth || !self.under_way.iter().all(quiet) {
            return false;
        }
        let passes = self.scheduler.quiet_passes(self.number).min(self.reach as i64);
        if passes < 2 {
            return false;
        }
        let turns = self.number..self.number + self.config.stage_count() as u64;
        let features = turns.clone().map(|pass| self.scheduler.quiet_features(pass)).collect();
        let under_way: Vec<i64> = self.under_way.iter().map(|other| other.end_ps).collect();
        let after_ps = self.ahead.then(|| turns.map(|pass| self.ends_ps[self.micro_batch(pass)]).collect());
        let (config, free_ps) = (self.config, self.stages.free_ps.clone());
        let outset = Outset { config, now_ps, pause_ps: self.pause_ps, under_way: &under_way, after_ps, free_ps };
        self.forecast = Some(Forecast::of(self.number, passes as usize, features, outset));
        true
    }

    /// What was forecast is fact.
    fn settle(&mut self) {
        let Some(forecast) = self.forecast.take() else { return };
        let passes = forecast.passes;
        self.reach = (2 * passes).max(FORECAST_PASSES);
        self.scheduler.skip(forecast.first, passes as i64);
        let stages = self.config.stage_count();
        for (turn, timelines) in forecast.timelines.iter().enumerate() {
            let features = &forecast.features[turn];
            if features.sequences > 0 && forecast.count(turn) > 0 {
                self.stages.note_run(features, forecast.count(turn), timelines);
            }
        }
        let ways = &forecast.ways[..passes];
        let numbered = |(index, way): (usize, &Way)| UnderWay {
            number: forecast.first + index as u64,
            start_ps: way.start_ps,
            end_ps: way.end_ps,
            pass: None,
        };
        for way in ways.iter().filter(|way| way.end_ps > i64::MIN) {
            self.stages.note_busy(*way);
        }
        for (turn, way) in ways.iter().enumerate().skip(passes.saturating_sub(stages)) {
            if way.end_ps > i64::MIN {
                let batch = self.micro_batch(forecast.first + turn as u64);
                self.ends_ps[batch] = way.end_ps;
            }
        }
        // After each decision come the results of the oldest pass under way: of those before the forecast, then of its own.
        let before = self.under_way.len();
        let first = self.under_way.front().map_or(forecast.first, |oldest| oldest.number);
        let mut batch = self.micro_batch(first);
        for (index, &results_ps) in forecast.results_ps[..passes].iter().enumerate() {
            let end_ps = match self.under_way.get(index) {
                Some(oldest) => oldest.end_ps,
                None => ways[index - before].end_ps,
            };
            if end_ps > i64::MIN {
                let gap_ps = results_ps - self.results_ps[batch];
                self.scheduler.skip_results(first + index as u64, results_ps, gap_ps);
                self.results_ps[batch] = results_ps;
            }
            batch = if batch + 1 == stages { 0 } else { batch + 1 };
        }
        self.spare.extend(self.under_way.drain(..passes.min(before)).filter_map(|oldest| oldest.pass));
        self.under_way.extend(ways.iter().enumerate().skip(passes.saturating_sub(before)).map(numbered));
        for other in self.under_way.iter_mut().filter(|other| other.end_ps > i64::MIN && other.pass.is_none()) {
            let mut pass = self.spare.pop().unwrap_or_default();
            self.scheduler.quiet_pass(other.number, &mut pass);
            other.pass = Some(pass);
        }
        self.stages.free_ps.copy_from_slice(&forecast.free_ps[(passes - 1) * stages..passes * stages]);
        self.number += passes as u64;
        self.loop_ps = forecast.end_ps();
        self.executed = true;
    }

    /// Something comes from outside now; all events before it have been processed. `act`
    /// tells the scheduler, and whether the next pass could now differ from those that are forecast.
    pub fn outside(&mut self, now: Now, act: impl FnOnce(&mut AnyScheduler<'a>) -> bool) {
        let (had_work, known) = (self.scheduler.has_work(), self.requests());
        let matters = act(&mut self.scheduler);
        self.newcomers += self.requests().saturating_sub(known);
        if let Some(forecast) = &mut self.forecast {
            if matters {
                forecast.passes = forecast.decided_before(now.decided_ps());
            }
        } else if self.under_way.is_empty() {
            self.loop_ps = self.loop_ps.max(now.ps);
            self.asleep = false;
        } else if !had_work && now.ps > self.loop_ps {
            self.waits = true; // for results that nobody wants any more
        }
    }

    /// Passes of a forecast that are decided before `time_ps`.
    pub fn decided_before(&self, time_ps: i64) -> i64 {
        self.forecast.as_ref().map_or(0, |forecast| forecast.decided_before(time_ps) as i64)
    }
}
