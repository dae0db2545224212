//! Requests that a router keeps back while every replica has more than enough to prefill.

use crate::config::QueuePolicy;
use std::collections::BTreeMap;

pub(super) struct Held {
    policy: QueuePolicy,
    /// A replica with more prompt tokens to compute than this is busy.
    limit_tokens: i128,
    busy: Vec<bool>,
    free_replicas: u32,
    /// By the policy's key, then in the order they came.
    queue: BTreeMap<(i64, u64), u32>,
    came: u64,
}

impl Held {
    pub(super) fn new(policy: QueuePolicy, limit_tokens: i128, replicas: u32) -> Self {
        Held {
            policy,
            limit_tokens,
            busy: vec![false; replicas as usize],
            free_replicas: replicas,
            queue: BTreeMap::new(),
            came: 0,
        }
    }

    pub(super) fn set_load(&mut self, replica: u32, prefill_tokens: i128) {
        let busy = prefill_tokens > self.limit_tokens;
        let before = std::mem::replace(&mut self.busy[replica as usize], busy);
        self.free_replicas = self.free_replicas + u32::from(before) - u32::from(busy);
    }

    pub(super) fn all_busy(&self) -> bool {
        self.free_replicas == 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn wants_new_tokens(&self) -> bool {
        self.policy == QueuePolicy::Wspt
    }

    /// `new_tokens`: of its prompt that no replica has cached.
    pub(super) fn push(&mut self, request: u32, now_ps: i64, new_tokens: u32) {
        let key = match self.policy {
            QueuePolicy::Fcfs => now_ps,
            QueuePolicy::Lcfs => -now_ps,
            QueuePolicy::Wspt => i64::from(new_tokens.max(1)),
        };
        self.queue.insert((key, self.came), request);
        self.came += 1;
    }

    pub(super) fn pop(&mut self) -> Option<u32> {
        if self.all_busy() { None } else { self.queue.pop_first().map(|(_, request)| request) }
    }
}
