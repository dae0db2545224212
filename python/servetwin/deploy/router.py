"""The router in front, where the deployment's own has one: SGLang's and vLLM's for launch lines, Dynamo's frontend."""

from __future__ import annotations

from ..spec.router import KvAwareRouter, LlmDRouter, Router

GATEWAY = {
    "round_robin": "round_robin",
    "random": "random",
    "power_of_two": "power_of_two",
    "cache_aware": "cache_aware",
    "consistent_hashing": "consistent_hashing",
    "prefix_hash": "prefix_hash",
    "session_affinity": "manual",
}
"""Policies of sgl-router (sgl-model-gateway, src/policies), and our names of them."""

GATEWAY_OPTIONS = {
    "cache_threshold": "--cache-threshold",
    "balance_abs_threshold": "--balance-abs-threshold",
    "balance_rel_threshold": "--balance-rel-threshold",
    "eviction_interval_secs": "--eviction-interval-secs",
    "max_tree_size": "--max-tree-size",
    "prefix_token_count": "--prefix-token-count",
    "load_factor": "--prefix-hash-load-factor",
    "assignment_mode": "--assignment-mode",
    "max_idle_secs": "--max-idle-secs",
}

VLLM_ROUTER = ("round_robin", "random", "power_of_two", "cache_aware")
"""Policies that vllm-router (vllm-project/router) has under these names."""

DYNAMO = {
    "round_robin": "round-robin",
    "random": "random",
    "power_of_two": "power-of-two",
    "least_requests": "least-loaded",
    "kv_aware": "kv",
}
"""Dynamo's DYN_ROUTER_MODE (components/src/dynamo/common/configuration/groups/router_args.py)."""

DYNAMO_OPTIONS = {
    "overlap_score_credit": "DYN_ROUTER_KV_OVERLAP_SCORE_CREDIT",
    "overlap_score_credit_decay": "DYN_ROUTER_KV_OVERLAP_SCORE_CREDIT_DECAY",
    "prefill_load_scale": "DYN_ROUTER_PREFILL_LOAD_SCALE",
    "decode_active_request_weight": "DYN_ROUTER_DECODE_ACTIVE_REQUEST_WEIGHT",
    "temperature": "DYN_ROUTER_TEMPERATURE",
    "use_kv_events": "DYN_ROUTER_USE_KV_EVENTS",
    "queue_threshold": "DYN_ROUTER_QUEUE_THRESHOLD",
    "queue_policy": "DYN_ROUTER_QUEUE_POLICY",
    "ttl_secs": "DYN_ROUTER_TTL_SECS",
    "track_active_blocks": "DYN_ROUTER_TRACK_ACTIVE_BLOCKS",
    "track_prefill_tokens": "DYN_ROUTER_TRACK_PREFILL_TOKENS",
    "assume_kv_reuse": "DYN_ROUTER_ASSUME_KV_REUSE",
}
"""Of its KV router (groups/kv_router_args.py)."""


def gateway_arguments(engine: str, router: Router) -> list[str] | None:
    """The policy's flags of the router that comes with the engine; None if it has no such policy."""
    policy = GATEWAY.get(router.kind)
    if policy is None or (engine == "vllm" and router.kind not in VLLM_ROUTER) or engine == "trtllm":
        return None
    found = ["--policy", policy]
    for name in sorted(router.model_fields_set & GATEWAY_OPTIONS.keys()):
        found += [GATEWAY_OPTIONS[name], _text(getattr(router, name))]
    return found


def orchestrator_router(router: Router) -> dict[str, object] | None:
    """Of `trtllm-serve disaggregated` (tensorrt_llm/serve/router.py); None if it has no such policy."""
    known: dict[str, dict[str, object]] = {
        "round_robin": {"type": "round_robin"},
        "least_requests": {"type": "load_balancing", "use_tokens": False},
        "least_tokens": {"type": "load_balancing", "use_tokens": True},
    }
    return known.get(router.kind)


def dynamo_environment(router: Router) -> dict[str, str] | None:
    """What tells Dynamo's frontend how to route; None if it has no such policy."""
    mode = DYNAMO.get(router.kind)
    if mode is None:
        return None
    found = {"DYN_ROUTER_MODE": mode}
    if isinstance(router, KvAwareRouter):
        for name, variable in DYNAMO_OPTIONS.items():
            if name in router.model_fields_set:
                found[variable] = _text(getattr(router, name))
    return found


def endpoint_picker(router: Router, *, disaggregated: bool) -> dict[str, object] | None:
    """llm-d's EndpointPickerConfig for its own scorers; None for any other router.

    Plugins as in the guides of llm-d (guides/pd-disaggregation, guides/precise-prefix-cache-routing).
    """
    if not isinstance(router, LlmDRouter):
        return None
    prefix: dict[str, object] = {
        "type": "approx-prefix-cache-producer",
        "parameters": {
            "maxPrefixTokensToMatch": router.max_prefix_tokens_to_match,
            **(
                {}
                if router.lru_capacity_per_server is None
                else {"lruCapacityPerServer": router.lru_capacity_per_server}
            ),
        },
    }
    weights = {
        "queue-scorer": router.queue_scorer_weight,
        "kv-cache-utilization-scorer": router.kv_cache_utilization_scorer_weight,
        "prefix-cache-scorer": router.prefix_cache_scorer_weight,
    }
    scorers = [{"pluginRef": name, "weight": weight} for name, weight in weights.items()]
    plugins = [prefix, *_types(*weights, "max-score-picker")]
    picker = {"pluginRef": "max-score-picker"}
    if not disaggregated:
        profiles = [{"name": "default", "plugins": [*scorers, picker]}]
        plugins += _types("single-profile-handler")
    else:
        plugins += [
            *_types("always-disagg-pd-decider", "prefill-filter", "decode-filter"),
            {"type": "disagg-profile-handler", "parameters": {"deciders": {"prefill": "always-disagg-pd-decider"}}},
        ]
        profiles = [
            {"name": role, "plugins": [{"pluginRef": f"{role}-filter"}, *scorers, picker]}
            for role in ("prefill", "decode")
        ]
    return {
        "apiVersion": "llm-d.ai/v1alpha1",
        "kind": "EndpointPickerConfig",
        "plugins": plugins,
        "schedulingProfiles": profiles,
    }


def _types(*names: str) -> list[dict[str, object]]:
    return [{"type": name} for name in names]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "None" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
