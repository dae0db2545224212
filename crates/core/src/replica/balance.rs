//! To which of its data ranks a replica gives a request: the engine's own rule, not the router's.

use crate::config::Balance;

/// vLLM (`DPLBAsyncMPClient.get_core_engine_for_request`, vllm/v1/engine/core_client.py) takes the
/// rank of the least 4 · waiting + running, the lowest of several. It knows both as its coordinator
/// last published them (at most every 100 ms), and counts what it has sent since as waiting.
/// SGLang (`DataParallelController`, sglang/srt/managers/data_parallel_controller.py) goes round.
#[derive(Clone, Debug)]
pub struct Balancer {
    rule: Balance,
    /// Waiting and running, by rank.
    published: Vec<(u32, u32)>,
    sent: Vec<u32>,
    /// When counts are published next.
    publish_ps: i64,
    next: usize,
}

impl Balancer {
    pub fn new(rule: Balance, ranks: u32) -> Self {
        let ranks = ranks as usize;
        Balancer { rule, published: vec![(0, 0); ranks], sent: vec![0; ranks], publish_ps: 0, next: 0 }
    }

    /// Whether counts were published since the last event, if the next is at `time_ps`.
    pub fn publishes_before(&self, time_ps: i64) -> bool {
        matches!(self.rule, Balance::Score { .. }) && time_ps > self.publish_ps
    }

    /// Takes what was published before `time_ps`: what has held since the last event.
    pub fn publish(&mut self, waiting_and_running: Vec<(u32, u32)>, time_ps: i64) {
        let Balance::Score { interval_ps } = self.rule else { return };
        self.published = waiting_and_running;
        self.sent.fill(0);
        self.publish_ps = (time_ps + interval_ps - 1) / interval_ps * interval_ps;
    }

    /// The rank of the next request.
    pub fn choose(&mut self) -> u32 {
        let ranks = self.sent.len();
        let rank = match self.rule {
            Balance::RoundRobin => self.next,
            Balance::Score { .. } => (0..ranks)
                .min_by_key(|&rank| {
                    let (waiting, running) = self.published[rank];
                    u64::from(waiting + self.sent[rank]) * 4 + u64::from(running)
                })
                .unwrap_or(0),
        };
        self.sent[rank] += 1;
        self.next = (rank + 1) % ranks;
        rank as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_counts_what_was_sent_since_it_was_published() {
        let mut balancer = Balancer::new(Balance::Score { interval_ps: 100 }, 3);
        assert_eq!([balancer.choose(), balancer.choose(), balancer.choose(), balancer.choose()], [0, 1, 2, 0]);
        assert!(balancer.publishes_before(1));
        balancer.publish(vec![(9, 9), (9, 9), (9, 9)], 100);
        assert_eq!([balancer.choose(), balancer.choose()], [0, 1], "all alike, and nothing sent since");
        assert!(!balancer.publishes_before(100), "what happens at 100 comes before what is published then");
        assert!(balancer.publishes_before(101));
        balancer.publish(vec![(0, 7), (1, 2), (2, 0)], 101);
        assert_eq!([balancer.choose(), balancer.choose()], [1, 0], "7, 6 and 8; then 7, 10 and 8");
    }
}
