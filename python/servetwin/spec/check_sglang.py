"""Checks of SGLang's options across pools."""

from __future__ import annotations

from .deployment import Spec
from .engine import SglangEngine

OF_DECODE_REPLICAS = (
    "num_reserved_decode_tokens",
    "disaggregation_decode_extra_slots",
    "disaggregation_decode_polling_interval",
)


def check_sglang_pools(spec: Spec) -> None:
    """Raises SpecError for the first thing wrong."""
    engines = [pool.engine for pool in spec.by_pool.values()]
    if spec.was_set("tiers") and isinstance(engines[0], SglangEngine) and not any(one.offloads for one in engines):
        raise spec.source.problem(
            ("tiers",), "never read: nothing is kept on the host", wanted="engine.enable_hierarchical_cache: true"
        )
    if spec.pools is None:
        _never_read(spec, "never read: there are no decode replicas", "pools, or it left out")
        return
    decode = spec.by_pool["decode"]
    if not isinstance(decode.engine, SglangEngine):
        return
    if decode.engine.enable_hierarchical_cache:
        raise decode.source.problem(
            ("engine", "enable_hierarchical_cache"),
            "SGLang's decode replicas have no radix cache that could extend to the host",
            wanted="it in pools.prefill.engine only",
        )
    if spec.handover is not None and spec.handover.local_prefill_tokens is not None:
        raise spec.source.problem(
            ("handover", "local_prefill_tokens"), "SGLang's decode replicas compute no prompts", wanted="it left out"
        )
    for name in OF_DECODE_REPLICAS:
        if name in (spec.pools.prefill.engine or {}):
            raise spec.by_pool["prefill"].source.problem(
                ("engine", name), "never read: this pool does not decode", wanted="it in pools.decode.engine"
            )


def _never_read(spec: Spec, why: str, wanted: str) -> None:
    for name in OF_DECODE_REPLICAS:
        if isinstance(spec.engine, SglangEngine) and spec.was_set("engine", name):
            raise spec.source.problem(("engine", name), why, wanted=wanted)
