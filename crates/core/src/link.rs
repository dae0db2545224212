//! Links that transfers share, in integers.
//!
//! A transfer may cross several links, such as the NIC of its source and that of its destination.
//! Each link gives equal shares of its capacity to the transfers on it, and a transfer goes at the
//! least of its shares; what it leaves unused of a greater one stays unused. What is left of a
//! transfer is counted in picobytes: bytes per second times picoseconds, so that nothing is ever
//! rounded but a share, down to whole bytes per second. Shares only change when a transfer starts
//! or ends, and only then is anything counted.

use crate::config;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use std::collections::BTreeSet;
use std::hash::Hash;

const PICOBYTES: i128 = 1_000_000_000_000;

/// Transfers are told apart by a key; at equal times the lesser one ends first.
#[derive(Clone, Debug)]
pub struct Links<K> {
    links: Vec<Link<K>>,
    flows: HashMap<K, Flow, FxBuildHasher>,
    ends: BTreeSet<(i64, K)>,
}

#[derive(Clone, Debug)]
struct Link<K> {
    bytes_per_s: u64,
    latency_ps: i64,
    flows: Vec<K>,
}

#[derive(Clone, Debug)]
struct Flow {
    path: Vec<u32>,
    /// At `counted_ps`.
    left_picobytes: i128,
    counted_ps: i64,
    bytes_per_s: u64,
    end_ps: i64,
}

impl<K: Copy + Ord + Hash> Links<K> {
    pub fn new(links: &[config::Link]) -> Self {
        let idle = |link: &config::Link| Link {
            bytes_per_s: link.bytes_per_s,
            latency_ps: link.latency_ps,
            flows: Vec::new(),
        };
        Links { links: links.iter().map(idle).collect(), flows: HashMap::default(), ends: BTreeSet::new() }
    }

    /// How long the first byte takes over these links, one after the other.
    pub fn latency_ps(&self, path: &[u32]) -> i64 {
        path.iter().fold(0, |sum_ps: i64, &link| sum_ps.saturating_add(self.links[link as usize].latency_ps))
    }

    /// The earliest end of a transfer, as things stand.
    pub fn next(&self) -> Option<(i64, K)> {
        self.ends.first().copied()
    }

    /// A transfer of `bytes` over `path` begins to flow. A path of no links takes no time.
    pub fn start(&mut self, key: K, path: &[u32], bytes: u64, now_ps: i64) {
        let left_picobytes = i128::from(bytes) * PICOBYTES;
        let flow = Flow { path: path.to_vec(), left_picobytes, counted_ps: now_ps, bytes_per_s: 0, end_ps: i64::MAX };
        self.flows.insert(key, flow);
        self.ends.insert((i64::MAX, key));
        for &link in path {
            self.links[link as usize].flows.push(key);
        }
        if path.is_empty() {
            self.share(key, now_ps);
        }
        self.share_again(path, now_ps);
    }

    /// A transfer leaves its links: it has ended, or is given up.
    pub fn remove(&mut self, key: K, now_ps: i64) {
        let Some(flow) = self.flows.remove(&key) else { return };
        self.ends.remove(&(flow.end_ps, key));
        for &link in &flow.path {
            self.links[link as usize].flows.retain(|&other| other != key);
        }
        self.share_again(&flow.path, now_ps);
    }

    fn share_again(&mut self, path: &[u32], now_ps: i64) {
        for &link in path {
            for index in 0..self.links[link as usize].flows.len() {
                self.share(self.links[link as usize].flows[index], now_ps);
            }
        }
    }

    fn share(&mut self, key: K, now_ps: i64) {
        let Some(flow) = self.flows.get_mut(&key) else { return };
        let share = |&link: &u32| {
            let link = &self.links[link as usize];
            (link.bytes_per_s / link.flows.len() as u64).max(1) // config::check: links are fast enough
        };
        let bytes_per_s = flow.path.iter().map(share).min().unwrap_or(u64::MAX);
        if bytes_per_s == flow.bytes_per_s {
            return;
        }
        let flown_ps = i128::from(now_ps - flow.counted_ps);
        flow.left_picobytes = (flow.left_picobytes - i128::from(flow.bytes_per_s) * flown_ps).max(0);
        flow.counted_ps = now_ps;
        flow.bytes_per_s = bytes_per_s;
        let rate = i128::from(bytes_per_s);
        let takes_ps = if flow.path.is_empty() { 0 } else { (flow.left_picobytes + rate - 1) / rate };
        let end_ps = i64::try_from(i128::from(now_ps) + takes_ps).unwrap_or(i64::MAX);
        self.ends.remove(&(flow.end_ps, key));
        flow.end_ps = end_ps;
        self.ends.insert((end_ps, key));
    }
}

#[cfg(test)]
mod tests;
