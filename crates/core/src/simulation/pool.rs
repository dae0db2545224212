//! A pool in the course of a run.

use crate::clock::Now;
use crate::replica::Replica;
use crate::router::{Fleet, Pick, PolicyError, Router};
use crate::scheduler::Setting;
use crate::telemetry::Telemetry;
use crate::worker::Phase;
use std::ops::Range;

/// Replicas that are alike, behind one router, which numbers them from 0 on.
pub(super) struct Pool<'a, 'p> {
    pub(super) replicas: Range<u32>,
    pub(super) setting: Setting<'a>,
    pub(super) router: Router<'a, 'p>,
    pub(super) telemetry: Telemetry,
    /// When a request that the router keeps back can be sent: at the time of the results that made room.
    pub(super) release: Option<(i64, Phase)>,
}

impl<'a, 'p> Pool<'a, 'p> {
    pub(super) fn new(replicas: Range<u32>, setting: Setting<'a>, router: Router<'a, 'p>) -> Self {
        let telemetry = Telemetry::new(&router);
        Pool { replicas, setting, router, telemetry, release: None }
    }

    /// Replicas are seen as they are before anything happens.
    pub(super) fn start(&mut self, workers: &[Replica<'a>]) {
        self.telemetry.start(own(&self.replicas, workers));
    }

    /// A tick of telemetry.
    pub(super) fn observe(&mut self, workers: &[Replica<'a>]) {
        self.telemetry.observe(own(&self.replicas, workers));
    }

    fn fleet<'f>(&'f mut self, now: Now, workers: &'f [Replica<'a>]) -> (Fleet<'f, 'a>, &'f mut Router<'a, 'p>) {
        (self.telemetry.fleet(now, own(&self.replicas, workers)), &mut self.router)
    }

    /// Where a request goes, by its number in the run; none if it is kept back.
    pub(super) fn route(
        &mut self,
        request: u32,
        now: Now,
        workers: &[Replica<'a>],
    ) -> Result<Option<Pick>, PolicyError> {
        let first = self.replicas.start;
        let (fleet, router) = self.fleet(now, workers);
        let pick = router.route(request, now.ps, &fleet)?;
        Ok(pick.map(|pick| Pick { replica: first + pick.replica, ..pick }))
    }

    /// Requests have gone, at `now_ps`: the router may send one that it kept back.
    pub(super) fn may_release(&mut self, now_ps: i64) {
        if self.router.keeps_back() {
            self.release = Some((now_ps, Phase::Arrival));
        }
    }

    /// The next request that was kept back and can be sent now.
    pub(super) fn release(&mut self, now: Now, workers: &[Replica<'a>]) -> Option<(u32, Pick)> {
        let first = self.replicas.start;
        let (fleet, router) = self.fleet(now, workers);
        let (request, pick) = router.release(now.ps, &fleet)?;
        Some((request, Pick { replica: first + pick.replica, ..pick }))
    }

    pub(super) fn first_token(&mut self, request: u32, replica: u32, now_ps: i64) -> Result<(), PolicyError> {
        self.router.first_token(request, replica - self.replicas.start, now_ps)
    }

    pub(super) fn ended(&mut self, request: u32, replica: u32, now_ps: i64) -> Result<(), PolicyError> {
        self.router.ended(request, replica - self.replicas.start, now_ps)
    }
}

fn own<'w, 'a>(replicas: &Range<u32>, workers: &'w [Replica<'a>]) -> &'w [Replica<'a>] {
    &workers[replicas.start as usize..replicas.end as usize]
}
