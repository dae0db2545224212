"""Checks of `router` that need nothing but the spec: options without effect, and what a router cannot do without."""

from __future__ import annotations

from .deployment import Spec
from .router import (
    CacheAwareRouter,
    ConsistentHashingRouter,
    KvAwareRouter,
    LlmDRouter,
    PowerOfTwoRouter,
    PrefixHashRouter,
    PythonRouter,
    Several,
)


def check_router(spec: Spec) -> None:
    """Raises SpecError for the first thing wrong."""
    router = spec.router
    if isinstance(router, Several) and router.instances == 1:
        _unread(spec, "a single instance gets every request", "deal")
    if isinstance(router, PowerOfTwoRouter) and router.load == "requests":
        _unread(spec, "the router counts requests itself; load: tokens reads telemetry", "interval_ms", "delay_ms")
    if isinstance(router, (PythonRouter, PowerOfTwoRouter, LlmDRouter)):
        _staleness(spec, router)
    if isinstance(router, ConsistentHashingRouter) and router.key == "session":
        _unread(spec, "the key is the session, not the prefix", "prefix_token_count")
    if isinstance(router, CacheAwareRouter) and router.eviction_interval_secs == 0:
        _unread(spec, "nothing is evicted", "max_tree_size")
    if isinstance(router, LlmDRouter):
        _llm_d(spec, router)
    if isinstance(router, KvAwareRouter):
        _kv_aware(spec, router)
    if _reads_prefixes(spec) and not _caches_prefixes(spec):
        raise spec.source.problem(
            ("router",),
            f"{router.kind} looks for replicas that have a prefix cached, but these cache none",
            wanted="prefix caching, or another router",
        )


def _staleness(spec: Spec, router: PythonRouter | PowerOfTwoRouter | LlmDRouter) -> None:
    if router.delay_ms > 0 and router.interval_ms == 0:
        raise spec.source.problem(
            ("router", "delay_ms"),
            "never read: without an interval there are no samples to be late",
            found=str(router.delay_ms),
            wanted="interval_ms above 0, or it left out",
        )


def _llm_d(spec: Spec, router: LlmDRouter) -> None:
    load_weight = router.queue_scorer_weight + router.kv_cache_utilization_scorer_weight
    if load_weight + router.prefix_cache_scorer_weight == 0:
        raise spec.source.problem(("router",), "no score has any weight", wanted="a weight above 0")
    if load_weight == 0:
        _unread(spec, "no score of telemetry has any weight", "interval_ms", "delay_ms")
    if router.prefix_cache_scorer_weight == 0:
        _unread(spec, "prefixes have no weight", "max_prefix_tokens_to_match", "lru_capacity_per_server")


def _kv_aware(spec: Spec, router: KvAwareRouter) -> None:
    weighs_load = router.prefill_load_scale > 0 and router.track_prefill_tokens
    if not weighs_load and not router.track_active_blocks and router.decode_active_request_weight == 0:
        raise spec.source.problem(("router",), "every replica would cost 0", wanted="a term of the cost above 0")
    if not router.track_prefill_tokens:
        _unread(
            spec,
            "without track_prefill_tokens prefill costs nothing",
            *("overlap_score_credit", "overlap_score_credit_decay", "prefill_load_scale"),
            *("queue_threshold", "queue_policy"),
        )
    if not weighs_load or router.overlap_score_credit == 0:
        _unread(spec, "a cached prefix has no credit", "overlap_score_credit_decay", "use_kv_events", "ttl_secs")
    if router.use_kv_events:
        _unread(spec, "events tell what is cached; use_kv_events: false predicts it", "ttl_secs")
    if not router.track_active_blocks:
        _unread(spec, "without track_active_blocks no block is counted", "assume_kv_reuse")
    if router.queue_threshold is None:
        _unread(spec, "without queue_threshold nothing is kept back", "queue_policy")


def _unread(spec: Spec, why: str, *names: str) -> None:
    for name in names:
        if spec.was_set("router", name):
            raise spec.source.problem(("router", name), f"never read: {why}", wanted="it left out")


def _reads_prefixes(spec: Spec) -> bool:
    router = spec.router
    return (
        isinstance(router, (CacheAwareRouter, PrefixHashRouter))
        or (isinstance(router, KvAwareRouter) and (router.track_prefill_tokens or router.assume_kv_reuse))
        or (isinstance(router, ConsistentHashingRouter) and router.key == "prefix")
        or (isinstance(router, LlmDRouter) and router.prefix_cache_scorer_weight > 0)
    )


def _caches_prefixes(spec: Spec) -> bool:
    return spec.engine.shares_prefixes
