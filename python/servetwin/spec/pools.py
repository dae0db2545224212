"""`pools` and `handover`: prompts computed by some replicas, and decoded by others."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from .base import (
    HORIZON_S,
    MAX_REPLICAS,
    Count,
    CountOrZero,
    GbytesPerS,
    Microseconds,
    Milliseconds,
    SpecModel,
)

FRONT_END = frozenset({"request_ms", "prompt_token_us", "stream_ms"})


class Pool(SpecModel):
    """Replicas that are alike. What is not given is as at the top of the spec.

    `engine` holds the options in which this pool's engines differ; the rest stands in place of the spec's own.
    """

    replicas: Annotated[int, Field(ge=1, le=MAX_REPLICAS)] = 1
    gpu: str | None = None
    parallel: dict[str, Any] | None = None
    engine: dict[str, Any] | None = None
    timing: dict[str, Any] | str | None = None
    router: dict[str, Any] | str | None = None

    @property
    def own_front(self) -> frozenset[str]:
        """What the pool's own timing says of the way of a request, and of its tokens, outside the engine."""
        timing = self.timing if isinstance(self.timing, dict) else {}
        return FRONT_END & timing.keys()


class Pools(SpecModel):
    """Those that compute prompts, and those that decode."""

    prefill: Pool
    decode: Pool


POOLS = tuple(Pools.model_fields)


class Handover(SpecModel):
    """How a prompt's KV gets from one pool to the other.

    `setup_ms` is what NIXL takes to post a transfer in the example of vLLM's own documentation (0.67 ms for 72
    descriptors, docs/features/nixl_connector_usage.md); `control_ms` is a guess: one message by way of a proxy inside
    a cluster. `timeout_s` is the engine's own: vLLM 480 (VLLM_NIXL_ABORT_REQUEST_TIMEOUT), SGLang 300
    (SGLANG_DISAGGREGATION_BOOTSTRAP_TIMEOUT and SGLANG_DISAGGREGATION_WAITING_TIMEOUT). With `layerwise` it is that of
    vLLM's MoRIIOConnector, 60 (kv_connector_extra_config.defer_timeout). TensorRT-LLM has none, unless its
    cache_transceiver_config.kv_transfer_timeout_ms is set.
    """

    link: str | None = None
    bootstrap_ms: Milliseconds = 0.0
    control_ms: Milliseconds = 1.0
    setup_ms: Milliseconds = 0.7
    timeout_s: Annotated[float, Field(ge=1e-9, le=HORIZON_S)] | None = None
    local_prefill_tokens: CountOrZero | None = None
    layerwise: bool = False
    kv_bytes_per_token: Count | None = None


class NamedLink(SpecModel):
    """A link that transfers share: its capacity in one direction, and how long the first byte takes."""

    gbytes_per_s: GbytesPerS
    latency_us: Microseconds = 0.0
