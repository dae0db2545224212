"""Checks of `pools` and `handover` that need nothing but the spec."""

from __future__ import annotations

from .deployment import Spec
from .engine import SglangEngine, TrtllmEngine
from .router import KvAwareRouter


def check_pools(spec: Spec) -> None:
    """Raises SpecError for the first thing wrong."""
    problem = spec.source.problem
    links = {} if spec.cluster is None else spec.cluster.links
    named = None if spec.handover is None else spec.handover.link
    if named is not None and named not in links:
        given = f"one of {', '.join(links)}" if links else f"cluster.links.{named} with its gbytes_per_s"
        raise problem(("handover", "link"), "a link named nowhere", found=repr(named), wanted=given)
    for name in links:
        if name != named:
            raise problem(
                ("cluster", "links", name), "never read: nothing crosses it", wanted="handover.link to name it"
            )
    if spec.pools is None:
        if spec.handover is not None:
            raise problem(("handover",), "never read without pools", wanted="pools, or it left out")
        return
    if spec.was_set("replicas"):
        raise problem(("replicas",), "never read beside pools, which have their own", wanted="it left out")
    _engines(spec)
    keeps = spec.handover is not None and spec.handover.local_prefill_tokens is not None
    if keeps and isinstance(spec.by_pool["decode"].engine, SglangEngine):
        raise problem(
            ("handover", "local_prefill_tokens"), "SGLang's decode replicas compute no prompts", wanted="it left out"
        )
    _decode_router(spec.by_pool["decode"])


def _engines(spec: Spec) -> None:
    engines = {name: pool.engine for name, pool in spec.by_pool.items()}
    prefill, decode = engines.values()
    if (prefill.name, prefill.version) != (decode.name, decode.version):
        raise spec.source.problem(
            ("pools",),
            f"{prefill.name} {prefill.version} cannot hand over to {decode.name} {decode.version}",
            wanted="one engine and version for both pools",
        )
    if isinstance(prefill, TrtllmEngine):
        raise spec.source.problem(
            ("engine", "name"), "hand-overs of TensorRT-LLM are not yet modelled", wanted="vllm or sglang, or no pools"
        )
    for pool in spec.by_pool.values():
        if getattr(pool.engine, "speculative", None) is not None:
            raise pool.source.problem(
                ("engine", "speculative"), "speculation beside pools is not yet modelled", wanted="it left out"
            )


def _decode_router(pool: Spec) -> None:
    router = pool.router
    if isinstance(router, KvAwareRouter) and router.track_prefill_tokens:
        raise pool.source.problem(
            ("router", "track_prefill_tokens"),
            "never read: a decode pool has no prompts to compute",
            found="true",
            wanted="false, or it left out",
        )
