"""Checks of `pools` and `handover` that need nothing but the spec."""

from __future__ import annotations

from .deployment import Spec
from .engine import TITLES, SglangEngine, TrtllmEngine, VllmEngine
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
    _front_end(spec)
    keeps = spec.handover is not None and spec.handover.local_prefill_tokens is not None
    if keeps and isinstance(spec.by_pool["decode"].engine, SglangEngine):
        raise problem(
            ("handover", "local_prefill_tokens"), "SGLang's decode replicas compute no prompts", wanted="it left out"
        )
    _layerwise(spec)
    _decode_router(spec.by_pool["decode"])


def _layerwise(spec: Spec) -> None:
    if spec.handover is None or not spec.handover.layerwise:
        return
    engine = spec.by_pool["prefill"].engine
    if not isinstance(engine, VllmEngine):
        raise spec.source.problem(
            ("handover", "layerwise"),
            f"{TITLES[engine.name]} {engine.version} sends what a pass has computed when the pass is over",
            found="true",
            wanted="false, or vLLM, whose MoRIIOConnector sends each layer as it is computed",
        )
    if spec.model is None:
        raise spec.source.problem(
            ("model",), "missing: how many layers there are is not known", wanted="a model, or no handover.layerwise"
        )


def _front_end(spec: Spec) -> None:
    pools = spec.pools
    if pools is not None and "stream_ms" in pools.decode.own_front and "stream_ms" in pools.prefill.own_front:
        raise spec.by_pool["prefill"].source.problem(
            ("timing", "stream_ms"),
            "never read: tokens come from the decode pool, which has its own",
            wanted="it left out",
        )


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
        _trtllm(spec)
    if isinstance(decode, SglangEngine):
        _alike(spec)
    _stages(spec)
    _drafting(spec)


def _alike(spec: Spec) -> None:
    """What SGLang's replicas compare when they meet (`try_ensure_parallel_info` in
    sglang/srt/disaggregation/common/conn.py)."""
    prefill, decode = spec.by_pool["prefill"], spec.by_pool["decode"]
    for name in ("page_size", "kv_cache_dtype"):
        given, found = getattr(prefill.engine, name), getattr(decode.engine, name)
        if given != found:
            raise decode.source.problem(
                ("engine", name),
                f"SGLang refuses to hand over between two of them; that of the prefill pool is {given}",
                found=str(found),
                wanted="the same for both pools",
            )


def _stages(spec: Spec) -> None:
    """vLLM's NixlPushConnector hands over from stages, but not to them (`NixlBaseConnectorWorker` in
    vllm/distributed/kv_transfer/kv_connector/v1/nixl/base_worker.py)."""
    layerwise = spec.handover is not None and spec.handover.layerwise
    for role, pool in spec.by_pool.items():
        if pool.parallel.pipeline == 1:
            continue
        if not isinstance(pool.engine, VllmEngine):
            what = f"pipeline stages of {TITLES[pool.engine.name]} in pools are not yet modelled"
        elif role == "decode":
            what = "vLLM's connector refuses pipeline stages where KV is handed over to"
        elif layerwise:
            what = "pipeline stages that send layer by layer are not yet modelled"
        else:
            continue
        raise pool.source.problem(
            ("parallel", "pipeline"),
            what,
            found=str(pool.parallel.pipeline),
            wanted="1, or replicas without pools",
        )


def _trtllm(spec: Spec) -> None:
    if spec.handover is not None and spec.handover.local_prefill_tokens is not None:
        raise spec.source.problem(
            ("handover", "local_prefill_tokens"),
            "TensorRT-LLM's conditional disaggregation is not yet modelled",
            wanted="it left out",
        )
    for pool in spec.by_pool.values():
        assert isinstance(pool.engine, TrtllmEngine)
        policy = pool.engine.scheduler_config.capacity_scheduler_policy
        if policy != "GUARANTEED_NO_EVICT":
            raise pool.source.problem(
                ("engine", "scheduler_config", "capacity_scheduler_policy"),
                "in pools, other policies than GUARANTEED_NO_EVICT are not yet modelled",
                found=policy,
                wanted="GUARANTEED_NO_EVICT, or no pools",
            )
        if pool.engine.batch_wait_timeout_iters:
            raise pool.source.problem(
                ("engine", "batch_wait_timeout_iters"),
                "never read: no pass of these pools has both contexts, which would wait, and generations",
                wanted="it left out",
            )


def _drafting(spec: Spec) -> None:
    """A head decodes from the KV that it computed of the prompt, which is handed over with the model's; n-grams need
    none."""
    heads = {}
    for name, pool in spec.by_pool.items():
        drafting = pool.engine.drafting
        heads[name] = "none" if drafting is None else drafting.head
    if heads["prefill"] == heads["decode"]:
        return
    lacking, other = ("prefill", "decode") if heads["prefill"] == "none" else ("decode", "prefill")
    engine = spec.by_pool[other].engine
    assert engine.drafting is not None
    raise spec.by_pool[other].source.problem(
        engine.drafting.method,
        f"a drafting head of the {other} pool that the {lacking} pool has not: its KV of a prompt is handed over",
        found=heads[other],
        wanted="the same in both pools, such as in engine, which both take over",
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
