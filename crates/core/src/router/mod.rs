//! Which replica gets a request.
//!
//! A native router ([`Native`]) is one small file here. Several instances of it may run side by
//! side: each is told only of what it sent itself, as routers without shared state are. What a
//! router counts itself is always of the present; what replicas tell it is as old as telemetry.
//!
//! Files: [`build`] makes them from their configuration; `loads`, `tree`, `ring` and `contents` are
//! what they have in common.

mod build;
mod cache_aware;
mod consistent_hashing;
mod contents;
mod kv_aware;
mod least;
mod llm_d;
mod loads;
mod power_of_two;
mod prefix_hash;
mod recent;
mod ring;
mod session_affinity;
mod simple;
mod text_tree;
mod tree;

pub use build::{build, reads_contents};
pub use contents::sessions;

use crate::clock::Now;
use crate::config::Deal;
use crate::random;
use crate::replica::Replica;
use crate::trace::NONE;

/// A replica as a router sees it. Nothing here tells how long outputs really are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaView {
    pub running: u32,
    pub waiting: u32,
    pub used_blocks: u32,
    pub free_blocks: u32,
}

/// All replicas, at the time of a decision.
pub struct Fleet<'f, 'a> {
    /// As they are; empty where replicas are run one after the other.
    pub workers: &'f [Replica<'a>],
    /// As telemetry shows them: of `seen_ps`.
    pub views: &'f [ReplicaView],
    pub seen_ps: i64,
    pub now: Now,
}

/// Where a request goes, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    pub replica: u32,
    /// An index into the router's reasons, or [`NONE`].
    pub reason: u32,
    /// Prompt tokens the router believes the replica to have cached, or [`NONE`] if it does not ask.
    pub overlap_tokens: u32,
}

impl Pick {
    fn new(replica: u32, reason: u32) -> Self {
        Pick { replica, reason, overlap_tokens: NONE }
    }
}

/// A router given by the user.
pub trait Policy {
    /// Where `request` goes at `now_ps`.
    fn route(&mut self, request: u32, now_ps: i64, fleet: &Fleet) -> Result<Pick, PolicyError>;

    /// The first token of a request has reached its client.
    fn first_token(&mut self, request: u32, replica: u32, now_ps: i64) -> Result<(), PolicyError>;

    /// A request has left its replica.
    fn ended(&mut self, request: u32, replica: u32, now_ps: i64) -> Result<(), PolicyError>;
}

/// A user's policy failed; the run ends.
#[derive(Debug)]
pub struct PolicyError {
    /// The method that failed.
    pub hook: &'static str,
    pub request: u32,
    pub now_ps: i64,
    /// The policy's own error, or what was wrong with its answer.
    pub cause: Box<dyn std::any::Any + Send>,
}

/// One instance of a router of ours.
pub(crate) trait Native {
    /// What its picks' reasons mean.
    fn reasons(&self) -> &'static [&'static str];

    /// Where `request` goes; it is then sent there.
    fn pick(&mut self, request: u32, now_ps: i64, fleet: &Fleet) -> Pick;

    /// Keeps the request back, to be asked for with [`Self::release`]. False: it can be sent at once.
    fn hold(&mut self, _request: u32, _now_ps: i64, _fleet: &Fleet) -> bool {
        false
    }

    fn keeps_back(&self) -> bool {
        false
    }

    /// A request kept back that can be sent now.
    fn release(&mut self) -> Option<u32> {
        None
    }

    /// The first token of a request that this instance sent has come.
    fn first_token(&mut self, _request: u32, _replica: u32) {}

    /// A request that this instance sent has left its replica.
    fn ended(&mut self, _request: u32, _replica: u32) {}

    /// Another instance has sent a request there. Only what engines tell everyone may be learnt from it.
    fn sent_by_another(&mut self, _request: u32, _replica: u32) {}

    /// A request that another instance sent has left its replica.
    fn ended_by_another(&mut self, _request: u32, _replica: u32) {}
}

/// Instances of one router, and which of them handles a request.
pub(crate) struct Instances<'a> {
    pub(crate) all: Vec<Box<dyn Native + 'a>>,
    pub(crate) deal: Deal,
    pub(crate) seed: u64,
    /// The first request of each request's session, for [`Deal::Hash`].
    pub(crate) sessions: Vec<u32>,
    pub(crate) dealt: u32,
    /// By request, if there are several.
    pub(crate) instance_of: Vec<u32>,
}

