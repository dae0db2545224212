"""SGLang's options with every default filled in, as its ServerArgs would, and its own checks on them.

Read from sglang 0.5.23: arg_groups/memory_hook.py, arg_groups/validation_hook.py, mem_cache/kv_cache_configurator.py.
"""

from __future__ import annotations

from typing import Any

from ..spec import Spec
from ..spec.engine import Drafting, SglangEngine
from ..units import GIB
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
from .formats import Format
from .gpus import Gpu
from .lookup import find_gpu, find_model
from .memory import Memory, cache_bytes, state_bytes, weight_bytes
from .models import Model
from .parallel import Ranks, ranks
from .speculation import acceptance, check_model_drafts
from .stages import check_without_stages
from .tiers import sglang_hicache
from .window import V4_REQUESTS, Window, cache_of, is_v4, window

_CHUNKS = ((20, 2048), (60, 4096), (160, 8192))
"""GiB of GPU memory below which the chunk is of so many tokens (handle_gpu_memory_settings)."""

_LARGEST_CHUNK = 16384

_GRAPHS = ((20, 8, 8), (35, 48, 160), (60, 32, 160), (160, 256, 512))
"""GiB of GPU memory below which decode graphs are captured up to so many rows: with fewer than four ranks, and more."""

_MOST_GRAPHS = 512
_UNKNOWN_GRAPHS = 160
"""Where SGLang cannot tell the GPU's memory."""

_PREFILL_GRAPHS = (*range(4, 33, 4), *range(48, 257, 16), *range(288, 513, 32), *range(576, 1025, 64))
"""Sizes of prefill graphs (generate_prefill_cuda_graph_batch_sizes); then every 256 to 4,096, and every 512."""

CONTEXT_BYTES = GIB // 2
"""Of a CUDA context, before the weights are loaded: an assumption, as it varies by driver."""

DISTRIBUTED_GIB = {1: 0.0, 2: 1.3, 4: 1.65, 8: 2.01}
"""Taken by NCCL and the all-reduce's buffers on each rank before the weights are loaded, by ranks.

Eight: "Init torch distributed ends. mem usage=2.01 GB", on H200s (sgl-project/sglang#11716). Four: the rest that makes
367,404 tokens come out, Qwen3 235B in FP8 on H100s with mem_fraction_static 0.93 (vllm-project/vllm#21348). Two: goes
on from these, an assumption.
"""

DATA_CONSERVATIVENESS = 0.3
"""What enable_dp_attention multiplies schedule_conservativeness with (_handle_data_parallelism)."""

RECORDED = "recorded: every step agrees with recordings of the real scheduler"
OVERLAP = (
    "unrecorded for the overlap loop, SGLang's default (recorded with disable_overlap_schedule: true, step by step)"
)
PIPELINE = "unrecorded for pipeline stages: read from its source (one stage without overlap recorded, step by step)"
HANDED_OVER = "unrecorded for hand-overs (within a replica, recorded in the loop without overlap)"
HICACHE = "unrecorded for HiCache (what is on the device only, recorded in the loop without overlap)"


WINDOWS = (
    "unrecorded of the windows' pool (read from its source; a decoding request counts there with the most that it will"
    " hold); of the rest {}"
)

SPECULATION = "unrecorded with speculation: read from its source"

SPECULATIVE_REQUESTS = 48
"""max_running_requests, if none is given (arg_groups/speculative_hook.py)."""


def distributed_bytes(tensor: int) -> int:
    """Of one rank; of a number of ranks between, as of the next smaller."""
    return int(max(gib for count, gib in DISTRIBUTED_GIB.items() if count <= tensor) * GIB)


