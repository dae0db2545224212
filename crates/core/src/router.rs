//! Which replica gets a request.

use crate::random;
use std::collections::BTreeSet;

/// A replica as a router sees it. Nothing here tells how long outputs really are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaView {
    pub running: u32,
    pub waiting: u32,
    pub used_blocks: u32,
    pub free_blocks: u32,
}

/// A router given by the user.
pub trait Policy {
    /// The replica for `request` at `now_ps`. `views` are of `seen_ps`, as old as telemetry makes them.
    fn route(&mut self, request: u32, now_ps: i64, seen_ps: i64, views: &[ReplicaView]) -> Result<u32, PolicyError>;
}

/// A user's policy failed; the run ends.
#[derive(Debug)]
pub struct PolicyError {
    pub request: u32,
    pub now_ps: i64,
    /// The policy's own error, or what was wrong with its answer.
    pub cause: Box<dyn std::any::Any + Send>,
}

pub enum Router<'a> {
    RoundRobin { next: u32 },
    Random { seed: u64 },
    LeastRequests { load: BTreeSet<(u32, u32)>, of: Vec<u32> },
    Policy { policy: &'a mut (dyn Policy + Send), interval_ps: i64, delay_ps: i64 },
}

impl Router<'_> {
    /// Whether its choices are known before the run: then replicas do not affect each other.
    pub fn is_static(&self) -> bool {
        matches!(self, Router::RoundRobin { .. } | Router::Random { .. })
    }

    pub fn least_requests(replicas: u32) -> Self {
        Router::LeastRequests { load: (0..replicas).map(|r| (0, r)).collect(), of: vec![0; replicas as usize] }
    }

    /// The replica for `request`. `views`, of `seen_ps`, are read only by user policies.
    pub fn route(
        &mut self,
        request: u32,
        now_ps: i64,
        replicas: u32,
        (seen_ps, views): (i64, &[ReplicaView]),
    ) -> Result<u32, PolicyError> {
        match self {
            Router::RoundRobin { next } => {
                let choice = *next;
                *next = (choice + 1) % replicas;
                Ok(choice)
            }
            Router::Random { seed } => Ok((random::draw(*seed, &[u64::from(request)]) % u64::from(replicas)) as u32),
            Router::LeastRequests { load, of } => {
                let (count, choice) = load.pop_first().expect("there is a replica");
                load.insert((count + 1, choice));
                of[choice as usize] = count + 1;
                Ok(choice)
            }
            Router::Policy { policy, .. } => policy.route(request, now_ps, seen_ps, views),
        }
    }

    /// A request has left `replica`.
    pub fn ended(&mut self, replica: u32) {
        if let Router::LeastRequests { load, of } = self {
            let count = &mut of[replica as usize];
            load.remove(&(*count, replica));
            *count -= 1;
            load.insert((*count, replica));
        }
    }
}
