"""vLLM's options with every default filled in, as vLLM would, and its own checks on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..spec import Spec
from ..spec.engine import VllmEngine
from .engine import (
    ResolvedEngine,
    cache_format,
    check_model,
    model_and_gpu,
    on_ranks,
    request_limit,
    stored_weights,
    weights_do_not_fit,
)
from .gpus import Gpu
from .groups import Groups, groups
from .lookup import find_gpu, find_model
from .memory import Memory, memory
from .models import Model
from .parallel import ranks
from .speculation import acceptance, check_model_drafts
from .stages import check_without_stages
from .tiers import vllm_offload

# Defaults of `vllm serve` by GPU (EngineArgs.get_batch_defaults): large, and all others.
_LARGE = {"max_num_batched_tokens": 8192, "max_num_seqs": 1024}
_OTHERS = {"max_num_batched_tokens": 2048, "max_num_seqs": 256}

# CacheConfig.gpu_memory_utilization; 0.9 is recorded for 0.19.
_UTILIZATION = {"0.32": 0.92, "0.19": 0.9}

_RULES = {
    "0.32": "recorded: every step agrees with recordings of the real scheduler",
    "0.19": "unrecorded: read from its source, not checked against recordings",
}


def resolve_vllm(spec: Spec, engine: VllmEngine) -> ResolvedEngine:
    """Raises SpecError for an unknown model or GPU, for what vLLM refuses at start, and for what does not fit."""
    model, gpu = find_model(spec), find_gpu(spec)
    if model is not None:
        check_model(spec, model, model.compressed())
    max_model_len = request_limit(spec, model, "max_model_len", engine.max_model_len)
    defaults = _LARGE if gpu is not None and gpu.large_batches else _OTHERS
    budget = engine.max_num_batched_tokens
    if budget is None:
        budget = defaults["max_num_batched_tokens"]
        if not engine.enable_chunked_prefill:
            budget = max(budget, max_model_len)
    sequences = engine.max_num_seqs
    if sequences is None:
        sequences = min(defaults["max_num_seqs"], budget)
    _check_budget(spec, engine, budget, sequences, max_model_len)
    asynchronous = engine.async_scheduling
    if asynchronous is None:
        asynchronous = engine.speculative is None or engine.speculative.has_head
    kv = cache_format(model, engine.kv_cache_dtype)
    apart = groups(spec, engine, model, kv, ranks(spec, model))
    if apart is not None:
        check_without_stages(spec)
    block_size = engine.block_size if apart is None else apart.block_size
    # VllmConfig.max_in_flight_tokens; version 0.19 knows of one pass.
    in_flight = budget * (1 + (asynchronous and engine.version != "0.19"))
    extra = 0 if apart is None else apart.most(engine, max_model_len, in_flight)
    room = None
    blocks = engine.num_gpu_blocks
    if blocks is None:
        room = _memory(spec, engine, model, gpu, budget, sequences, apart)
        blocks = _blocks_that_fit(spec, room, block_size, max_model_len, extra)
    offload = vllm_offload(spec, engine, model, gpu, kv)
    options = {
        "name": engine.name,
        "version": engine.version,
        "max_num_seqs": sequences,
        "max_num_batched_tokens": budget,
        "max_model_len": max_model_len,
        "block_size": block_size,
        "num_gpu_blocks": blocks,
        "enable_prefix_caching": engine.enable_prefix_caching,
        "enable_chunked_prefill": engine.enable_chunked_prefill,
        "long_prefill_token_threshold": engine.long_prefill_token_threshold,
        "long_prefill_token_threshold_adaptive": engine.long_prefill_token_threshold_adaptive,
        "scheduling_policy": engine.scheduling_policy,
        # vLLM computes it so, in floating point.
        "watermark_blocks": int(engine.watermark * blocks),
        "scheduler_reserve_full_isl": engine.scheduler_reserve_full_isl,
        "async_scheduling": asynchronous,
        "prefill_schedule_interval": engine.prefill_schedule_interval,
        **_speculation(spec, engine, model),
        **({} if offload is None else {"offload": offload}),
        **({} if apart is None else {"groups": apart.describe()}),
    }
    rules = _RULES[engine.version]
    if engine.drafting is not None and engine.drafting.head != "none":
        rules += "; drafting heads unrecorded: read from its source"
    if apart is not None:
        rules = f"unrecorded of layers that do not keep every token (read from its source); of the rest {rules}"
    if spec.parallel.pipeline > 1:
        rules += "; pipeline stages unrecorded: read from its source"
    if offload is not None:
        rules += "; offloading unrecorded: read from its source"
    return ResolvedEngine(
        title="vLLM",
        rules=rules,
        options=options,
        model=model,
        gpu=gpu,
        stored=stored_weights(spec, model),
        kv=kv,
        rows=sequences,
        pass_tokens=budget,
        request_tokens=max_model_len,
        block_tokens=block_size,
        blocks=blocks,
        memory=room,
    )


def _check_budget(spec: Spec, engine: VllmEngine, budget: int, sequences: int, max_model_len: int) -> None:
    problem = spec.source.problem
    if budget < sequences:
        raise problem(
            ("engine", "max_num_batched_tokens"),
            f"vLLM refuses a budget below max_num_seqs ({sequences:,})",
            found=f"{budget:,}",
            wanted=f"at least {sequences:,}",
        )
    if not engine.enable_chunked_prefill and budget < max_model_len:
        raise problem(
            ("engine", "max_num_batched_tokens"),
            f"without chunked prefill vLLM refuses a budget below max_model_len ({max_model_len:,})",
            found=f"{budget:,}",
            wanted=f"at least {max_model_len:,}, a smaller max_model_len, or enable_chunked_prefill: true",
        )


def _memory(
    spec: Spec,
    engine: VllmEngine,
    model: Model | None,
    gpu: Gpu | None,
    budget: int,
    sequences: int,
    apart: Groups | None,
) -> Memory:
    model, gpu = model_and_gpu(spec, model, gpu, "num_gpu_blocks")
    room = memory(
        model,
        gpu,
        ranks=ranks(spec, model),
        utilization=engine.gpu_memory_utilization or _UTILIZATION[engine.version],
        stored=stored_weights(spec, model),
        kv=cache_format(model, engine.kv_cache_dtype),
        budget_tokens=budget,
        sequences=sequences,
    )
    return room if apart is None else replace(room, kv_per_token=apart.layers * apart.token_bytes)


def _blocks_that_fit(spec: Spec, room: Memory, block_size: int, max_model_len: int, extra: int) -> int:
    blocks = room.blocks(block_size)
    # vLLM keeps one block as a null block; `extra` are those of the request in other groups.
    tokens = max(blocks - 1 - extra, 0) * block_size
    if tokens >= max_model_len:
        return blocks
    if room.kv <= 0:
        raise weights_do_not_fit(spec, room)
    raise spec.source.problem(
        ("engine", "max_model_len"),
        f"one request of {max_model_len:,} tokens does not fit, which vLLM refuses at start: {room.arithmetic()}"
        f"{on_ranks(spec)}, room for {tokens:,} tokens",
        wanted=f"engine.max_model_len at most {tokens:,}, or more or larger GPUs",
    )


def _speculation(spec: Spec, engine: VllmEngine, model: Model | None) -> dict[str, Any]:
    speculative, drafting = engine.speculative, engine.drafting
    if speculative is None or drafting is None:
        return {"num_speculative_tokens": 0, "acceptance": None}
    check_model_drafts(spec, model, drafting)
    drafts = speculative.num_speculative_tokens
    schedule = speculative.num_speculative_tokens_per_batch_size or []
    return {
        "num_speculative_tokens": drafts,
        "acceptance": acceptance(speculative.acceptance, drafts, spec.seed),
        # VllmConfig.num_lookahead_tokens: the slots that a head fills ahead of the model.
        "num_lookahead_tokens": drafts if speculative.has_head else 0,
        "eagle_block_drop": speculative.has_head and not speculative.disable_eagle_block_drop,
        "num_speculative_tokens_per_batch_size": [(first, count) for first, _, count in schedule],
    }