def resolve_sglang(spec: Spec, engine: SglangEngine, role: str) -> ResolvedEngine:
    """Raises SpecError for an unknown model or GPU, for what SGLang refuses at start, and for what does not fit."""
    model, gpu = find_model(spec), find_gpu(spec)
    if model is not None:
        check_model(spec, model, [])
        _check_recurrent(spec, engine, model, role)
    context = request_limit(spec, model, "context_length", engine.context_length)
    shared = ranks(spec, model)
    whole_chunk = _chunk(engine, gpu)
    chunk = _rank_chunk(spec, engine, whole_chunk, shared)
    page = engine.page_size
    kv = cache_of(model, engine.kv_cache_dtype, cache_format(model, engine.kv_cache_dtype))
    apart = window(spec, engine, model, kv, shared, chunk, role)
    if apart is not None:
        check_without_stages(spec)
    room = None
    if engine.max_total_tokens is None:
        room = _memory(spec, engine, *model_and_gpu(spec, model, gpu, "max_total_tokens"), whole_chunk, kv, apart)
        if room.kv <= 0:
            whole = model is not None and model.has_experts and shared.data < spec.parallel.data
            shares = ", or engine.enable_dp_attention: data ranks share experts only with it"
            raise weights_do_not_fit(spec, room, shares if whole else "")
        pool = room.kv // room.kv_per_token if apart is None else apart.fit(room.kv, page)
    else:
        pool = engine.max_total_tokens
    pool = pool // page * page
    _check_pool(spec, engine, pool, room)
    _check_windows(spec, apart, pool, page, chunk)
    rows = _max_running_requests(engine, pool, context, shared, V4_REQUESTS if is_v4(model) else None)
    rules = _rules(engine, role, shared.pipeline)
    options = {
        "name": engine.name,
        "version": engine.version,
        "page_size": page,
        "max_total_tokens": pool,
        "max_running_requests": rows,
        "context_length": context,
        "chunked_prefill_size": chunk,
        "max_prefill_tokens": engine.max_prefill_tokens,
        "enable_mixed_chunk": engine.enable_mixed_chunk,
        "schedule_policy": engine.schedule_policy,
        "schedule_conservativeness": engine.schedule_conservativeness
        * (DATA_CONSERVATIVENESS if shared.data > 1 else 1),
        # A decode replica turns it off itself (arg_groups/pd_disaggregation_hook.py).
        "disable_radix_cache": engine.disable_radix_cache or role == "decode",
        "enable_priority_scheduling": engine.enable_priority_scheduling,
        "disable_priority_preemption": engine.disable_priority_preemption,
        "schedule_low_priority_values_first": engine.schedule_low_priority_values_first,
        "priority_scheduling_preemption_threshold": engine.priority_scheduling_preemption_threshold,
        # Stages turn overlap off (_pipeline_parallel_overlap_disable in arg_groups/overrides.py).
        "disable_overlap_schedule": engine.disable_overlap_schedule or shared.pipeline > 1,
        "pp_max_micro_batch_size": engine.pp_max_micro_batch_size,
        "ignore_eos": engine.ignore_eos,
        "hicache": sglang_hicache(spec, engine, model, gpu, kv, pool),
        "window": None if apart is None else apart.describe(pool, page),
        "disaggregation": _disaggregation(engine) if role == "decode" else None,
        **_speculation(spec, engine, model),
    }
    return ResolvedEngine(
        title="SGLang",
        rules=rules if apart is None else WINDOWS.format(rules),
        options=options,
        model=model,
        gpu=gpu,
        stored=stored_weights(spec, model),
        kv=kv,
        rows=rows,
        # Without chunks, the first prompt of a pass may be longer than the budget; in mixed passes decodes come on top.
        pass_tokens=max(chunk or context, engine.max_prefill_tokens) + page + rows,
        request_tokens=context,
        block_tokens=page,
        blocks=pool // page,
        memory=room,
        window=apart,
    )


def _speculation(spec: Spec, engine: SglangEngine, model: Model | None) -> dict[str, Any]:
    drafting = engine.drafting
    if drafting is None:
        return {}
    check_model_drafts(spec, model, drafting)
    return {
        "speculative_num_draft_tokens": drafting.drafts + 1,
        "acceptance": acceptance(drafting.options.acceptance, drafting.steps, spec.seed),
        "decode_reserve_tokens": 2 * _tokens_of_decode(engine, drafting),
    }


def _tokens_of_decode(engine: SglangEngine, drafting: Drafting) -> int:
    """get_alloc_len_per_decode (mem_cache/allocation_sizing.py). Twice that is reserved, with overlap or without."""
    page, verified = engine.page_size, drafting.drafts + 1
    topk = engine.speculative_eagle_topk or 1
    if drafting.head == "none":
        return verified
    if page == 1 or topk == 1:
        return max(drafting.steps * topk, verified)
    # A branch of the tree may begin anywhere in a page, and each has pages of its own.
    pages = (2 * (page - 1) + drafting.steps) // page
    return max(pages * page * topk, verified)


