"""Checks on how the GPUs of a replica share the work, as far as they need no model."""

from __future__ import annotations

from .base import MAX_REPLICAS
from .deployment import Spec
from .engine import SglangEngine, TrtllmEngine, VllmEngine

IN_STEP = ("dp_sync_interval", "prefill_schedule_interval")
"""vLLM's options that only data ranks in step read."""


def check_parallel(spec: Spec) -> None:
    """Raises SpecError for the first thing wrong."""
    _count(spec)
    _data(spec)
    _expert(spec)
    _pipeline(spec)


def _count(spec: Spec) -> None:
    """`replicas` alone has its limit."""
    parallel = spec.parallel
    count = spec.replicas * parallel.data * parallel.pipeline
    if count > MAX_REPLICAS:
        name = "data" if parallel.data >= parallel.pipeline else "pipeline"
        raise spec.source.problem(
            ("parallel", name),
            f"{count:,} stages of data ranks in all replicas are more than can be simulated",
            found=f"{getattr(parallel, name):,}",
            wanted=f"at most {MAX_REPLICAS:,} in all",
        )


def _data(spec: Spec) -> None:
    engine, problem, data = spec.engine, spec.source.problem, spec.parallel.data
    if data > 1 and isinstance(engine, TrtllmEngine):
        raise problem(
            ("parallel", "data"),
            "TensorRT-LLM's attention data parallelism (enable_attention_dp) is not yet modelled",
            found=str(data),
            wanted="1, or replicas",
        )
    if data == 1 and isinstance(engine, SglangEngine) and engine.enable_dp_attention:
        raise problem(
            ("engine", "enable_dp_attention"),
            "SGLang turns it off where dp_size is 1",
            wanted="parallel.data above 1, or it left out",
        )
    for name in IN_STEP if isinstance(engine, VllmEngine) else ():
        if spec.was_set("engine", name) and engine.version == "0.19":
            raise problem(("engine", name), "vLLM 0.19 has no such option", wanted="it left out")
        if spec.was_set("engine", name) and data == 1:
            raise problem(
                ("engine", name),
                "never read where parallel.data is 1",
                wanted="parallel.data above 1, or it left out",
            )


def _expert(spec: Spec) -> None:
    parallel = spec.parallel
    stage = parallel.tensor * parallel.data
    if isinstance(spec.engine, VllmEngine):
        allowed, rule = (
            parallel.expert in (1, stage),
            f"vLLM shares experts among all {stage} ranks of a stage, or none",
        )
    else:
        allowed, rule = stage % parallel.expert == 0, f"the {stage} ranks of a stage cannot be divided by it"
    if not allowed:
        wanted = f"1 or {stage}" if stage > 1 else "1, or more ranks (parallel.tensor, parallel.data)"
        raise spec.source.problem(("parallel", "expert"), rule, found=str(parallel.expert), wanted=wanted)


def _pipeline(spec: Spec) -> None:
    if spec.parallel.pipeline == 1:
        return
    for together, what, wanted in _beside_stages(spec):
        if together:
            raise spec.source.problem(
                ("parallel", "pipeline"),
                f"pipeline stages {what} are not yet modelled",
                found=str(spec.parallel.pipeline),
                wanted=f"1, or {wanted}",
            )


def _reserves(engine: TrtllmEngine) -> bool:
    return engine.scheduler_config.capacity_scheduler_policy == "GUARANTEED_NO_EVICT"


def _beside_stages(spec: Spec) -> list[tuple[bool, str, str]]:
    """Whether something is there, what it is beside pipeline stages, and what would do instead."""
    engine = spec.engine
    general = [
        (isinstance(engine, TrtllmEngine) and not _reserves(engine), "without GUARANTEED_NO_EVICT", "that policy"),
        (engine.drafting is not None, "together with speculative decoding", "a spec without it"),
    ]
    match engine:
        case VllmEngine():
            return [
                *general,
                (engine.version != "0.32", f"of vLLM {engine.version}", 'engine.version: "0.32"'),
                (
                    engine.offloads or spec.tiers.host.blocks is not None,
                    "together with offloading",
                    "no kv_offloading_size and no tiers.host.blocks",
                ),
            ]
        case _:
            return general
