//! Sticky sessions, as the SGLang Model Gateway's `manual` policy keeps them: the replica of a
//! session's first turn serves all others, until the session has been idle for too long.

use super::loads::Loads;
use super::simple::any;
use super::{Fleet, Native, Pick};
use crate::config::Assignment;
use crate::trace::NONE;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

const STICKY: u32 = 0;
const NEW: u32 = 1;
const ALONE: u32 = 2;

pub(super) struct SessionAffinity {
    pub(super) seed: u64,
    pub(super) assignment: Assignment,
    /// An idle session is forgotten at the first multiple of `eviction_ps` at which it has been idle for `idle_ps`.
    pub(super) idle_ps: i64,
    pub(super) eviction_ps: i64,
    /// By request: its session, or [`NONE`].
    pub(super) sessions: Vec<u32>,
    pub(super) bound: HashMap<u32, Bound, FxBuildHasher>,
    pub(super) requests: Loads,
    /// Sessions with a request in flight.
    pub(super) groups: Loads,
}

pub(super) struct Bound {
    replica: u32,
    used_ps: i64,
}

impl SessionAffinity {
    fn new_replica(&self, request: u32) -> u32 {
        let loads = match self.assignment {
            Assignment::Random => return any(self.seed, request, self.requests.replicas()),
            Assignment::MinLoad => &self.requests,
            Assignment::MinGroup => &self.groups,
        };
        let alike = loads.all_least().count() as u32;
        loads.all_least().nth(any(self.seed, request, alike) as usize).expect("one of those alike")
    }

    fn is_forgotten(&self, bound: &Bound, now_ps: i64) -> bool {
        let last_eviction_ps = now_ps - now_ps % self.eviction_ps;
        last_eviction_ps - bound.used_ps >= self.idle_ps
    }
}

impl Native for SessionAffinity {
    fn reasons(&self) -> &'static [&'static str] {
        &["session", "new session", "no session"]
    }

    fn pick(&mut self, request: u32, now_ps: i64, _fleet: &Fleet) -> Pick {
        let session = self.sessions[request as usize];
        let known = self.bound.get(&session).filter(|bound| !self.is_forgotten(bound, now_ps));
        let pick = match known {
            Some(bound) => Pick::new(bound.replica, STICKY),
            None => Pick::new(self.new_replica(request), if session == NONE { ALONE } else { NEW }),
        };
        if session != NONE {
            self.bound.insert(session, Bound { replica: pick.replica, used_ps: now_ps });
            self.groups.add(pick.replica, 1); // one request of a session is in flight at a time
        }
        self.requests.add(pick.replica, 1);
        pick
    }

    fn ended(&mut self, request: u32, replica: u32) {
        if self.sessions[request as usize] != NONE {
            self.groups.remove(replica, 1);
        }
        self.requests.remove(replica, 1);
    }
}
