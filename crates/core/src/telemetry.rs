//! How replicas are seen from outside: sampled, and late.

use crate::clock::Now;
use crate::replica::Replica;
use crate::router::{Fleet, ReplicaView, Router};
use crate::worker::Phase;
use std::collections::VecDeque;

/// What a router is shown, as old as its telemetry is.
pub struct Telemetry {
    wanted: bool,
    interval_ps: i64,
    delay_ps: i64,
    next_tick_ps: i64,
    /// Observations on their way: time of the tick, views.
    on_way: VecDeque<(i64, Vec<ReplicaView>)>,
    shown_ps: i64,
    shown: Vec<ReplicaView>,
}

impl Telemetry {
    pub fn new(router: &Router) -> Self {
        let (interval_ps, delay_ps) = router.telemetry_ps().unwrap_or((0, 0));
        Telemetry {
            wanted: router.telemetry_ps().is_some(),
            interval_ps,
            delay_ps,
            next_tick_ps: 0,
            on_way: Default::default(),
            shown_ps: 0,
            shown: Vec::new(),
        }
    }

    /// Shows replicas as they are before anything happens.
    pub fn start(&mut self, workers: &[Replica]) {
        self.shown = workers.iter().map(|worker| worker.view(Now::at(0))).collect();
    }

    /// The next tick. It reads what holds once all that happens at its time but arrivals and
    /// decisions has happened. Ticks are passed over if, by the next event at `next_ps`, a later
    /// one will have come through: nobody is shown what they would see.
    pub fn next_tick(&mut self, next_ps: i64) -> Option<(i64, Phase)> {
        if self.interval_ps == 0 {
            return None;
        }
        let unseen = (next_ps - self.delay_ps - self.next_tick_ps) / self.interval_ps - 1;
        self.next_tick_ps += unseen.max(0) * self.interval_ps;
        Some((self.next_tick_ps, Phase::Arrival))
    }

    pub fn observe(&mut self, workers: &[Replica]) {
        let tick_ps = self.next_tick_ps;
        self.deliver(tick_ps);
        self.on_way.push_back((tick_ps, workers.iter().map(|worker| worker.view(Now::at(tick_ps))).collect()));
        self.next_tick_ps += self.interval_ps;
    }

    /// Shows the last observation that has arrived by `now_ps`.
    fn deliver(&mut self, now_ps: i64) {
        while let Some((tick_ps, _)) = self.on_way.front()
            && tick_ps + self.delay_ps <= now_ps
            && let Some((tick_ps, views)) = self.on_way.pop_front()
        {
            (self.shown_ps, self.shown) = (tick_ps, views);
        }
    }

    pub fn fleet<'f, 'a>(&'f mut self, now: Now, workers: &'f [Replica<'a>]) -> Fleet<'f, 'a> {
        if self.wanted && self.interval_ps == 0 {
            for (view, worker) in self.shown.iter_mut().zip(workers) {
                *view = worker.view(now);
            }
            self.shown_ps = now.ps;
        }
        self.deliver(now.ps);
        Fleet { workers, views: &self.shown, seen_ps: self.shown_ps, now }
    }
}