def _rules(engine: SglangEngine, role: str, stages: int) -> str:
    if role != "aggregated":
        return HANDED_OVER if engine.drafting is None else f"{HANDED_OVER}; {SPECULATION}"
    if engine.drafting is not None:
        return SPECULATION
    if engine.enable_hierarchical_cache:
        return HICACHE
    if stages > 1:
        return PIPELINE
    return RECORDED if engine.disable_overlap_schedule else OVERLAP


def _disaggregation(engine: SglangEngine) -> dict[str, Any]:
    """handle_pd_disaggregation: more places where the batch is small, and its limit given."""
    rows, extra = engine.max_running_requests, engine.disaggregation_decode_extra_slots
    if extra is None:
        extra = 2 * rows if rows is not None and rows <= 32 else 0
    return {
        "num_reserved_decode_tokens": engine.num_reserved_decode_tokens,
        "decode_extra_slots": extra,
        "polling_interval": engine.disaggregation_decode_polling_interval,
    }


def _chunk(engine: SglangEngine, gpu: Gpu | None) -> int | None:
    """None where chunking is off."""
    if engine.chunked_prefill_size is not None:
        return None if engine.chunked_prefill_size == -1 else engine.chunked_prefill_size
    if gpu is None:
        # As where SGLang cannot tell the GPU's memory.
        return 4096
    return next((chunk for below, chunk in _CHUNKS if gpu.smi_mib < below * 1024), _LARGEST_CHUNK)


def _rank_chunk(spec: Spec, engine: SglangEngine, chunk: int | None, shared: Ranks) -> int | None:
    """Data ranks in step divide it among themselves (_handle_data_parallelism)."""
    if chunk is None or shared.data == 1:
        return chunk
    if chunk // shared.data < engine.page_size or chunk // shared.data % engine.page_size:
        raise spec.source.problem(
            ("engine", "chunked_prefill_size"),
            f"{shared.data} data ranks divide it, and {chunk // shared.data} is no multiple of page_size "
            f"({engine.page_size})",
            found=str(chunk),
            wanted=f"a multiple of {shared.data * engine.page_size}",
        )
    return chunk // shared.data


def decode_graph_rows(gpu: Gpu | None, tensor: int) -> int:
    """The most rows that decode graphs are captured for, by default."""
    if gpu is None:
        return _UNKNOWN_GRAPHS
    row = next((row for row in _GRAPHS if gpu.smi_mib < row[0] * 1024), None)
    if row is None:
        return _MOST_GRAPHS
    return row[1] if tensor < 4 else row[2]


def prefill_graph_sizes(chunk: int | None) -> tuple[int, ...]:
    """Numbers of tokens; none where chunking is off."""
    largest = chunk or 0
    sizes = (*_PREFILL_GRAPHS, *range(1280, 4097, 256), *range(4608, largest + 1, 512))
    return tuple(size for size in sizes if size <= largest)


def mem_fraction_static(engine: SglangEngine, gpu: Gpu, shared: Ranks, chunk: int | None) -> float:
    """The share of the memory for weights and cache, as handle_gpu_memory_settings derives it."""
    if engine.mem_fraction_static is not None:
        return engine.mem_fraction_static
    graphs = decode_graph_rows(gpu, shared.stage)
    if engine.max_running_requests is not None:
        graphs = min(graphs, engine.max_running_requests)
    # Prefill graphs are captured up to the chunk, or none where it is off or there are stages, and never above a pool.
    largest = 0 if shared.pipeline > 1 else min(chunk or 0, engine.max_total_tokens or chunk or 0)
    prefills = len(prefill_graph_sizes(largest))
    computed = max(chunk or engine.max_prefill_tokens, 2048)
    reserved = 512 + 1.5 * computed + shared.stage * shared.pipeline / 8 * 1024 + 2 * graphs + 8 * prefills
    if shared.data > 1:
        reserved += graphs * shared.data * (4.5 if graphs > 300 else 3)
    if gpu.smi_mib > 60 * 1024:
        reserved = max(reserved, 10 * 1024)
    return round((gpu.smi_mib - reserved) / gpu.smi_mib, 3)


