"""Checks on memory below the GPU's: what an engine refuses, what is not modelled, and what would never be read."""

from __future__ import annotations

from .deployment import Spec
from .engine import SglangEngine, VllmEngine


def check_tiers(spec: Spec, pool: str) -> None:
    """Of a spec as `pool` sees it. Raises SpecError for the first thing wrong."""
    engine, problem = spec.engine, spec.source.problem
    if isinstance(engine, VllmEngine):
        _vllm(spec, engine, pool)
    elif isinstance(engine, SglangEngine):
        _sglang(spec, engine)
    elif spec.was_set("tiers") and not engine.offloads:
        raise problem(("tiers",), "never read: the engine keeps nothing outside the GPU", wanted="it left out")


HICACHE = ("hicache_ratio", "hicache_size", "hicache_write_policy")


def _sglang(spec: Spec, engine: SglangEngine) -> None:
    problem = spec.source.problem
    if not engine.enable_hierarchical_cache:
        for name in HICACHE:
            if spec.was_set("engine", name):
                raise problem(
                    ("engine", name),
                    "never read: nothing is kept on the host",
                    wanted="enable_hierarchical_cache: true, or it left out",
                )
        return
    if engine.disable_radix_cache:
        raise problem(
            ("engine", "enable_hierarchical_cache"),
            "without a radix cache nothing that is kept on the host could be found again",
            wanted="disable_radix_cache: false, or it left out",
        )
    if spec.parallel.pipeline > 1:
        raise problem(
            ("engine", "enable_hierarchical_cache"),
            "HiCache together with pipeline parallelism is not yet modelled",
            wanted="one of the two",
        )
    if engine.hicache_ratio is not None and engine.hicache_size is not None:
        raise problem(("engine", "hicache_ratio"), "never read beside hicache_size", wanted="one of the two")
    for name in ("disk", "shared"):
        if getattr(spec.tiers, name) is not None:
            raise problem(("tiers", name), "HiCache's storage backends are not modelled", wanted="it left out")
    if spec.tiers.host.blocks is not None:
        raise problem(
            ("tiers", "host", "blocks"),
            "never read: SGLang sizes the host's pool by its own options",
            wanted="engine.hicache_ratio or engine.hicache_size",
        )


def _vllm(spec: Spec, engine: VllmEngine, pool: str) -> None:
    problem = spec.source.problem
    blocks = spec.tiers.host.blocks
    if engine.kv_offloading_size is not None and blocks is not None:
        raise problem(
            ("tiers", "host", "blocks"),
            "the size of the host tier is given already, as engine.kv_offloading_size",
            found=f"{blocks:,}",
            wanted="one of the two",
        )
    sized = ("engine", "kv_offloading_size") if blocks is None else ("tiers", "host", "blocks")
    if engine.kv_offloading_size is None and blocks is None:
        for path in (("tiers",), ("engine", "kv_offloading_backend")):
            if spec.was_set(*path):
                raise problem(
                    path,
                    "never read: nothing is offloaded",
                    wanted="engine.kv_offloading_size or tiers.host.blocks beside it, or it left out",
                )
        return
    if pool != "aggregated":
        raise problem(
            sized,
            "offloading beside pools is not modelled: each replica of vLLM has one KV connector, here the hand-over's",
            wanted="it left out, or no pools",
        )
    if not engine.enable_prefix_caching:
        raise problem(
            sized,
            "without prefix caching nothing that is offloaded could be found again",
            wanted="enable_prefix_caching: true, or it left out",
        )
    if engine.version != "0.32":
        raise problem(
            sized,
            f"vLLM {engine.version} offloads by other rules than 0.32, which are not modelled",
            wanted='version: "0.32", or it left out',
        )
    for name in ("disk", "shared"):
        below = getattr(spec.tiers, name)
        if below is not None and (below.capacity_gib is None) == (below.blocks is None):
            raise problem(("tiers", name), "has no size, or two", wanted="either capacity_gib or blocks")
