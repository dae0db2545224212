"""The engine's options with every default filled in, as vLLM would, and its own checks on them."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SpecError
from ..spec import Spec
from .gpus import Gpu
from .lookup import find_gpu, find_model, needed
from .memory import Memory, memory
from .models import Model

# Defaults of `vllm serve` by GPU (EngineArgs.get_batch_defaults): large, and all others.
_LARGE = {"max_num_batched_tokens": 8192, "max_num_seqs": 1024}
_OTHERS = {"max_num_batched_tokens": 2048, "max_num_seqs": 256}

# CacheConfig.gpu_memory_utilization; 0.9 is recorded for 0.19.
_UTILIZATION = {"0.32": 0.92, "0.19": 0.9}


@dataclass(frozen=True)
class ResolvedEngine:
    """One replica, nothing left to derive."""

    model: Model | None
    gpu: Gpu | None
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    num_gpu_blocks: int
    block_size: int
    async_scheduling: bool
    memory: Memory | None
    """None where num_gpu_blocks was given."""


def resolve_engine(spec: Spec) -> ResolvedEngine:
    """Raises SpecError for an unknown model or GPU, for what vLLM refuses at start, and for what does not fit."""
    model, gpu, engine = find_model(spec), find_gpu(spec), spec.engine
    if model is not None:
        _check_model(spec, model)
    max_model_len = _max_model_len(spec, model)
    defaults = _LARGE if gpu is not None and gpu.large_batches else _OTHERS
    budget = engine.max_num_batched_tokens
    if budget is None:
        budget = defaults["max_num_batched_tokens"]
        if not engine.enable_chunked_prefill:
            budget = max(budget, max_model_len)
    sequences = engine.max_num_seqs
    if sequences is None:
        sequences = min(defaults["max_num_seqs"], budget)
    _check_budget(spec, budget, sequences, max_model_len)
    room = None
    blocks = engine.num_gpu_blocks
    if blocks is None:
        room = _memory(spec, model, gpu, budget, sequences)
        blocks = _blocks_that_fit(spec, room, max_model_len)
    asynchronous = engine.async_scheduling
    if asynchronous is None:
        asynchronous = engine.speculative is None
    return ResolvedEngine(
        model=model,
        gpu=gpu,
        max_num_seqs=sequences,
        max_num_batched_tokens=budget,
        max_model_len=max_model_len,
        num_gpu_blocks=blocks,
        block_size=engine.block_size,
        async_scheduling=asynchronous,
        memory=room,
    )


def _check_model(spec: Spec, model: Model) -> None:
    beyond = model.beyond_dense()
    if beyond:
        raise spec.source.problem(
            ("model",),
            f"not yet simulated: {', '.join(beyond)}",
            found=model.name,
            wanted="a dense model with grouped-query attention, such as llama-3.1-8b",
        )
    tensor = spec.parallel.tensor
    if model.heads % tensor or max(tensor, model.kv_heads) % min(tensor, model.kv_heads):
        raise spec.source.problem(
            ("parallel", "tensor"),
            f"{model.heads} attention heads and {model.kv_heads} key-value heads cannot be shared by this many ranks",
            found=str(tensor),
        )


def _max_model_len(spec: Spec, model: Model | None) -> int:
    length = spec.engine.max_model_len
    if model is None:
        if length is None:
            raise needed(spec, "model", "engine.max_model_len is not given, and the model's own limit is its default")
        return length
    if length is not None and length > model.max_positions:
        raise spec.source.problem(
            ("engine", "max_model_len"),
            f"{model.name} has {model.max_positions:,} positions",
            found=f"{length:,}",
            wanted=f"at most {model.max_positions:,}, or a config.json with more",
        )
    return model.max_positions if length is None else length


def _check_budget(spec: Spec, budget: int, sequences: int, max_model_len: int) -> None:
    problem = spec.source.problem
    if budget < sequences:
        raise problem(
            ("engine", "max_num_batched_tokens"),
            f"vLLM refuses a budget below max_num_seqs ({sequences:,})",
            found=f"{budget:,}",
            wanted=f"at least {sequences:,}",
        )
    if not spec.engine.enable_chunked_prefill and budget < max_model_len:
        raise problem(
            ("engine", "max_num_batched_tokens"),
            f"without chunked prefill vLLM refuses a budget below max_model_len ({max_model_len:,})",
            found=f"{budget:,}",
            wanted=f"at least {max_model_len:,}, a smaller max_model_len, or enable_chunked_prefill: true",
        )


def _memory(spec: Spec, model: Model | None, gpu: Gpu | None, budget: int, sequences: int) -> Memory:
    engine = spec.engine
    why = "engine.num_gpu_blocks is not given, and is derived from model and gpu"
    if model is None:
        raise needed(spec, "model", why)
    if gpu is None:
        raise needed(spec, "gpu", why)
    check_fp8(spec, gpu)
    return memory(
        model,
        gpu,
        tensor=spec.parallel.tensor,
        utilization=engine.gpu_memory_utilization or _UTILIZATION[engine.version],
        weight_bytes=1 if engine.quantization == "fp8" else 2,
        kv_bytes=1 if engine.kv_cache_dtype == "fp8" else 2,
        budget_tokens=budget,
        sequences=sequences,
    )


def check_fp8(spec: Spec, gpu: Gpu) -> None:
    """Raises SpecError if the spec asks for FP8 matrices on a GPU without it."""
    if spec.engine.quantization == "fp8" and not gpu.fp8_flops:
        raise spec.source.problem(("engine", "quantization"), f"{gpu.title} has no FP8 arithmetic", found="fp8")


def _blocks_that_fit(spec: Spec, room: Memory, max_model_len: int) -> int:
    blocks = room.blocks(spec.engine.block_size)
    # vLLM keeps one block as a null block.
    tokens = max(blocks - 1, 0) * spec.engine.block_size
    if tokens < max_model_len:
        raise _does_not_fit(spec, room, tokens, max_model_len)
    return blocks


def _does_not_fit(spec: Spec, room: Memory, tokens: int, max_model_len: int) -> SpecError:
    ranks = f" on each of {spec.parallel.tensor} ranks" if spec.parallel.tensor > 1 else ""
    if room.kv <= 0:
        return spec.source.problem(
            ("model",), f"does not fit: {room.arithmetic()}{ranks}", wanted="more or larger GPUs (parallel.tensor)"
        )
    return spec.source.problem(
        ("engine", "max_model_len"),
        f"one request of {max_model_len:,} tokens does not fit, which vLLM refuses at start: {room.arithmetic()}"
        f"{ranks}, room for {tokens:,} tokens",
        wanted=f"engine.max_model_len at most {tokens:,}, or more or larger GPUs",
    )
