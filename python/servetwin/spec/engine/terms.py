"""What one engine's option is called in another."""

from __future__ import annotations

from . import TITLES

TERMS: tuple[dict[str, str], ...] = (
    {"vllm": "max_num_seqs", "sglang": "max_running_requests"},
    {"vllm": "max_num_batched_tokens", "sglang": "chunked_prefill_size"},
    {"vllm": "max_num_batched_tokens", "sglang": "max_prefill_tokens"},
    {"vllm": "max_model_len", "sglang": "context_length"},
    {"vllm": "block_size", "sglang": "page_size"},
    {"vllm": "num_gpu_blocks", "sglang": "max_total_tokens"},
    {"vllm": "gpu_memory_utilization", "sglang": "mem_fraction_static"},
    {"vllm": "enable_prefix_caching", "sglang": "disable_radix_cache"},
    {"vllm": "enable_chunked_prefill", "sglang": "chunked_prefill_size"},
    {"vllm": "scheduling_policy", "sglang": "enable_priority_scheduling"},
    {"vllm": "scheduling_policy", "sglang": "schedule_policy"},
    {"vllm": "async_scheduling", "sglang": "disable_overlap_schedule"},
)
"""The nearest equivalents, each a row. Near is not the same: the option's own page says what it does."""


def foreign(option: str, engine: str, readers: list[str]) -> str:
    """What to say where `engine` was given an option that only `readers` have."""
    whose = " and ".join(TITLES[name] for name in readers)
    own = next((row[engine] for row in TERMS if engine in row and option in row.values()), None)
    hint = f"; its nearest is {own}" if own is not None else ""
    return f"an option of {whose}, which {TITLES[engine]} never reads{hint}"
