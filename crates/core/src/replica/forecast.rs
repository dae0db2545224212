//! Quiet passes of a pipeline, each decoding what its micro-batch decodes: a leap.
//!
//! Their times in each stage are progressions; when they enter and leave the stages is added up pass by
//! pass, as stepping does. What is forecast becomes fact when the forecast ends, or is cut.

use super::stages::{Way, travel};
use crate::config::Pipeline;
use crate::step_time::{Features, StepTime, Stretch, Timeline};

#[derive(Default)]
pub(super) struct Forecast {
    /// Passes of it that stand; the first is number `first`.
    pub(super) passes: usize,
    pub(super) first: u64,
    /// Of each micro-batch, in the order of its turns from the first pass on.
    pub(super) features: Vec<Features>,
    /// For each of these, the times of its passes in each kind of stage.
    pub(super) timelines: Vec<Vec<Timeline>>,
    /// When each pass is decided, and the one after the last.
    pub(super) decided_ps: Vec<i64>,
    /// When the engine has the results that it waits for after each decision.
    pub(super) results_ps: Vec<i64>,
    pub(super) ways: Vec<Way>,
    /// When each stage has computed each pass.
    pub(super) free_ps: Vec<i64>,
}

/// What a forecast starts from.
pub(super) struct Outset<'o> {
    pub(super) config: &'o Pipeline,
    pub(super) now_ps: i64,
    /// After a decision that found nothing to do.
    pub(super) pause_ps: i64,
    /// When passes under way leave the last stage, the oldest first; the least number if there is nothing in one.
    pub(super) under_way: &'o [i64],
    /// Of each micro-batch in the order of turns: its passes enter the first stage after this time, that at
    /// which its last one leaves the last stage; none if they are decided after that anyway.
    pub(super) after_ps: Option<Vec<i64>>,
    pub(super) free_ps: Vec<i64>,
}

impl Forecast {
    /// Forecasts `passes` passes. `features` is what the next of each micro-batch does.
    pub(super) fn of(first: u64, passes: usize, features: Vec<Features>, outset: Outset) -> Self {
        let Outset { config, now_ps, pause_ps, under_way, mut after_ps, mut free_ps } = outset;
        let turns = features.len();
        let timelines: Vec<Vec<Timeline>> = features
            .iter()
            .enumerate()
            .map(|(turn, features)| {
                let count = (passes + turns - 1 - turn) / turns;
                let rows = if count > 0 { features.decode_rows } else { 0 };
                let timeline = |kind: &StepTime| {
                    let mut timeline = Timeline::default();
                    if rows > 0 {
                        kind.decode_stretches(rows, features.context, count as i64, &mut timeline);
                        if kind.prices_longest() {
                            timeline.lengthen(kind.longest_ps(features));
                        }
                    }
                    timeline
                };
                config.kinds.iter().map(timeline).collect()
            })
            .collect();
        let mut forecast = Forecast {
            passes,
            first,
            features,
            timelines: Vec::new(),
            decided_ps: Vec::with_capacity(passes + 1),
            results_ps: Vec::with_capacity(passes),
            ways: Vec::with_capacity(passes),
            free_ps: Vec::with_capacity(passes * free_ps.len()),
        };
        let mut cursors: Vec<Vec<Cursor>> =
            timelines.iter().map(|kinds| kinds.iter().map(Cursor::new).collect()).collect();
        let mut times = vec![0; config.kinds.len()];
        let mut at_ps = now_ps;
        for index in 0..passes {
            let turn = index % turns;
            forecast.decided_ps.push(at_ps);
            let idle = forecast.features[turn].sequences == 0;
            let mut way = Way { start_ps: at_ps, end_ps: i64::MIN };
            if !idle {
                for (time, cursor) in times.iter_mut().zip(&mut cursors[turn]) {
                    *time = cursor.next();
                }
                let from_ps = after_ps.as_ref().map_or(at_ps, |after_ps| at_ps.max(after_ps[turn]));
                way = travel(&mut free_ps, config, from_ps, |kind| times[kind]);
                if let Some(after_ps) = &mut after_ps {
                    after_ps[turn] = way.end_ps;
                }
            }
            forecast.ways.push(way);
            forecast.free_ps.extend_from_slice(&free_ps);
            let oldest_ps = match under_way.get(index) {
                Some(&end_ps) => end_ps,
                None => forecast.ways[index - under_way.len()].end_ps,
            };
            let results_ps = at_ps.max(oldest_ps);
            forecast.results_ps.push(results_ps);
            at_ps = if idle { results_ps.saturating_add(pause_ps) } else { results_ps };
        }
        forecast.decided_ps.push(at_ps);
        forecast.timelines = timelines;
        forecast
    }

    /// When what comes after it is decided.
    pub(super) fn end_ps(&self) -> i64 {
        self.decided_ps[self.passes]
    }

    /// Passes of it that are decided before `time_ps`.
    pub(super) fn decided_before(&self, time_ps: i64) -> usize {
        self.decided_ps[..self.passes].partition_point(|&decided_ps| decided_ps < time_ps).max(1)
    }

    /// Passes of each micro-batch that stand, in the order of turns.
    pub(super) fn count(&self, turn: usize) -> i64 {
        let turns = self.features.len();
        ((self.passes + turns - 1 - turn) / turns) as i64
    }
}

/// A place in a sequence of passes.
struct Cursor<'t> {
    rest: std::slice::Iter<'t, Stretch>,
    time: i64,
    step: i64,
    left: i64,
}

impl<'t> Cursor<'t> {
    fn new(timeline: &'t Timeline) -> Self {
        Cursor { rest: timeline.stretches.iter(), time: 0, step: 0, left: 0 }
    }

    /// The time of the next pass.
    fn next(&mut self) -> i64 {
        if self.left == 0
            && let Some(stretch) = self.rest.next()
        {
            (self.time, self.step, self.left) = (stretch.first, stretch.step, stretch.count);
        }
        let time = self.time;
        self.time = time.saturating_add(self.step);
        self.left -= 1;
        time
    }
}