impl Instances<'_> {
    fn deal_out(&mut self, request: u32) -> usize {
        let count = self.all.len() as u64;
        if count == 1 {
            return 0;
        }
        let instance = match self.deal {
            Deal::RoundRobin => {
                self.dealt += 1;
                u64::from(self.dealt - 1) % count
            }
            Deal::Hash => random::draw(self.seed, &[u64::from(self.sessions[request as usize])]) % count,
        };
        self.instance_of[request as usize] = instance as u32;
        instance as usize
    }

    fn of(&self, request: u32) -> usize {
        self.instance_of.get(request as usize).map_or(0, |&instance| instance as usize)
    }

    fn send(&mut self, request: u32, now_ps: i64, fleet: &Fleet) -> Pick {
        let own = self.of(request);
        let pick = self.all[own].pick(request, now_ps, fleet);
        for (index, other) in self.all.iter_mut().enumerate() {
            if index != own {
                other.sent_by_another(request, pick.replica);
            }
        }
        pick
    }
}

pub(crate) enum Kind<'a, 'p> {
    Native(Instances<'a>),
    Policy(&'p mut (dyn Policy + Send)),
}

pub struct Router<'a, 'p> {
    pub(crate) kind: Kind<'a, 'p>,
    /// Whether its choices are known before the run: then replicas do not affect each other.
    pub(crate) is_static: bool,
    /// How old views are, if it reads them: the interval between samples and their delay.
    pub(crate) telemetry_ps: Option<(i64, i64)>,
}

impl Router<'_, '_> {
    pub fn is_static(&self) -> bool {
        self.is_static
    }

    pub fn telemetry_ps(&self) -> Option<(i64, i64)> {
        self.telemetry_ps
    }

    /// What the reasons of its picks mean; a user's router knows its own.
    pub fn reasons(&self) -> &'static [&'static str] {
        match &self.kind {
            Kind::Native(instances) => instances.all[0].reasons(),
            Kind::Policy(_) => &[],
        }
    }

    /// The replica for a request that has arrived; none if it is kept back.
    pub fn route(&mut self, request: u32, now_ps: i64, fleet: &Fleet) -> Result<Option<Pick>, PolicyError> {
        match &mut self.kind {
            Kind::Native(instances) => {
                let own = instances.deal_out(request);
                let held = instances.all[own].hold(request, now_ps, fleet);
                Ok((!held).then(|| instances.send(request, now_ps, fleet)))
            }
            Kind::Policy(policy) => policy.route(request, now_ps, fleet).map(Some),
        }
    }

    /// Whether requests are kept back, to be sent when there is room.
    pub fn keeps_back(&self) -> bool {
        match &self.kind {
            Kind::Native(instances) => instances.all.iter().any(|instance| instance.keeps_back()),
            Kind::Policy(_) => false,
        }
    }

    /// The next request that was kept back and can be sent now, with its replica.
    pub fn release(&mut self, now_ps: i64, fleet: &Fleet) -> Option<(u32, Pick)> {
        let Kind::Native(instances) = &mut self.kind else { return None };
        let request = instances.all.iter_mut().find_map(|instance| instance.release())?;
        Some((request, instances.send(request, now_ps, fleet)))
    }

    /// The first token of a request has come.
    pub fn first_token(&mut self, request: u32, replica: u32, now_ps: i64) -> Result<(), PolicyError> {
        match &mut self.kind {
            Kind::Native(instances) => {
                let own = instances.of(request);
                instances.all[own].first_token(request, replica);
                Ok(())
            }
            Kind::Policy(policy) => policy.first_token(request, replica, now_ps),
        }
    }

    /// A request has left `replica`.
    pub fn ended(&mut self, request: u32, replica: u32, now_ps: i64) -> Result<(), PolicyError> {
        match &mut self.kind {
            Kind::Native(instances) => {
                let own = instances.of(request);
                for (index, instance) in instances.all.iter_mut().enumerate() {
                    if index == own {
                        instance.ended(request, replica);
                    } else {
                        instance.ended_by_another(request, replica);
                    }
                }
                Ok(())
            }
            Kind::Policy(policy) => policy.ended(request, replica, now_ps),
        }
    }
}
