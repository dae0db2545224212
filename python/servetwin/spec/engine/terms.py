"""What one engine's option is called in another."""

from __future__ import annotations

from . import TITLES

TERMS: tuple[dict[str, str], ...] = (
    {"vllm": "max_num_seqs", "sglang": "max_running_requests", "trtllm": "max_batch_size"},
    {"vllm": "max_num_batched_tokens", "sglang": "chunked_prefill_size", "trtllm": "max_num_tokens"},
    {"vllm": "max_num_batched_tokens", "sglang": "max_prefill_tokens", "trtllm": "max_num_tokens"},
    {"vllm": "max_model_len", "sglang": "context_length", "trtllm": "max_seq_len"},
    {"vllm": "block_size", "sglang": "page_size", "trtllm": "kv_cache_config.tokens_per_block"},
    {"vllm": "num_gpu_blocks", "sglang": "max_total_tokens", "trtllm": "kv_cache_config.max_tokens"},
    {
        "vllm": "gpu_memory_utilization",
        "sglang": "mem_fraction_static",
        "trtllm": "kv_cache_config.free_gpu_memory_fraction",
    },
    {"vllm": "kv_cache_dtype", "sglang": "kv_cache_dtype", "trtllm": "kv_cache_config.dtype"},
    {"vllm": "quantization", "sglang": "quantization", "trtllm": "quant_config.quant_algo"},
    {"vllm": "enable_prefix_caching", "sglang": "disable_radix_cache", "trtllm": "kv_cache_config.enable_block_reuse"},
    {"vllm": "enable_chunked_prefill", "sglang": "chunked_prefill_size", "trtllm": "enable_chunked_prefill"},
    {"vllm": "scheduling_policy", "sglang": "enable_priority_scheduling"},
    {"vllm": "scheduling_policy", "sglang": "schedule_policy"},
    {
        "vllm": "scheduler_reserve_full_isl",
        "sglang": "schedule_conservativeness",
        "trtllm": "scheduler_config.capacity_scheduler_policy",
    },
    {"vllm": "async_scheduling", "sglang": "disable_overlap_schedule"},
)
"""The nearest equivalents, each a row. Near is not the same: the option's own page says what it does."""


def foreign(option: str, engine: str, readers: list[str]) -> str:
    """What to say where `engine` was given an option that only `readers` have."""
    whose = " and ".join(TITLES[name] for name in readers)
    own = next((row[engine] for row in TERMS if engine in row and option in row.values()), None)
    hint = f"; its nearest is {own}" if own is not None else ""
    return f"an option of {whose}, which {TITLES[engine]} never reads{hint}"
