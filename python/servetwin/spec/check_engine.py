"""Checks across one engine's options: what it refuses itself, and what it would never read."""

from __future__ import annotations

from typing import assert_never

from .deployment import Spec
from .engine import SglangEngine, TrtllmEngine, VllmEngine


def check_engine(spec: Spec) -> None:
    """Raises SpecError for the first thing wrong."""
    engine = spec.engine
    match engine:
        case VllmEngine():
            _vllm(spec, engine)
        case SglangEngine():
            _sglang(spec, engine)
        case TrtllmEngine():
            _trtllm(spec, engine)
        case _:
            assert_never(engine)


def _vllm(spec: Spec, engine: VllmEngine) -> None:
    problem = spec.source.problem
    if engine.version == "0.19":
        for name in ("watermark", "long_prefill_token_threshold_adaptive"):
            if spec.was_set("engine", name):
                raise problem(("engine", name), "vLLM 0.19 has no such option", wanted="it left out")
    if engine.long_prefill_token_threshold_adaptive and engine.long_prefill_token_threshold == 0:
        raise problem(
            ("engine", "long_prefill_token_threshold_adaptive"),
            "never read while long_prefill_token_threshold is 0 (off)",
            wanted="a threshold, or it left out",
        )
    for name in ("cudagraph_mode", "cudagraph_capture_sizes", "max_cudagraph_capture_size"):
        if engine.enforce_eager and spec.was_set("engine", name):
            raise problem(("engine", name), "never read with enforce_eager", wanted="it left out")
        if name != "cudagraph_mode" and engine.cudagraph_mode == "NONE" and spec.was_set("engine", name):
            raise problem(("engine", name), "never read while cudagraph_mode is NONE", wanted="it left out")
    sizes, largest = engine.cudagraph_capture_sizes, engine.max_cudagraph_capture_size
    if sizes is not None and largest is not None and largest != max(sizes):
        raise problem(
            ("engine", "max_cudagraph_capture_size"),
            "vLLM refuses one that is not the largest of cudagraph_capture_sizes",
            found=str(largest),
            wanted=f"{max(sizes)}, or it left out",
        )


PRIORITY = (
    "disable_priority_preemption",
    "schedule_low_priority_values_first",
    "priority_scheduling_preemption_threshold",
)
"""SGLang's options that need enable_priority_scheduling."""


def _sglang(spec: Spec, engine: SglangEngine) -> None:
    problem = spec.source.problem
    chunk = engine.chunked_prefill_size
    if chunk is not None and chunk > 0 and chunk % engine.page_size:
        below = chunk < engine.page_size
        raise problem(
            ("engine", "chunked_prefill_size"),
            f"SGLang refuses a chunk {'below' if below else 'that is no multiple of'} page_size ({engine.page_size})",
            found=str(chunk),
            wanted=f"a multiple of {engine.page_size}, or -1 (off)",
        )
    if engine.pp_max_micro_batch_size is not None and spec.parallel.pipeline == 1:
        raise problem(
            ("engine", "pp_max_micro_batch_size"),
            "a limit on each micro-batch of pipeline stages, and there is one stage",
            found=str(engine.pp_max_micro_batch_size),
            wanted="max_running_requests, or parallel.pipeline above 1",
        )
    graphs = ("disable_prefill_cuda_graph", "disable_cuda_graph_padding")
    for name in (*graphs, "cuda_graph_bs_decode", "cuda_graph_max_bs_decode"):
        if engine.disable_cuda_graph and spec.was_set("engine", name):
            raise problem(("engine", name), "never read with disable_cuda_graph", wanted="it left out")
    if engine.cuda_graph_bs_decode is not None and engine.cuda_graph_max_bs_decode is not None:
        raise problem(
            ("engine", "cuda_graph_max_bs_decode"), "never read beside cuda_graph_bs_decode", wanted="one of the two"
        )
    if engine.enable_mixed_chunk and chunk == -1:
        raise problem(
            ("engine", "enable_mixed_chunk"),
            "never read while chunked_prefill_size is -1 (off)",
            wanted="a chunk, or it left out",
        )
    if engine.enable_priority_scheduling and engine.schedule_policy != "fcfs":
        raise problem(
            ("engine", "schedule_policy"),
            "SGLang schedules by priority under fcfs only",
            found=repr(engine.schedule_policy),
            wanted="fcfs, or enable_priority_scheduling left out",
        )
    for name in PRIORITY:
        if spec.was_set("engine", name) and not engine.enable_priority_scheduling:
            raise problem(
                ("engine", name),
                "never read without enable_priority_scheduling",
                wanted="enable_priority_scheduling: true, or it left out",
            )
    if engine.disable_priority_preemption and spec.was_set("engine", "priority_scheduling_preemption_threshold"):
        raise problem(
            ("engine", "priority_scheduling_preemption_threshold"),
            "never read with disable_priority_preemption",
            wanted="it left out",
        )


def _trtllm(spec: Spec, engine: TrtllmEngine) -> None:
    problem = spec.source.problem
    block = engine.kv_cache_config.tokens_per_block
    if block & (block - 1):
        raise problem(
            ("engine", "kv_cache_config", "tokens_per_block"),
            "TensorRT-LLM refuses a block that is no power of two",
            found=str(block),
        )
    graphs = engine.cuda_graph_config
    sizes = None if graphs is None else graphs.batch_sizes
    if graphs is not None and sizes is not None and graphs.max_batch_size not in (None, max(sizes)):
        raise problem(
            ("engine", "cuda_graph_config", "max_batch_size"),
            "TensorRT-LLM refuses one that is not the largest of batch_sizes",
            found=str(graphs.max_batch_size),
            wanted=f"{max(sizes)}, or it left out",
        )
    if engine.max_num_tokens < engine.max_batch_size:
        raise problem(
            ("engine", "max_num_tokens"),
            f"below max_batch_size ({engine.max_batch_size:,}), passes in which some requests get no token: not yet "
            "modelled",
            found=f"{engine.max_num_tokens:,}",
            wanted=f"at least {engine.max_batch_size:,}, or a smaller max_batch_size",
        )
    if engine.enable_chunked_prefill and engine.max_num_tokens < block:
        raise problem(
            ("engine", "max_num_tokens"),
            f"a chunk is of whole blocks of {block} tokens, and not one fits",
            found=f"{engine.max_num_tokens:,}",
            wanted=f"at least {block}",
        )
    if spec.was_set("engine", "scheduler_config", "context_chunking_policy") and not engine.enable_chunked_prefill:
        raise problem(
            ("engine", "scheduler_config", "context_chunking_policy"),
            "never read without enable_chunked_prefill",
            wanted="enable_chunked_prefill: true, or it left out",
        )
    wait = ("batch_wait_timeout_iters", "batch_wait_max_tokens_ratio")
    for name, other in (wait, wait[::-1]):
        if getattr(engine, name) and not getattr(engine, other):
            raise problem(
                ("engine", name),
                f"without effect: TensorRT-LLM waits only while neither limit is reached, and {other} is 0",
                wanted=f"{other} above 0, or it left out",
            )
