"""`router`: which replica a request goes to.

Options have the names and the defaults of the router they come from; docs/routers.md has formulas and sources.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Count, CountOrZero, Share, SpecModel
from .kinds import ByKind

Staleness = Annotated[float, Field(ge=0, le=86_400_000)]
"""Milliseconds, up to a day."""
Seconds = Annotated[float, Field(gt=0, le=8_640_000)]
"""Up to the longest run."""
Weight = Annotated[float, Field(ge=0, le=1e6)]
Skew = Annotated[float, Field(ge=1, le=1e6)]
VirtualNodes = Annotated[int, Field(ge=1, le=100_000)]


class Several(SpecModel):
    """How many of the router there are. Each counts only what it sent itself.

    Requests come to them in turn (`round_robin`) or by a hash of their session (`hash`).
    """

    instances: Annotated[int, Field(ge=1, le=4096)] = 1
    deal: Literal["round_robin", "hash"] = "round_robin"


class RoundRobinRouter(Several):
    """Each replica in turn; looks at nothing."""

    kind: Literal["round_robin"] = "round_robin"


class RandomRouter(SpecModel):
    """Any replica, by the run's seed; looks at nothing."""

    kind: Literal["random"]


class LeastRequestsRouter(Several):
    """The replica with the fewest requests waiting or running, now; the lowest index among equals."""

    kind: Literal["least_requests"]


class LeastTokensRouter(Several):
    """The replica with the fewest tokens in flight: prompts, and expected outputs; the lowest index among equals.

    An output is expected to have `expected_output_tokens`, or the client's limit if that is less.
    """

    kind: Literal["least_tokens"]
    expected_output_tokens: CountOrZero = 1000


class PowerOfTwoRouter(Several):
    """The better of two replicas drawn by seed and request; the first drawn if they are alike.

    `requests`: of those the router has sent and not seen come back. `tokens`: cache in use, as old as telemetry.
    """

    kind: Literal["power_of_two"]
    load: Literal["requests", "tokens"] = "requests"
    interval_ms: Staleness = 10_000.0
    delay_ms: Staleness = 0.0


class SessionAffinityRouter(Several):
    """The replica of a session's first turn, until the session has been idle for `max_idle_secs`.

    A new session goes to any replica (`random`), to one with the fewest requests (`min_load`) or with the fewest
    sessions in flight (`min_group`); so does a request without a session.
    """

    kind: Literal["session_affinity"]
    assignment_mode: Literal["random", "min_load", "min_group"] = "random"
    max_idle_secs: Seconds = 14_400.0
    eviction_interval_secs: Seconds = 60.0


class ConsistentHashingRouter(Several):
    """A ring of hashes, by session or by the first tokens of the prompt; without a session, any replica.

    With `max_load_skew`, a replica with more than so many times the mean of requests is passed over.
    """

    kind: Literal["consistent_hashing"]
    key: Literal["session", "prefix"] = "session"
    prefix_token_count: Count = 256
    virtual_nodes: VirtualNodes = 150
    max_load_skew: Skew | None = None


class PrefixHashRouter(Several):
    """A ring of hashes by the first tokens of the prompt; from a replica with more than `load_factor` times the mean
    of requests to the one with the fewest."""

    kind: Literal["prefix_hash"]
    prefix_token_count: Count = 256
    load_factor: Skew = 1.25
    virtual_nodes: VirtualNodes = 150


class CacheAwareRouter(Several):
    """SGLang's: the replica that was sent most of the prompt before, if more than `cache_threshold` of it; else, and
    while loads are out of balance, the one with the fewest requests."""

    kind: Literal["cache_aware"]
    cache_threshold: Share = 0.3
    balance_abs_threshold: CountOrZero = 64
    balance_rel_threshold: Annotated[float, Field(ge=0, le=1e6)] = 1.5
    eviction_interval_secs: Annotated[float, Field(ge=0, le=8_640_000)] = 120.0
    max_tree_size: Annotated[int, Field(ge=0, le=2**53)] = 67_108_864


class LlmDRouter(Several):
    """llm-d's: the greatest weighted sum of scores for short queues, free cache and prefixes sent there before."""

    kind: Literal["llm_d"]
    queue_scorer_weight: Weight = 2.0
    kv_cache_utilization_scorer_weight: Weight = 2.0
    prefix_cache_scorer_weight: Weight = 3.0
    max_prefix_tokens_to_match: Count = 131_072
    lru_capacity_per_server: Count | None = None
    interval_ms: Staleness = 50.0
    delay_ms: Staleness = 0.0


class KvAwareRouter(Several):
    """DynoSim's: the least cost of prefill and decode, where a cached prefix lowers the cost."""

    kind: Literal["kv_aware"]
    overlap_score_credit: Share = 1.0
    overlap_score_credit_decay: Weight = 0.0
    prefill_load_scale: Weight = 1.0
    decode_active_request_weight: Weight = 0.0
    temperature: Weight = 0.0
    track_prefill_tokens: bool = True
    track_active_blocks: bool = True
    assume_kv_reuse: bool = True
    use_kv_events: bool = True
    ttl_secs: Seconds = 120.0
    queue_threshold: Annotated[float, Field(gt=0, le=1e6)] | None = 16.0
    queue_policy: Literal["fcfs", "lcfs", "wspt"] = "fcfs"


class PythonRouter(SpecModel):
    """A class of one's own: `module:Class` or `file.py:Class`, a file being sought beside the spec.

    What it sees was sampled at the last multiple of `interval_ms` at least `delay_ms` ago; 0 and 0 is the present.
    """

    kind: Literal["python"]
    object: Annotated[str, Field(pattern=r"^.+:[A-Za-z_][A-Za-z0-9_.]*$")]
    interval_ms: Staleness = 0.0
    delay_ms: Staleness = 0.0


NativeRouter = (
    RoundRobinRouter
    | RandomRouter
    | LeastRequestsRouter
    | LeastTokensRouter
    | PowerOfTwoRouter
    | SessionAffinityRouter
    | ConsistentHashingRouter
    | PrefixHashRouter
    | CacheAwareRouter
    | LlmDRouter
    | KvAwareRouter
)

Router = Annotated[NativeRouter | PythonRouter, ByKind("kind")]
