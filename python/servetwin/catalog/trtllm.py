"""TensorRT-LLM's options with every default filled in, and its own checks on them.

Read from the PyTorch backend's source of version 1.2: llmapi/llm_args.py, _torch/pyexecutor/resource_manager.py.
"""

from __future__ import annotations

import math
from typing import Any

from ..spec import Spec
from ..spec.engine import TrtllmEngine
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
from .lookup import find_gpu, find_model
from .memory import Memory, memory
from .models import Model
from .parallel import ranks
from .speculation import acceptance, check_model_drafts

RULES = "unrecorded: read from its source, not checked against recordings"


def resolve_trtllm(spec: Spec, engine: TrtllmEngine) -> ResolvedEngine:
    """Raises SpecError for an unknown model or GPU, for what does not fit, and for a pool below one request."""
    model, gpu, cache = find_model(spec), find_gpu(spec), engine.kv_cache_config
    if model is not None:
        check_model(spec, model, model.unpaged())
    length = request_limit(spec, model, "max_seq_len", engine.max_seq_len)
    room = None
    tokens = cache.max_tokens
    if tokens is None or spec.was_set("engine", "kv_cache_config", "free_gpu_memory_fraction"):
        room = _memory(spec, engine, *model_and_gpu(spec, model, gpu, "kv_cache_config.max_tokens"))
        if room.kv <= 0:
            raise weights_do_not_fit(spec, room)
        fitting = room.kv // room.kv_per_token
        # Where both are given, the smaller counts.
        tokens = fitting if tokens is None else min(tokens, fitting)
    blocks = tokens // cache.tokens_per_block
    length = _fitting_length(spec, engine, length, blocks, room)
    options = {
        "name": engine.name,
        "version": engine.version,
        "max_batch_size": engine.max_batch_size,
        "max_num_tokens": engine.max_num_tokens,
        "max_seq_len": length,
        "enable_chunked_prefill": engine.enable_chunked_prefill,
        "tokens_per_block": cache.tokens_per_block,
        "num_blocks": blocks,
        "enable_block_reuse": cache.enable_block_reuse,
        "capacity_scheduler_policy": engine.scheduler_config.capacity_scheduler_policy,
        "context_chunking_policy": engine.scheduler_config.context_chunking_policy,
        "batch_wait_timeout_iters": engine.batch_wait_timeout_iters,
        # TensorRT-LLM compares a whole number with this product, in floating point.
        "batch_wait_tokens": math.ceil(engine.batch_wait_max_tokens_ratio * engine.max_num_tokens),
        **_speculation(spec, engine, model),
    }
    return ResolvedEngine(
        title="TensorRT-LLM",
        rules=RULES,
        options=options,
        model=model,
        gpu=gpu,
        stored=stored_weights(spec, model),
        kv=cache_format(model, cache.dtype),
        rows=engine.max_batch_size,
        pass_tokens=engine.max_num_tokens,
        request_tokens=length,
        block_tokens=cache.tokens_per_block,
        blocks=blocks,
        memory=room,
    )


def _speculation(spec: Spec, engine: TrtllmEngine, model: Model | None) -> dict[str, Any]:
    options, drafting = engine.speculative_config, engine.drafting
    if options is None or drafting is None:
        return {}
    check_model_drafts(spec, model, drafting)
    return {
        "max_draft_len": drafting.drafts,
        "acceptance": acceptance(options.acceptance, drafting.drafts, spec.seed),
        # get_num_extra_kv_tokens (_torch/speculative/utils.py), of a head that runs within the model's engine.
        "num_extra_kv_tokens": 0 if drafting.head == "none" else drafting.drafts - 1,
        "max_concurrency": options.max_concurrency,
    }


def _memory(spec: Spec, engine: TrtllmEngine, model: Model, gpu: Gpu) -> Memory:
    return memory(
        model,
        gpu,
        ranks=ranks(spec, model),
        utilization=1.0,
        stored=stored_weights(spec, model),
        kv=cache_format(model, engine.kv_cache_config.dtype),
        budget_tokens=engine.max_num_tokens,
        sequences=engine.max_batch_size,
        kv_share=engine.kv_cache_config.free_gpu_memory_fraction,
    )


def _fitting_length(spec: Spec, engine: TrtllmEngine, length: int, blocks: int, room: Memory | None) -> int:
    """TensorRT-LLM cuts max_seq_len to the pool; a given one that would be cut is refused instead."""
    pool = blocks * engine.kv_cache_config.tokens_per_block
    if length <= pool:
        return length
    if engine.max_seq_len is None and pool > 1:
        return pool
    made = "" if room is None else f": {room.arithmetic()}{on_ranks(spec)}"
    option = ("engine", "max_seq_len") if engine.max_seq_len is not None else ("engine", "kv_cache_config")
    raise spec.source.problem(
        option,
        f"a pool of {pool:,} tokens, in blocks of {engine.kv_cache_config.tokens_per_block}, holds not one request of "
        f"{length:,} tokens{made}",
        wanted=f"max_seq_len at most {pool:,}, or a larger pool",
    )
