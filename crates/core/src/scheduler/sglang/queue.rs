//! The order in which waiting requests are looked at, and what looking does to the cache.

use super::Sglang;
use crate::config::sglang::Policy;
use rustc_hash::FxHashSet;

/// SGLang's WAITING_QUEUE_PREFIX_MATCH_MAX: with more requests waiting, lpm falls back to fcfs.
const MATCHED_REQUESTS: usize = 128;
/// SGLang's WAITING_PREFIX_REFRESH_INTERVAL, in tried prefills.
const REFRESH_ATTEMPTS: u64 = 32;
/// SGLang's IN_BATCH_PREFIX_CACHING_CHECK_THRESHOLD and _DEPRIORITIZE_THRESHOLD: of requests that
/// share so many tokens with each other, but not with the cache, all but one are put off.
const SHARED_TOKENS: u32 = 32;

impl Sglang<'_> {
    /// Sorts the queue. Costs the queue under lpm (up to [`MATCHED_REQUESTS`]) and under priorities.
    pub(super) fn order_queue(&mut self) {
        let engine = self.s.engine;
        let by_prefix = engine.schedule_policy == Policy::Lpm && !engine.disable_radix_cache;
        if by_prefix && self.waiting.len() <= MATCHED_REQUESTS {
            self.sort_by_prefix();
            return;
        }
        if engine.enable_priority_scheduling && !by_prefix {
            let urgency = |request: u32| {
                let priority = i64::from(self.s.trace.priority[request as usize]);
                if engine.schedule_low_priority_values_first { priority } else { -priority }
            };
            self.waiting.make_contiguous().sort_by_key(|waiting| (urgency(waiting.request), waiting.entry));
        }
        self.refresh_prefixes();
    }

    fn sort_by_prefix(&mut self) {
        let mut shared = FxHashSet::default();
        let mut keys = Vec::with_capacity(self.waiting.len());
        for waiting in &mut self.waiting {
            let hit = self.tree.find(waiting.request, waiting.tokens);
            waiting.prefix = hit.tokens;
            let mut key = -i64::from((hit.tokens + hit.host_tokens).min(waiting.tokens - 1));
            if waiting.prefix <= SHARED_TOKENS
                && waiting.tokens >= SHARED_TOKENS
                && !shared.insert(self.tree.name_at(waiting.request, SHARED_TOKENS - 1))
            {
                key = i64::MAX;
            }
            keys.push((key, *waiting));
        }
        keys.sort_by_key(|&(key, _)| key);
        self.waiting.clear();
        self.waiting.extend(keys.into_iter().map(|(_, waiting)| waiting));
    }

    /// Now and then, the cached prefixes of requests that wait count as accessed, the head's last.
    fn refresh_prefixes(&mut self) {
        if self.waiting.is_empty() || self.s.engine.disable_radix_cache {
            return;
        }
        if self.attempts.is_multiple_of(REFRESH_ATTEMPTS) {
            for index in (0..self.waiting.len().min(MATCHED_REQUESTS)).rev() {
                let waiting = self.waiting[index];
                self.tree.find(waiting.request, waiting.tokens);
            }
        }
        self.attempts += 1;
    }
}