def _memory(
    spec: Spec, engine: SglangEngine, model: Model, gpu: Gpu, chunk: int | None, kv: Format, apart: Window | None
) -> Memory:
    shared = ranks(spec, model)
    token_bytes = cache_bytes(model, kv, shared)
    if apart is not None:
        token_bytes = round(apart.token_bytes + (apart.ratio * apart.window_bytes if apart.cap is None else 0))
    fraction = mem_fraction_static(engine, gpu, shared, chunk)
    return Memory(
        total=gpu.memory_bytes,
        usable=int((gpu.memory_bytes - CONTEXT_BYTES - distributed_bytes(shared.stage * shared.pipeline)) * fraction),
        weights=weight_bytes(model, stored_weights(spec, model), shared),
        activations=0,
        runtime=0,
        kv_per_token=token_bytes,
        states=_states(engine, model, kv, shared) if apart is None else apart.state_bytes,
    )


def _check_recurrent(spec: Spec, engine: SglangEngine, model: Model, role: str) -> None:
    """States are kept of the requests that run, and of nothing else: raises SpecError where they would be cached."""
    if not model.recurrent():
        return
    problem, what = spec.source.problem, model.recurrent()[0]
    if role != "aggregated":
        raise problem(("model",), f"hand-overs of {what} are not yet modelled", found=model.name, wanted="no pools")
    if not engine.disable_radix_cache:
        raise problem(
            ("engine", "disable_radix_cache"),
            f"SGLang's radix cache of {what} is not yet modelled",
            found="false",
            wanted="true, with max_running_requests",
        )
    if engine.max_running_requests is None:
        raise problem(("engine", "max_running_requests"), f"missing: the memory for states of {what} follows from it")


def _states(engine: SglangEngine, model: Model, kv: Format, shared: Ranks) -> int:
    """_handle_max_mamba_cache: a state a request and one to pad, and with speculation one more for each draft token."""
    each = state_bytes(model, kv, shared)
    if each == 0:
        return 0
    drafts = 0 if engine.drafting is None else engine.drafting.drafts + 1
    return each * (1 + drafts) * (max((engine.max_running_requests or 1) // shared.data, 1) + 1)


def _check_windows(spec: Spec, apart: Window | None, pool: int, page: int, chunk: int | None) -> None:
    """A chunk beside the windows of its request in the tree and its own: with less, SGLang would wait for ever."""
    if apart is None:
        return
    least = (chunk or 0) + 2 * (-(-apart.tokens // page) * page + page)
    if apart.slots(pool, page) <= least:
        raise spec.source.problem(
            ("engine", "swa_full_tokens_ratio"),
            f"the windows' pool of {apart.slots(pool, page):,} tokens does not hold a chunk and two windows",
            wanted=f"more than {least:,}: a greater ratio or pool, or a smaller chunked_prefill_size",
        )


def _check_pool(spec: Spec, engine: SglangEngine, pool: int, room: Memory | None) -> None:
    # The least that holds a request: two slots a request (resolve_max_num_reqs), and a page to spare
    # (init_req_max_new_tokens), with six tokens that an input may not reach (validate_input_length).
    least = max(2 * engine.page_size, 8)
    if pool < least:
        where = ("engine", "max_total_tokens" if room is None else "mem_fraction_static")
        made = "" if room is None else f": {room.arithmetic()}{on_ranks(spec)}"
        raise spec.source.problem(
            where,
            f"a pool of {pool:,} tokens, in whole pages of {engine.page_size}, holds not one request{made}",
            found=None if engine.max_total_tokens is None else f"{engine.max_total_tokens:,}",
            wanted=f"at least {least:,} tokens",
        )


def _max_running_requests(engine: SglangEngine, pool: int, context: int, shared: Ranks, of_model: int | None) -> int:
    """resolve_max_num_reqs; `of_model` is what SGLang sets for the architecture."""
    given = engine.max_running_requests or of_model
    if given is not None:
        return min(max(given // shared.data, 1), pool // 2)
    if engine.drafting is not None:
        return min(max(SPECULATIVE_REQUESTS // shared.data, 1), pool // 2)
    return min(max(min(int(pool / context * 512), 4096), 2048), pool // 2)
